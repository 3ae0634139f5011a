"""What learners exchange in a run: the dataclasses that the command line fills.

`exchange` makes of them what trains.  This module comes without JAX, for quick help.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from .topology import Topology

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
        Literal["auto", "vmap", "shard_map", "pmap", "threads", "ray"],
        tyro.conf.arg(aliases=["--engine"]),
    ] = "vmap"
    """Simulate the learners on one device (`vmap`), run each on its own (`shard_map`, `pmap`),
    whichever the devices allow (`auto`), or let nobody wait: AD-PSGD in threads, or in Ray actors
    on this machine or, with RAY_ADDRESS set, on a cluster. A step is then `number` updates, whoever
    makes them."""

    @property
    def asynchronous(self) -> bool:
        """Whether learners do not wait for each other."""
        return self.engine in ("threads", "ray")

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ValueError: if there are such, or the engine is not installed.
        """
        if self.number < 1:
            raise ValueError(f"`learners.number` must be at least 1, got {self.number}.")
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
            from .ray_learner import import_ray

            import_ray()

    def build(self) -> "Topology":
        """The topology itself."""
        from . import topology

        family = getattr(topology, self.topology)
        if self.topology in ("random_ring", "random_matching"):
            return family(self.number, seed=0)
        return family(self.number)


@dataclass(frozen=True)
class CompressionConfig:
    """What learners that work in step send of their gradients, see `core.error_feedback`."""

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
    of: Literal["gradients", "updates"] = "gradients"
    """What is compressed: gradients, of whose mean the optimizer makes an update, or the updates of
    each learner's own optimizer. Adam divides by the size of what it sees, and moves a weight whose
    gradient arrives once in `rate` steps much less than one whose gradient always does; of updates
    nothing is lost."""

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
        if self.scheme != "none" and self.of == "updates" and learners.diagnose_every:
            raise ValueError(
                "`learners.diagnose_every` measures gradients, of which `compression.of updates` "
                "sends none; leave it out."
            )
