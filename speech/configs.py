"""The named configurations of ``gossamer train speech``, each with its command and purpose."""

from typing import NamedTuple

from .recipe import DataConfig, LearnersConfig, OptimizerConfig, SpeechConfig
from .transducer import PRESETS


class NamedConfig(NamedTuple):
    """A configuration and what it is for."""

    description: str
    config: SpeechConfig


CONFIGS = {
    "demo": NamedConfig(
        "Four learners on a ring, simulated on the CPU, in less than ten minutes.",
        SpeechConfig(
            data=DataConfig(
                buckets=((2.0, 32), (4.5, 16), (9.0, 8)), join_probability=0.0, spliced=0.0
            ),
            model=PRESETS["tiny"],
            optimizer=OptimizerConfig(steps=900, peak_learning_rate=8e-3),
            validate_every=300,
        ),
    ),
    "small": NamedConfig(
        "Four learners on a ring and the sizes of the model that ships: over an hour on two cores.",
        SpeechConfig(),
    ),
    "single": NamedConfig(
        "The model that ships: one learner, smaller batches, 25 minutes on two CPU cores.",
        SpeechConfig(
            data=DataConfig(buckets=((2.0, 16), (4.0, 8), (6.0, 6), (9.0, 4))),
            optimizer=OptimizerConfig(steps=3600),
            learners=LearnersConfig(number=1),
            validate_every=900,
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
