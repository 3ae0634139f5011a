"""Measurements beside a training step: what their functions look like, and how often they run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import mixing

Diagnostics = Callable[[Any, Any, jax.Array, Any], dict[str, jax.Array]]
"""``(state, batch, key, gradients) -> {name: scalar}`` for one learner: the `training.TrainState`
before the step, what the loss was given, and the gradients."""


def periodic(measure: Diagnostics, every: int, axis_name: str = "learner") -> Diagnostics:
    """Measures in one step of every few; the others cost nothing and report NaN.

    The first measurement is after ``every - 1`` steps, so that each line of a log of equal rhythm
    has one; the log leaves NaN out of its means.

    Args:
        measure: what to measure; collectives in it use `axis_name`.
        every: number of steps from one measurement to the next, at least 1.
        axis_name: the axis of learners.

    Returns:
        A function of the same type.

    Raises:
        ValueError: if `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"`every` must be at least 1, got {every}.")

    def diagnostics(state, batch, key, gradients):
        state = state._replace(step=mixing.share_step(state.step, axis_name))
        arguments = state, batch, key, gradients
        return measure_if((state.step + 1) % every == 0 if every > 1 else True, measure, *arguments)

    return diagnostics


def measure_if(is_due: jax.Array | bool, measure: Callable[..., Any], *arguments: Any) -> Any:
    """``measure(*arguments)`` where it is due, else NaN in its shapes; True needs no branch."""
    if is_due is True:
        return measure(*arguments)
    shapes = jax.eval_shape(measure, *arguments)
    absent = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)
    return jax.lax.cond(is_due, measure, lambda *_: absent, *arguments)
