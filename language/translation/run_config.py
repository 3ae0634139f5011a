"""What a training run of a translator is: the dataclass that the command line fills."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from ...core.learners_config import CompressionConfig, LearnersConfig
from .transformer_config import PRESETS, TransformerConfig


@dataclass(frozen=True)
class DataConfig:
    """Which parallel text, in which pieces and batches."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"])] = "sentences"
    """`sentences` (English and German, made by rules), `wmt14/en-de` (gigabytes, fetched by
    tensorflow-datasets), or the path of a table with the columns source, target and, if you like,
    split, or of a text whose translations are in `targets`."""
    targets: str | None = None
    """Path of the translations of a text, line by line."""
    vocabulary: int = 800
    """Pieces of both languages together at most, by byte-pair encoding; 37000 for WMT14."""
    max_length: int = 64
    """Tokens of a text at most; longer ones are left out of training."""
    batch_tokens: int = 1024
    """Positions of a side of a batch, padding included, over all learners; 25000 in the paper."""
    buckets: int = 4
    """Shapes of batches at most; each is compiled once."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network."""

    name: Annotated[Literal["tiny", "small", "base"], tyro.conf.arg(aliases=["--model"])] = "small"
    """Layers, size, heads and hidden size: 1, 32, 2, 64; 2, 128, 4, 256; Transformer-base: 6, 512,
    8, 2048."""
    dropout: float = 0.1
    """Dropout of embeddings and of what each layer adds."""

    @property
    def sizes(self) -> TransformerConfig:
        """All of it."""
        return replace(PRESETS[self.name], dropout=self.dropout)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam; the rate rises linearly, then falls with the inverse square root of the step."""

    steps: int = 1000
    """Training steps, of one update of each learner."""
    learning_rate: float = 3e-3
    """Highest learning rate; that of the paper is (size * warmup) ** -0.5."""
    warmup: int = 200
    """Steps in which the rate rises; 4000 in the paper."""
    label_smoothing: float = 0.1
    """Probability that targets give to all tokens alike."""
    average: float = 0.0
    """Decay of a moving average of the weights, which is then evaluated; 0 keeps none."""
    microbatches: int = 1
    """Parts of a learner's batch that are worked on one after another, to save memory."""


@dataclass(frozen=True)
class TranslationConfig:
    """A complete training run of a translator."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learners: LearnersConfig = field(default_factory=LearnersConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    beam: int = 4
    """Hypotheses of the search at the end, beside greedy decoding."""
    seed: int = 0
    """Seed of the parameters, the order of pairs and dropout."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 250
    """Steps between evaluations on the pairs for development."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""

    def check(self) -> None:
        """Refuses options that are out of range or make no sense together.

        Raises:
            ValueError: if there are such.
        """
        self.learners.check()
        self.compression.check(self.learners)
        if self.learners.asynchronous:
            raise ValueError(
                f"`learners.engine` must be auto, vmap, shard_map or pmap for translation, got "
                f"{self.learners.engine}."
            )
        positive = {
            "data.max_length": self.data.max_length,
            "data.buckets": self.data.buckets,
            "optimizer.warmup": self.optimizer.warmup,
            "optimizer.microbatches": self.optimizer.microbatches,
            "beam": self.beam,
        }
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if not 0 <= self.optimizer.label_smoothing < 1:
            raise ValueError(
                f"`optimizer.label_smoothing` must be in [0, 1), got "
                f"{self.optimizer.label_smoothing}."
            )
