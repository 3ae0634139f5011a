"""What learners exchange in a run, as configuration, and the optimizer and step that follow.

One learner's rule becomes that of many by what it is chained with: a mean of gradients in front,
dense or compressed, or an average of weights behind.

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433 (SSGD, SSGD*, DPSGD).
    X. Cui et al., "Asynchronous Decentralized Distributed Training of Acoustic Models", 2021,
        arXiv:2110.11199 (delay by one).
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import optax
import tyro

from . import (
    error_feedback,
    gossip,
    landscape,
    low_rank,
    one_bit,
    similarity,
    sparsification,
    topology,
    training,
    weight_noise,
)
from .microbatches import Loss
from .ray_learner import import_ray
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


def distribute(
    rule: optax.GradientTransformationExtraArgs,
    learners: LearnersConfig,
    compression: CompressionConfig,
    *,
    num_steps: int,
    axis_name: str | None = "learner",
) -> optax.GradientTransformationExtraArgs:
    """One learner's rule together with what learners in step exchange.

    Args:
        rule: the optimizer of one learner.
        learners: how they mix; with a barrier.
        compression: what they send of gradients, if they average those.
        num_steps: of the whole run.
        axis_name: the axis of learners; None for a single learner.

    Returns:
        An optax chain.
    """
    if learners.algorithm == "ssgd":
        return optax.chain(_mean_gradient(compression, num_steps, axis_name), rule)
    if learners.algorithm == "delay_by_one":
        return gossip.delay_by_one(rule, learners.number, axis_name=axis_name)
    return gossip.dpsgd(rule, learners.build(), axis_name=axis_name, order=learners.order)


def _mean_gradient(
    config: CompressionConfig, num_steps: int, axis_name: str | None
) -> optax.GradientTransformation:
    """The mean gradient of all learners, dense or compressed."""
    compressors = {
        "scalecom": sparsification.clt_k,
        "local_top_k": sparsification.local_top_k,
        "gtop_k": sparsification.gtop_k,
        "random_k": sparsification.random_k,
        "power_sgd": low_rank.power_sgd,
        "one_bit": one_bit.signs,
    }
    if config.scheme == "none":
        return gossip.all_reduce(axis_name)
    return error_feedback.error_feedback(
        compressors[config.scheme](),
        config.rate,
        beta=config.beta,
        axis_name=axis_name,
        warmup_steps=round(config.dense_steps * num_steps),
    )


def noisy_loss(loss: Loss, learners: LearnersConfig) -> Loss:
    """The loss of one learner at weights with noise, if the run asks for any (SSGD*)."""
    if learners.weight_noise:
        return weight_noise.perturb(loss, learners.weight_noise)
    return loss


def learner_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    learners: LearnersConfig,
    compression: CompressionConfig,
    *,
    learning_rate: optax.Schedule,
    log_every: int,
    num_parts: int = 1,
    curvature: bool = True,
    statistics_decay: float | None = None,
) -> Callable[..., Any]:
    """The step of one learner, see `training.train_step`, with what the learners are to measure.

    Args:
        loss: see `training.train_step`.
        optimizer: see `distribute`.
        learners: how many and how they mix.
        compression: what they send of gradients.
        learning_rate: by step, for the effective learning rate.
        log_every: steps between log lines.
        num_parts: see `training.train_step`.
        curvature: see `landscape.diagnose`.
        statistics_decay: see `training.train_step`.
    """
    loss = noisy_loss(loss, learners)
    diagnostics, every = None, learners.diagnose_every
    if every and compression.scheme != "none":
        diagnostics = similarity.diagnose(compression.rate, every=every)
    elif every:
        diagnostics = landscape.diagnose(
            loss, learning_rate=learning_rate, every=every, curvature=curvature
        )
    return training.train_step(
        loss,
        optimizer,
        axis_name="learner",
        num_parts=num_parts,
        diagnostics=diagnostics,
        # On devices of their own learners would send as much for this figure as for the mixing.
        consensus_every=1 if learners.engine == "vmap" else log_every,
        statistics_decay=statistics_decay,
    )
