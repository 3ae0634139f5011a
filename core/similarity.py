"""How alike the learners' gradients are, on which sparsification by a leader relies.

ScaleCom sends all learners' u = residual + gradient at the elements that the leader would choose.
That is near the best choice, the largest elements of the mean of u, where learners are alike:

    hamming_distance    d / 2k, the share of the leader's k elements that are not among the k
                        largest of the mean: 0 for equal learners, 1 for nothing in common
    residual_cosine     mean cosine between the residuals of two learners
    residual_ratio      ||residual|| / ||gradient||: how many steps' worth has not been sent

A small distance alone is no proof of health: where residuals have grown far beyond the gradients,
learners agree on what is stale.  Read it beside the residual's ratio.

References:
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from . import mixing
from .diagnostics import Diagnostics, periodic
from .error_feedback import ErrorFeedbackState
from .selection import CHUNKWISE, Selection


def hamming_distance(
    arrays: Any,
    rate: float,
    step: jax.Array,
    *,
    selection: Selection = CHUNKWISE,
    axis_name: str = "learner",
) -> jax.Array:
    """Share of the leader's elements that are not among the largest of the mean, d / 2k.

    Args:
        arrays: pytree of one learner's u.
        rate: elements for each element chosen, above 1.
        step: [] int: the learner ``step mod n`` leads.
        selection: how elements are chosen, of the leader's u and of the mean alike.
        axis_name: the axis of learners.

    Returns:
        [] float32 in 0 ... 1, over all arrays together, the same on all learners.
    """
    leads = jax.lax.axis_index(axis_name) == step % jax.lax.axis_size(axis_name)

    def count_missed(x):
        mean = jax.lax.pmean(x, axis_name)
        own, best = (selection.locate(selection.choose(y, rate), x.size, rate) for y in (x, mean))
        mask = jnp.zeros(x.size, bool).at[best].set(True)
        return jnp.sum(~mask[own]), len(own)

    counts = [count_missed(x) for x in jax.tree.leaves(arrays)]
    missed = jnp.where(leads, sum(missed for missed, _ in counts), 0)
    return jax.lax.psum(missed, axis_name) / sum(count for _, count in counts)


def residual_cosine(residual: Any, axis_name: str = "learner") -> jax.Array:
    """Mean cosine between the residuals of two different learners.

    Args:
        residual: pytree of one learner's residuals.
        axis_name: the axis of at least two learners.

    Returns:
        [] float32 in -1 ... 1; 0 as long as residuals are zero.
    """
    n = jax.lax.axis_size(axis_name)
    norm = jnp.maximum(optax.tree.norm(residual), jnp.finfo(jnp.float32).tiny)
    # |sum of unit vectors|^2 holds all cosines, those of learners with themselves included.
    units = optax.tree.scale(1.0 / norm, residual)
    total = optax.tree.norm(jax.lax.psum(units, axis_name), squared=True)
    own = jax.lax.psum(optax.tree.norm(units, squared=True), axis_name)
    return (total - own) / (n * (n - 1))


def diagnose(
    rate: float,
    *,
    every: int = 1,
    selection: Selection = CHUNKWISE,
    axis_name: str = "learner",
) -> Diagnostics:
    """Builds the `diagnostics` of `training.train_step` for an optimizer with error feedback.

    A measured step adds three dense all-reduces and two selections, other steps nothing.

    Args:
        rate: elements for each element chosen, in `hamming_distance`.
        every: number of steps from one measurement to the next, see `diagnostics.periodic`.
        selection: see `hamming_distance`.
        axis_name: the axis of at least two learners.

    Returns:
        A function that returns the metrics "hamming_distance", "residual_cosine" and
        "residual_ratio", of the arrays that are compressed.

    Raises:
        ValueError: if `every` is below 1; when called, if the optimizer has no error feedback.

    Example:
        >>> optimizer = optax.chain(scalecom(100), optax.sgd(0.1))
        >>> step = training.train_step(loss, optimizer, axis_name="learner",
        ...     diagnostics=diagnose(100, every=20))
    """

    def measure(state, batch, key, gradients):
        del batch, key
        feedback = find_state(state.opt_state)
        residual = jax.tree.leaves(feedback.residual)
        kept = _compressed(gradients, feedback.residual)
        sums = optax.tree.add(residual, kept)
        step = mixing.share_step(feedback.step, axis_name)
        return {
            "hamming_distance": hamming_distance(
                sums, rate, step, selection=selection, axis_name=axis_name
            ),
            "residual_cosine": residual_cosine(residual, axis_name),
            "residual_ratio": optax.tree.norm(residual) / optax.tree.norm(kept),
        }

    return periodic(measure, every, axis_name)


def _compressed(gradients: Any, residual: Any) -> list[jax.Array]:
    """The gradients that have residuals, in their dtypes."""
    if isinstance(residual, jax.Array):  # under ``optax.flatten``
        gradients = jnp.concatenate([g.reshape(-1) for g in jax.tree.leaves(gradients)])
        gradients = gradients.reshape(residual.shape)
    leaves, tree = jax.tree.flatten(gradients)
    return [
        g.astype(m.dtype)
        for g, m in zip(leaves, tree.flatten_up_to(residual), strict=True)
        if not isinstance(m, optax.MaskedNode)
    ]


def find_state(opt_state: optax.OptState) -> ErrorFeedbackState:
    """The state of the first link with error feedback in a chain.

    Raises:
        ValueError: if there is none.
    """

    def is_feedback(state):
        return isinstance(state, ErrorFeedbackState)

    for state in jax.tree.leaves(opt_state, is_leaf=is_feedback):
        if is_feedback(state):
            return state
    raise ValueError("`optimizer` must have a link with error feedback, such as scalecom.")
