"""What learners exchange in a run: the optimizer and the step that follow from a configuration.

One learner's rule becomes that of many by what it is chained with: a mean of gradients in front or
of updates behind, dense or compressed, or an average of weights behind.

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433 (SSGD, SSGD*, DPSGD).
    X. Cui et al., "Asynchronous Decentralized Distributed Training of Acoustic Models", 2021,
        arXiv:2110.11199 (delay by one).
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
"""

from collections.abc import Callable
from typing import Any

import optax

from . import (
    error_feedback,
    gossip,
    landscape,
    low_rank,
    one_bit,
    similarity,
    sparsification,
    training,
    weight_noise,
)
from .learners_config import CompressionConfig, LearnersConfig
from .microbatches import Loss


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
        compression: what they send of gradients or updates, if they average those.
        num_steps: of the whole run.
        axis_name: the axis of learners; None for a single learner.

    Returns:
        An optax chain.
    """
    if learners.algorithm == "ssgd":
        mean = _mean(compression, num_steps, axis_name)
        links = (rule, mean) if compression.of == "updates" else (mean, rule)
        return optax.chain(*links)
    if learners.algorithm == "delay_by_one":
        return gossip.delay_by_one(rule, learners.number, axis_name=axis_name)
    return gossip.dpsgd(rule, learners.build(), axis_name=axis_name, order=learners.order)


def _mean(
    config: CompressionConfig, num_steps: int, axis_name: str | None
) -> optax.GradientTransformation:
    """The mean over all learners, dense or compressed."""
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
