"""The named configurations of ``gossamer train speech``, each with its command and purpose."""

from dataclasses import replace
from typing import NamedTuple

from .language_model_config import LanguageModelConfig
from .run_config import (
    AugmentationConfig,
    DataConfig,
    LabelNoiseConfig,
    LearnersConfig,
    LengthPerturbationConfig,
    OptimizerConfig,
    SequenceNoiseConfig,
    SpeechConfig,
)
from .transducer_config import PRESETS


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

# All values are remembered, not verified against the papers, or, where nothing is remembered, ours:
# the probability of length perturbation, all of label noise, an epoch of the frame-wise loss alone.
# What the papers have besides: i-vectors; n-best lists, fusion and combination come later, by
# `gossamer alternatives`, `gossamer evaluate --language-model` and `--combine`. The list comes from
# `gossamer corpus switchboard swb ...`; an epoch is about 4,000 steps.
_SWB300 = SpeechConfig(
    data=DataConfig(
        corpus="swb/switchboard.tsv",
        on_error="skip",
        buckets=((2.0, 64), (4.0, 64), (6.0, 64), (9.0, 64), (12.0, 64), (18.0, 64)),
        speed=(0.9, 1.1),
        tempo=(0.9, 1.1),
        join_probability=0.0,
        spliced=0.0,
    ),
    model=PRESETS["paper"],
    augmentation=AugmentationConfig(
        num_time_masks=2,
        max_time_width=70,
        max_time_fraction=0.2,
        num_frequency_masks=2,
        max_frequency_width=8,  # of 40 filters, as 15 of 80
        length_perturb=LengthPerturbationConfig(probability=0.7),
        sequence_noise=SequenceNoiseConfig(probability=0.8, weight=0.4),
    ),
    label_noise=LabelNoiseConfig(
        switchout=0.5,
        scheduled_sampling=0.2,
        language_model=LanguageModelConfig(size=256, embedding_size=64),
        language_model_steps=5000,
    ),
    optimizer=OptimizerConfig(steps=80_000, peak_learning_rate=5e-4, warmup=0.3, ctc_steps=4000),
    learners=LearnersConfig(number=1),
    log_every=100,
    validate_every=4000,
    checkpoint_every=2000,
)

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
    "synthetic": NamedConfig(
        "Where the model that ships begins: voices of synthesizers (docs/results.md), 30 minutes.",
        replace(
            _SINGLE,
            # Voices and lines vary enough; what also varies or drops delays the start.
            data=replace(
                _SINGLE.data,
                corpus="spoken/human.tsv",
                speed=(0.95, 1.05),
                join_probability=0.0,
                spliced=0.0,
            ),
            model=replace(_SINGLE.model, dropout=0.0, embedding_dropout=0.0, dropconnect=0.0),
            augmentation=_NO_MASKS,
        ),
    ),
    "adapted": NamedConfig(
        "Its second stage: `synthetic` learns the voice of the telephone prompts, 30 minutes.",
        replace(
            _SINGLE,
            optimizer=OptimizerConfig(steps=2700, peak_learning_rate=4e-3),
            start_from="runs/synthetic",
        ),
    ),
    "refined": NamedConfig(
        "A last stage, twice for the model that ships: it goes on without masks, 6 minutes.",
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
    "paper_swb300": NamedConfig(
        "Switchboard, 300 hours, for a GPU: as remembered of arXiv:2103.09935 and 2203.15176.",
        _SWB300,
    ),
}
