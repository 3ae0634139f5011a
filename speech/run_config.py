"""What a speech training run is: the dataclasses that the command line fills.

`configs` has named ones; `recipe` makes of them what trains.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ..core import topology
from ..core.ray_learner import import_ray
from ..core.topology import Topology
from .policies import PolicyName
from .transducer import PRESETS, TransducerConfig

TopologyName = Literal[
    "ring",
    "complete",
    "star",
    "hypercube",
    "exponential",
    "one_peer_exponential",
    "random_ring",
    "random_matching",
    "base_graph",
]
Scheme = Literal["none", "scalecom", "local_top_k", "gtop_k", "random_k", "power_sgd", "one_bit"]


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
    speed: tuple[float, float] = (0.85, 1.15)
    """Range of the speed perturbation; (1, 1) turns it off."""
    join_probability: float = 0.2
    """Probability of joining a recording with others to a longer one."""
    spliced: float = 1.0
    """Sentences spliced from aligned words, per recording; needs a corpus with word times."""


@dataclass(frozen=True)
class AugmentationConfig:
    """SpecAugment on the normalized log-mel features of a recording."""

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
    clip_rate: float = 1.0
    """Learning rate of quantizers' clips, relative to that of weights."""


@dataclass(frozen=True)
class LearnersConfig:
    """How many learners train and how they mix."""

    number: Annotated[int, tyro.conf.arg(aliases=["--learners"])] = 4
    """Data-parallel learners; each sees its own part of every batch."""
    algorithm: Literal["dpsgd", "ssgd", "delay_by_one"] = "dpsgd"
    """Average weights over the topology, or gradients, or all weights while the gradient is
    computed."""
    topology: TopologyName = "ring"
    """Who averages weights with whom, see `core.topology`; random ones are drawn from seed 0."""
    order: Literal["awc", "atc"] = "awc"
    """Mix while adapting (D-PSGD of Lian et al.) or adapt, then combine."""
    weight_noise: float = 0.0
    """Standard deviation of noise on the weights at which gradients are taken (SSGD*)."""
    diagnose_every: int = 0
    """Steps between measurements of the effective learning rate, which cost two gradients, or with
    compression of how alike the learners' gradients are; 0 for none. Log as often."""
    engine: Annotated[
        Literal["vmap", "shard_map", "pmap", "threads", "ray"], tyro.conf.arg(aliases=["--engine"])
    ] = "vmap"
    """Simulate the learners on one device (`vmap`), run each on its own (`shard_map`, `pmap`), or
    let nobody wait: AD-PSGD in threads, or in Ray actors on this machine or, with RAY_ADDRESS set,
    on a cluster. A step is then `number` updates, whoever makes them."""

    @property
    def asynchronous(self) -> bool:
        """Whether learners do not wait for each other."""
        return self.engine in ("threads", "ray")

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ValueError: if there are such, or the engine is not installed.
        """
        if not self.asynchronous:
            return
        needed = {"algorithm": "dpsgd", "order": "awc", "diagnose_every": 0}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"`learners.{name}` must be {value!r} with the engine {self.engine}, whose "
                    f"learners average in pairs while others compute, got {getattr(self, name)!r}; "
                    "leave it out, or choose the engine vmap."
                )
        if self.build().period > 1:
            raise ValueError(
                f"`learners.topology` must be the same in all rounds with the engine {self.engine},"
                f" which has none, got {self.topology!r}; choose ring, complete, star, hypercube "
                "or exponential."
            )
        if self.engine == "ray":
            import_ray()

    def build(self) -> Topology:
        """The topology itself."""
        family = getattr(topology, self.topology)
        if self.topology in ("random_ring", "random_matching"):
            return family(self.number, seed=0)
        return family(self.number)


@dataclass(frozen=True)
class CompressionConfig:
    """What learners that average gradients send of them, see `core.error_feedback`."""

    scheme: Scheme = "none"
    """All of it, or one element of `rate` (`scalecom`: those that one learner chooses;
    `local_top_k`, `gtop_k`, `random_k`), matrices of low rank (`power_sgd`), or signs (`one_bit`).
    Needs `--learners.algorithm ssgd`."""
    rate: float = 100.0
    """Elements of a gradient for each element sent."""
    beta: float = 1.0
    """Low-pass filter of what was not sent, in (0, 1]; 0.1 for scaled-up learning rates."""
    dense_steps: float = 0.1
    """First part of the steps without compression."""

    def check(self, learners: LearnersConfig) -> None:
        """Refuses learners that do not average gradients.

        Raises:
            ValueError: if they do not.
        """
        if self.scheme != "none" and (learners.asynchronous or learners.algorithm != "ssgd"):
            raise ValueError(
                f"`compression.scheme` {self.scheme} needs learners that average gradients in "
                "rounds; add `--learners.algorithm ssgd` and leave out `--engine`."
            )


@dataclass(frozen=True)
class SpeechConfig:
    """A complete speech training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: TransducerConfig = field(default_factory=lambda: PRESETS["small"])
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learners: LearnersConfig = field(default_factory=LearnersConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    start_from: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Where parameters come from: `prompts` (the model that ships), a finished run's folder or a
    packed recognizer of the same sizes and vocabulary; by default they are drawn from the seed."""
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
