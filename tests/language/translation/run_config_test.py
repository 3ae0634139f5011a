"""Options that make no sense are refused by name."""

from dataclasses import replace

import pytest

from gossamer.core.learners_config import CompressionConfig, LearnersConfig
from gossamer.language.translation.run_config import (
    DataConfig,
    NetworkConfig,
    OptimizerConfig,
    TranslationConfig,
)

CONFIG = TranslationConfig()


def test_the_defaults_are_fine():
    CONFIG.check()
    assert NetworkConfig("base").sizes.hidden == 2048
    assert NetworkConfig("tiny", dropout=0.3).sizes.dropout == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learners": LearnersConfig(engine="threads")}, "`learners.engine` must be auto, vmap"),
        ({"compression": CompressionConfig("scalecom")}, "add `--learners.algorithm ssgd`"),
        ({"data": DataConfig(buckets=0)}, "`data.buckets` must be at least 1, got 0"),
        ({"optimizer": OptimizerConfig(warmup=0)}, "`optimizer.warmup` must be at least 1"),
        ({"optimizer": OptimizerConfig(label_smoothing=1.0)}, "`optimizer.label_smoothing` must"),
        ({"beam": 0}, "`beam` must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes).check()
