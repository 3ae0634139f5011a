"""What a speech training run is: the dataclasses that the command line fills.

`configs` has named ones; `recipe` makes of them what trains.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ..core.learners_config import CompressionConfig, LearnersConfig
from .language_model_config import LanguageModelConfig
from .names import PolicyName, Ramp
from .transducer_config import PRESETS, TransducerConfig


@dataclass(frozen=True)
class DataConfig:
    """Which recordings, in which batches."""

    corpus: str = "prompts"
    """`prompts` (bundled telephone prompts) or the path of a manifest (TSV or JSON Lines)."""
    language: str = "en"
    """`en` spells digits and keeps a-z; any other code keeps all letters (manifests only)."""
    on_error: Literal["raise", "skip"] = "raise"
    """Refuse a manifest with an unusable line, or leave such lines out with a warning."""
    sample_rate: int = 8000
    """Samples per second; other recordings are resampled."""
    buckets: tuple[tuple[float, int], ...] = ((2.0, 32), (4.0, 16), (6.0, 12), (9.0, 8))
    """Longest recording in seconds and recordings per batch (over all learners), per bucket."""
    normalization: Literal["recording", "running"] = "recording"
    """Normalize features by the whole recording, or by what was heard of it so far (streaming)."""
    speed: tuple[float, float] = (0.85, 1.15)
    """Range of the speed perturbation; (1, 1) turns it off."""
    tempo: tuple[float, float] = (1.0, 1.0)
    """Range of the tempo, which leaves the pitch as it is, for instance 0.9 1.1."""
    join_probability: float = 0.2
    """Probability of joining a recording with others to a longer one."""
    spliced: float = 1.0
    """Sentences spliced from aligned words, per recording; needs a corpus with word times."""


@dataclass(frozen=True)
class LengthPerturbationConfig:
    """Stacked frames (of 20 ms) dropped and inserted, see `length_perturbation`.

    The values are remembered, not verified against arXiv:2203.15176.
    """

    probability: float = 0.0
    """Recordings to perturb; 0 turns it off."""
    drop_fraction: float = 0.1
    """Frames that start a deletion, per frame."""
    drop_run: int = 7
    """Frames of a deletion."""
    insert_fraction: float = 0.1
    """Frames followed by an insertion, per frame left."""
    insert_run: int = 3
    """Frames of an insertion, all zero."""


@dataclass(frozen=True)
class SequenceNoiseConfig:
    """Scaled mel energies of another recording of the batch, added."""

    probability: float = 0.0
    """Recordings to add noise to; 0 turns it off."""
    weight: float = 0.4
    """Factor of the other recording's energies; remembered, not verified against the paper."""


@dataclass(frozen=True)
class AugmentationConfig:
    """Noise, SpecAugment on normalized log-mel features, and changes of length."""

    num_time_masks: int = 4
    """Masks along time per recording."""
    max_time_width: int = 20
    """Longest time mask in frames of 10 ms."""
    max_time_fraction: float = 0.1
    """Longest time mask as a fraction of the recording."""
    num_frequency_masks: int = 2
    """Masks along frequency per recording."""
    max_frequency_width: int = 10
    """Widest frequency mask in mel filters."""
    length_perturb: LengthPerturbationConfig = field(default_factory=LengthPerturbationConfig)
    sequence_noise: SequenceNoiseConfig = field(default_factory=SequenceNoiseConfig)

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:
            ValueError: if there are such.
        """
        length, noise = self.length_perturb, self.sequence_noise
        _check_fraction("augmentation.length_perturb.probability", length.probability)
        _check_fraction("augmentation.length_perturb.drop_fraction", length.drop_fraction)
        _check_fraction("augmentation.length_perturb.insert_fraction", length.insert_fraction)
        _check_fraction("augmentation.sequence_noise.probability", noise.probability)
        if min(length.drop_run, length.insert_run) < 0:
            raise ValueError(
                "`augmentation.length_perturb.drop_run` and `insert_run` must be at least 0, got "
                f"{length.drop_run} and {length.insert_run}."
            )
        if noise.weight < 0:
            raise ValueError(
                f"`augmentation.sequence_noise.weight` must be at least 0, got {noise.weight}."
            )


@dataclass(frozen=True)
class LabelNoiseConfig:
    """Noise on what the predictor reads, and on what the loss aims at, see `label_noise`."""

    switchout: float = 0.0
    """Temperature of SwitchOut on the predictor's inputs, for instance 0.5; 0 turns it off."""
    switchout_exact: bool = False
    """Count the sequences at each distance, which makes replacements many more."""
    scheduled_sampling: float = 0.0
    """Predictor's inputs drawn, at the end of the run, from a language model, which is first
    trained on the training transcripts; for instance 0.2; 0 turns it off."""
    ramp: Ramp = "linear"
    """How that fraction rises over the run."""
    language_model: LanguageModelConfig = field(
        default_factory=lambda: LanguageModelConfig(size=128, embedding_size=32)
    )
    language_model_steps: int = 300
    """Training steps of that language model."""
    nbest: float = 0.0
    """Targets replaced by a whole alternative of `alternatives`; 0 turns it off."""
    alternatives: str | None = None
    """JSON Lines file of alternative transcripts, see `speech.corpora.alternatives`."""

    def check(self) -> None:
        """Refuses numbers out of range, and alternatives that are missing.

        Raises:
            ValueError: if there are such.
        """
        _check_fraction("label_noise.scheduled_sampling", self.scheduled_sampling)
        _check_fraction("label_noise.nbest", self.nbest)
        if self.switchout < 0:
            raise ValueError(f"`label_noise.switchout` must be at least 0, got {self.switchout}.")
        if self.language_model_steps < 1:
            raise ValueError(
                "`label_noise.language_model_steps` must be at least 1, got "
                f"{self.language_model_steps}."
            )
        if self.nbest and self.alternatives is None:
            raise ValueError(
                "`label_noise.nbest` needs alternatives; name their file with "
                "`--label-noise.alternatives`."
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a one-cycle schedule, gradients clipped by their global norm."""

    steps: int = 2600
    """Training steps, of one update of each learner."""
    peak_learning_rate: float = 5e-3
    """Highest learning rate, reached after `warmup` of the steps."""
    warmup: float = 0.15
    """Fraction of the steps spent rising to the peak."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of the matrices."""
    clip_norm: float = 5.0
    """Largest gradient norm."""
    ctc_weight: float = 0.3
    """Weight of the auxiliary frame-wise loss."""
    ctc_steps: int = 0
    """First steps with that loss alone, which bring the encoder to life (CTC initialization)."""
    microbatches: int = 1
    """Parts of a learner's batch that are worked on one after another, to save memory (gradient
    accumulation); must divide its rows."""
    clip_rate: float = 1.0
    """Learning rate of quantizers' clips, relative to that of weights."""

    def check(self, data: DataConfig, learners: LearnersConfig) -> None:
        """Refuses stages and parts that the run cannot have.

        Raises:
            ValueError: if it has such.
        """
        if not 0 <= self.ctc_steps < self.steps:
            raise ValueError(
                f"`optimizer.ctc_steps` must be at least 0 and below `optimizer.steps`, got "
                f"{self.ctc_steps} of {self.steps}."
            )
        if self.ctc_steps and (self.ctc_weight <= 0 or learners.asynchronous):
            raise ValueError(
                "`optimizer.ctc_steps` needs a positive `optimizer.ctc_weight` and learners in "
                f"step, got {self.ctc_weight} and the engine {learners.engine}; without a barrier "
                "train such a run first and name it by `--from`."
            )
        for _, rows in data.buckets:
            if self.microbatches < 1 or rows // learners.number % self.microbatches:
                raise ValueError(
                    "`optimizer.microbatches` must be positive and divide a learner's rows of every"
                    f" bucket, got {self.microbatches} for {rows // learners.number} of {rows} rows"
                    "; change it or `--data.buckets`."
                )


@dataclass(frozen=True)
class SpeechConfig:
    """A complete speech training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: TransducerConfig = field(default_factory=lambda: PRESETS["small"])
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    label_noise: LabelNoiseConfig = field(default_factory=LabelNoiseConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learners: LearnersConfig = field(default_factory=LearnersConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    start_from: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Where parameters come from: `prompts` (the model that ships), a finished run's folder or a
    packed recognizer of the same sizes and vocabulary; by default they are drawn from the seed."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of products with weights in training; sums, gates, softmax and the recursions of
    the loss are always in float32, and so is recognition."""
    quantize: PolicyName | None = None
    """Train under fake quantization by a named policy, after calibration; best with `from`."""
    seed: int = 0
    """Seed of the parameters, the data order and every random draw."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 500
    """Steps between evaluations on the validation recordings."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be in [0, 1], got {value}.")
