"""Compressed mean gradients with error feedback, as the first link of an optax chain.

Learner i sends a compressed part c_i of its gradient plus what it did not send before; all learners
get the same mean; the rest stays in the residual m_i, through a low-pass filter:

    u_i = m_i + g_i,    mean = (1/n) sum_i c_i,    m_i <- (1 - beta) m_i + beta (u_i - c_i).

beta = 1 is classic error feedback, where nothing is lost: the sum of all means plus the mean
residual is the sum of all mean gradients.  A smaller beta keeps (1 - beta) of the residual of what
was sent and lets beta of each new gradient in, which calms residuals at large learning rates.
Momentum, Adam and clipping come after this link and see the mean.

How c_i is chosen and summed is the compressor's matter: see `sparsification` for the indices of
ScaleCom and its relatives, `low_rank` and `one_bit` for others.  Residuals take the memory of the
gradients, in float32 or better; they are state, hence part of every checkpoint.

References:
    C.-Y. Chen et al., "ScaleCom", 2020, arXiv:2104.11125.
    F. Seide et al., "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel
        Distributed Training of Speech DNNs", 2014, Interspeech (error feedback).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import mixing

Rate = float | Any | Callable[[Any], Any]


class Reduced(NamedTuple):
    """What a compressor gives for the arrays u of one learner."""

    mean: list[jax.Array]  # means of the sent parts, the same on all learners; shapes of u
    rest: list[jax.Array]  # what the learner did not send, u - c; shapes of u
    memory: Any  # the compressor's own state


class Compressor(NamedTuple):
    """A way to compress and sum; `arrays` are one learner's, each with a rate above 1."""

    init: Callable[[list[Any], list[float]], Any]
    """(arrays, rates) -> memory"""
    reduce: Callable[[list[jax.Array], list[float], Any, jax.Array, str], Reduced]
    """(arrays, rates, memory, step, axis_name) -> Reduced"""
    traffic: Callable[[list[Any], list[float], int], float]
    """(arrays, rates, num_learners) -> bytes that a learner sends in a step, see `traffic`"""


class ErrorFeedbackState(NamedTuple):
    """State of `error_feedback`."""

    step: jax.Array  # [] int32: number of updates so far; ScaleCom's leader is step mod n
    residual: Any  # m, shapes of the parameters, float32 or better; MaskedNode where dense
    memory: Any  # of the compressor


def error_feedback(
    compressor: Compressor,
    rate: Rate,
    *,
    beta: float = 1.0,
    axis_name: str | None = "learner",
    dense: Any = None,
    warmup_steps: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Replaces a learner's gradient by the mean of all learners' compressed gradients.

    The first steps may be dense: a mean of all gradients, which leaves residuals at zero.  With
    `warmup_steps` the program holds both kinds of steps and a branch.  To be rid of it, compile two
    steps and pass ``compress=False`` to the update of the first, see `training.staged`.

    Args:
        compressor: what is sent, for instance `sparsification.clt_k`.
        rate: elements for each element sent, at least 1: a number, a tree of them that is a prefix
            of the parameters', or a function from the parameters to such a tree.  1 is dense.
        beta: the filter, in (0, 1].
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        dense: which arrays are not compressed: a tree of booleans that is a prefix of the
            parameters', or a function from the parameters to it, as for ``optax.masked``.
        warmup_steps: number of first steps that are dense.

    Returns:
        A transform of local gradients that keeps their dtype.  Its ``update`` takes
        ``compress=False`` for a dense step; then `warmup_steps` does not matter.

    Raises:
        ValueError: if `beta`, a rate or `warmup_steps` is out of range; in ``update``, if the
            learners share their parameters, whose gradient would be a sum over them.

    Example:
        >>> optimizer = optax.chain(error_feedback(power_sgd(), 64), optax.sgd(0.1))
    """
    if not 0.0 < beta <= 1.0:
        raise ValueError(f"`beta` must be above 0 and at most 1, got {beta}.")
    if warmup_steps < 0:
        raise ValueError(f"`warmup_steps` must be at least 0, got {warmup_steps}.")

    def init(params):
        leaves, tree = jax.tree.flatten(params)
        rates = resolve_rates(params, rate, dense)
        residual = [
            optax.MaskedNode() if r == 1 else jnp.zeros(jnp.shape(x), _wide(x))
            for x, r in zip(leaves, rates, strict=True)
        ]
        memory = compressor.init(*_compressed(leaves, rates))
        return ErrorFeedbackState(jnp.zeros([], jnp.int32), tree.unflatten(residual), memory)

    def update(updates, state, params=None, *, compress=True, **extra_args):
        del extra_args
        next_step = jnp.asarray(optax.safe_increment(state.step))
        if axis_name is None:
            return updates, state._replace(step=next_step)
        axis: str = axis_name
        mixing.check_own(updates if params is None else params, axis)
        leaves, tree = jax.tree.flatten(updates)
        rates = resolve_rates(updates, rate, dense)
        gradients, kept_rates = _compressed(leaves, rates)
        gradients = [g.astype(_wide(g)) for g in gradients]
        step = mixing.share_step(state.step, axis)

        def plain(gradients, residual, memory):
            return jax.lax.pmean(gradients, axis), residual, memory

        def sparse(gradients, residual, memory):
            sums = optax.tree.add(residual, gradients)
            found = compressor.reduce(sums, kept_rates, memory, step, axis)
            if beta == 1.0:
                return found.mean, found.rest, found.memory
            residual = [
                (1.0 - beta) * m + beta * r for m, r in zip(residual, found.rest, strict=True)
            ]
            return found.mean, residual, found.memory

        arguments = gradients, jax.tree.leaves(state.residual), state.memory
        if not compress or not gradients:
            means, residual, memory = plain(*arguments)
        elif warmup_steps:
            means, residual, memory = jax.lax.cond(step < warmup_steps, plain, sparse, *arguments)
        else:
            means, residual, memory = sparse(*arguments)
        rest = jax.lax.pmean([x for x, r in zip(leaves, rates, strict=True) if r == 1], axis)
        sources = iter(rest), iter(means)
        averaged = [
            next(sources[r > 1]).astype(x.dtype) for x, r in zip(leaves, rates, strict=True)
        ]
        residual = jax.tree.unflatten(jax.tree.structure(state.residual), residual)
        return tree.unflatten(averaged), ErrorFeedbackState(next_step, residual, memory)

    return optax.GradientTransformationExtraArgs(init, update)


def resolve_rates(tree: Any, rate: Rate, dense: Any = None) -> list[float]:
    """The rate of each array of a tree, see `error_feedback`; 1 where dense.

    Raises:
        ValueError: if a rate is below 1 or not finite.
    """
    rate = rate(tree) if callable(rate) else rate
    rates = [float(r) for r in jax.tree.leaves(jax.tree.broadcast(rate, tree))]
    for r in rates:
        if not 1.0 <= r < math.inf:
            raise ValueError(f"`rate` must be at least 1 and finite, got {r}; 1 is dense.")
    if dense is None:
        return rates
    dense = jax.tree.leaves(jax.tree.broadcast(dense(tree) if callable(dense) else dense, tree))
    return [1.0 if left else r for r, left in zip(rates, dense, strict=True)]


def traffic(
    compressor: Compressor, rate: Rate, params: Any, num_learners: int, *, dense: Any = None
) -> float:
    """Bytes that a learner sends in one compressed step, by the ring algorithms of `traffic`.

    Args:
        compressor: what is sent.
        rate: see `error_feedback`.
        params: pytree of one learner's parameters, or of their shapes.
        num_learners: number of learners n.
        dense: see `error_feedback`.

    Returns:
        Bytes; dense arrays are summed in their own dtype.
    """
    leaves = jax.tree.leaves(params)
    rates = resolve_rates(params, rate, dense)
    left = [x for x, r in zip(leaves, rates, strict=True) if r == 1]
    rest = sum(x.size * jnp.dtype(x.dtype).itemsize for x in left)
    sent = compressor.traffic(*_compressed(leaves, rates), num_learners)
    return all_reduce_bytes(rest, num_learners) + sent


def all_reduce_bytes(num_bytes: float, num_learners: int) -> float:
    """What a device sends in a ring all-reduce of `num_bytes`: 2 (n - 1) / n of them."""
    return 2.0 * (num_learners - 1) / num_learners * num_bytes


def _compressed(leaves: list[Any], rates: list[float]) -> tuple[list[Any], list[float]]:
    kept = [(x, r) for x, r in zip(leaves, rates, strict=True) if r > 1]
    return [x for x, _ in kept], [r for _, r in kept]


def _wide(x: Any) -> Any:
    return jnp.promote_types(jnp.result_type(x), jnp.float32)
