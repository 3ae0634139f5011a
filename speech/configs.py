"""The named configurations of ``gossamer train speech``, each with its command and purpose."""

from dataclasses import replace
from typing import NamedTuple

from .run_config import (
    AugmentationConfig,
    DataConfig,
    LearnersConfig,
    OptimizerConfig,
    SpeechConfig,
)
from .transducer import PRESETS


class NamedConfig(NamedTuple):
    """A configuration and what it is for."""

    description: str
    config: SpeechConfig


_SINGLE = SpeechConfig(
    data=DataConfig(buckets=((2.0, 16), (4.0, 8), (6.0, 6), (9.0, 4))),
    optimizer=OptimizerConfig(steps=3600),
    learners=LearnersConfig(number=1),
    validate_every=900,
)
_NO_MASKS = AugmentationConfig(num_time_masks=0, num_frequency_masks=0)

CONFIGS = {
    "demo": NamedConfig(
        "Four learners on a ring, simulated on the CPU, in less than ten minutes.",
        SpeechConfig(
            # A short run has no time to overfit: whatever varies the data or drops cells delays it.
            data=DataConfig(
                buckets=((2.0, 32), (4.5, 16), (9.0, 8)),
                speed=(0.95, 1.05),
                join_probability=0.0,
                spliced=0.0,
            ),
            model=replace(PRESETS["tiny"], dropout=0.0, embedding_dropout=0.0, dropconnect=0.0),
            augmentation=_NO_MASKS,
            optimizer=OptimizerConfig(steps=720, peak_learning_rate=8e-3),
            validate_every=360,
        ),
    ),
    "small": NamedConfig(
        "Four learners on a ring and the sizes of the model that ships: over an hour on two cores.",
        SpeechConfig(),
    ),
    "single": NamedConfig(
        "One learner, smaller batches, 25 minutes on two CPU cores.",
        _SINGLE,
    ),
    "streaming": NamedConfig(
        "One learner, a model for `gossamer transcribe --stream`: it reads while one speaks.",
        replace(
            _SINGLE,
            data=replace(_SINGLE.data, normalization="running"),
            model=PRESETS["streaming"],
        ),
    ),
    "refined": NamedConfig(
        "The second stage of the model that ships: `single` goes on without masks, 6 minutes.",
        replace(
            _SINGLE,
            augmentation=_NO_MASKS,
            optimizer=OptimizerConfig(steps=700, peak_learning_rate=2e-3),
            start_from="runs/single",
            validate_every=700,
        ),
    ),
    "quantized": NamedConfig(
        "The model that ships at 4 bits: calibration, then 200 steps; other bits by --quantize.",
        replace(
            _SINGLE,
            augmentation=_NO_MASKS,
            optimizer=OptimizerConfig(steps=200, peak_learning_rate=1e-3),
            start_from="prompts",
            quantize="int4_paper",
            validate_every=200,
        ),
    ),
    "paper": NamedConfig(
        "Sizes of arXiv:2103.09935 as remembered, for a GPU and a larger corpus.",
        SpeechConfig(
            data=DataConfig(),
            model=PRESETS["paper"],
            optimizer=OptimizerConfig(steps=50_000, peak_learning_rate=5e-4, warmup=0.3),
            learners=LearnersConfig(number=8),
        ),
    ),
}
