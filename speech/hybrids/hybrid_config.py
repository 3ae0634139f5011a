"""What a training run of a hybrid recognizer is: the dataclass that the command line fills."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..names import PolicyName
from ..run_config import (
    AugmentationConfig,
    CompressionConfig,
    DataConfig,
    LearnersConfig,
    OptimizerConfig,
    SpeechConfig,
)
from .acoustic_model_config import PRESETS, AcousticModelConfig


@dataclass(frozen=True)
class HybridRun:
    """A hybrid recognizer and how it is trained."""

    data: DataConfig = field(
        default_factory=lambda: DataConfig(speed=(0.9, 1.1), join_probability=0.0)
    )
    model: AcousticModelConfig = field(default_factory=lambda: PRESETS["small"])
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(steps=1200, peak_learning_rate=4e-3)
    )
    learners: LearnersConfig = field(default_factory=lambda: LearnersConfig(number=1))
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    lexicon: str = "cmu"
    """`cmu` (the CMU dictionary, of the extra `hybrid`), `graphemic` (letters as phones, for any
    language), or the path of a dictionary with a word and its phones in each line."""
    states: int = 2
    """States of a phone; each takes at least 20 ms."""
    pdfs: int = 400
    """Tied states; 0 leaves out the trees."""
    rounds: int = 10
    """Alignments of a flat start, of states without context and again of tied ones."""
    flat_recordings: int = 20_000
    """Recordings that a flat start learns from, at most; it then aligns all."""
    realignments: int = 0
    """Alignments by the network itself, which cut the steps into equal parts."""
    unroll: int = 0
    """Frames of a part that is read as if it were whole (21 in arXiv:2110.11199); 0 reads whole
    recordings."""
    mmi: float = 0.0
    """Share of lattice-free MMI in the loss; the rest is cross-entropy. Needs `from`."""
    mmi_scale: float = 0.5
    """What log likelihoods count in it beside the probabilities of phones."""
    order: int = 3
    """Words of the longest n-grams in the language model of the training transcripts."""
    start_from: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder of a finished run in float to go on from: sizes, lexicon, states and alignment are
    its own."""
    quantize: PolicyName | None = None
    """Train under fake quantization by a named policy, after calibration; needs `from`."""
    seed: int = 0
    """Seed of the parameters, the order of the recordings and every random draw."""
    log_every: int = 20
    """Steps between log lines."""
    checkpoint_every: int = 150
    """Steps between checkpoints."""
    run: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder; `runs/hybrid` by default."""

    @property
    def speech(self) -> SpeechConfig:
        """The same as the run of a transducer, whose optimizer and learners serve here too."""
        return SpeechConfig(
            data=self.data,
            augmentation=self.augmentation,
            optimizer=self.optimizer,
            learners=self.learners,
            compression=self.compression,
            log_every=self.log_every,
        )

    def check(self) -> None:
        """Refuses options out of range, and those that would move frames away from their targets.

        Raises:
            ValueError: if there are such.
        """
        for name in ("states", "rounds", "flat_recordings"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("unroll", "pdfs", "realignments"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}.")
        if not 1 <= self.order <= 9:
            raise ValueError(f"`order` must lie in 1..9, got {self.order}.")
        if self.optimizer.steps <= self.realignments:
            raise ValueError(
                f"`optimizer.steps` must be more than `realignments`, got {self.optimizer.steps} "
                f"and {self.realignments}."
            )
        if self.learners.asynchronous:
            raise ValueError(
                f"`--engine` must be auto, vmap, shard_map or pmap for a hybrid, got "
                f"{self.learners.engine}."
            )
        if not 0 <= self.mmi <= 1 or not self.mmi_scale > 0:
            raise ValueError(
                f"`mmi` must lie in 0..1 and `mmi_scale` be positive, got {self.mmi} and "
                f"{self.mmi_scale}."
            )
        if self.mmi and self.start_from is None:
            raise ValueError(
                "`--mmi` goes on from a run that cross-entropy trained; train one and name it with "
                "`--from`."
            )
        if self.mmi and (self.unroll or self.realignments):
            raise ValueError(
                "`--mmi` reads whole recordings and keeps their alignment; `unroll` and "
                f"`realignments` must be 0, got {self.unroll} and {self.realignments}."
            )
        if self.lexicon == "cmu" and self.data.language != "en":
            raise ValueError("`lexicon` cmu is English; choose graphemic.")
        if self.quantize is not None and self.start_from is None:
            raise ValueError(
                "`--quantize` goes on from a run in float; train one and name it with `--from`."
            )
        if self.quantize is not None and self.realignments:
            raise ValueError(
                f"`realignments` must be 0 with `--quantize`, which goes on from weights in float, "
                f"got {self.realignments}."
            )
        moving = {
            "data.tempo": (self.data.tempo, (1.0, 1.0)),
            "data.join_probability": (self.data.join_probability, 0.0),
            "augmentation.length_perturb.probability": (
                self.augmentation.length_perturb.probability,
                0.0,
            ),
        }
        for name, (value, kept) in moving.items():
            if value != kept:
                raise ValueError(
                    f"`{name}` must be {kept} for a hybrid, whose frames have targets of their "
                    f"own, got {value}; use `data.speed`, which moves both."
                )
        self.learners.check()
        self.compression.check(self.learners)
        self.augmentation.check()
        self.optimizer.check(self.data, self.learners)


RUNS = {
    "small": HybridRun(),
    "paper": HybridRun(model=PRESETS["paper"], pdfs=32_000, unroll=21),
}
