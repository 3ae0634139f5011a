"""Runs of hybrids that cannot be."""

import dataclasses

import pytest

from gossamer.speech.hybrids.hybrid_config import HybridRun
from gossamer.speech.run_config import (
    AugmentationConfig,
    CompressionConfig,
    LearnersConfig,
    LengthPerturbationConfig,
    OptimizerConfig,
)

CONFIG = HybridRun()


def test_the_default_is_sound():
    CONFIG.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": 0}, "`states` must be at least 1"),
        ({"unroll": -1}, "`unroll` must be at least 0"),
        ({"order": 0}, "`order` must lie in 1..9"),
        (
            {"optimizer": OptimizerConfig(steps=2), "realignments": 2},
            "`optimizer.steps` must be more than",
        ),
        ({"learners": LearnersConfig(engine="threads")}, "`--engine` must be auto, vmap"),
        ({"compression": CompressionConfig("scalecom")}, "add `--learners.algorithm ssgd`"),
        ({"quantize": "int4_paper"}, "name it with `--from`"),
        ({"mmi": 0.5}, "name it with `--from`"),
        ({"mmi": 1.5}, "`mmi` must lie in 0..1"),
        ({"mmi": 0.5, "start_from": "run", "unroll": 21}, "`--mmi` reads whole recordings"),
        (
            {"quantize": "int8", "start_from": "run", "realignments": 1},
            "`realignments` must be 0 with `--quantize`",
        ),
        ({"data": dataclasses.replace(CONFIG.data, language="de")}, "choose graphemic"),
        ({"data": dataclasses.replace(CONFIG.data, tempo=(0.9, 1.1))}, "`data.tempo` must be"),
        (
            {"data": dataclasses.replace(CONFIG.data, join_probability=0.1)},
            "`data.join_probability` must be",
        ),
        (
            {"augmentation": AugmentationConfig(length_perturb=LengthPerturbationConfig(0.5))},
            "`augmentation.length_perturb.probability` must be",
        ),
        ({"optimizer": OptimizerConfig(microbatches=7)}, "`optimizer.microbatches` must be"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes).check()
