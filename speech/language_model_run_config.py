"""What a training run of a language model is: the dataclass that the command line fills."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..core.learners_config import LearnersConfig
from .language_model_config import LanguageModelConfig
from .names import PolicyName
from .run_config import OptimizerConfig


@dataclass(frozen=True)
class LanguageModelRun:
    """A language model and how it is trained."""

    text: tuple[str, ...] = ("prompts",)
    """What to read: `prompts` (the bundled training transcripts), or texts in UTF-8 with one
    sentence for each line, plain or gzipped."""
    labels_of: str = "prompts"
    """The recognizer whose labels the model has: the name of one that ships, a run folder or a
    file."""
    language: str = "en"
    """Language of the texts, for their normalization."""
    batch_size: int = 32
    """Sentences in a batch, over all learners."""
    model: LanguageModelConfig = field(
        default_factory=lambda: LanguageModelConfig(size=256, embedding_size=64, dropout=0.3)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(steps=600, peak_learning_rate=4e-3)
    )
    learners: LearnersConfig = field(default_factory=lambda: LearnersConfig(number=1))
    start_from: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Where parameters come from: the folder of a finished run in float, or its packed file, of the
    same sizes and labels; by default they are drawn from the seed."""
    quantize: PolicyName | None = None
    """Train under fake quantization by a named policy, after calibration; best with `from`. With
    `optimizer.steps 0` calibration is all."""
    seed: int = 0
    """Seed of the parameters, the order of the sentences and dropout."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 100
    """Steps between perplexities of the held-out sentences."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    run: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder; `runs/language-model` by default."""

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ValueError: if there are such.
        """
        steps = self.optimizer.steps
        if self.learners.asynchronous:
            raise ValueError(
                "`--engine` must be auto, vmap, shard_map or pmap for a language model, got "
                f"{self.learners.engine}."
            )
        self.learners.check()
        ignored = {
            "learners": ("weight_noise", "diagnose_every"),
            "optimizer": ("ctc_steps", "microbatches"),
        }
        for part, names in ignored.items():
            options = getattr(self, part)
            for name in names:
                if getattr(options, name) != getattr(type(options)(), name):
                    raise ValueError(
                        f"`{part}.{name}` is for recognizers; leave it out for a language model."
                    )
        if steps < 0 or (steps == 0 and None in (self.quantize, self.start_from)):
            raise ValueError(
                f"`--optimizer.steps` must be positive, got {steps}; 0 is to calibrate a trained "
                "model, and needs `--quantize` and `--from`."
            )
