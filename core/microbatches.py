"""Gradient accumulation: the gradient of a batch in parts, with one part in memory at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Loss = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]


def gradient_in_parts(loss: Loss, num_parts: int) -> Callable[..., Any]:
    """The value and gradient of a loss as means over parts of the batch.

    For a loss that is a mean over rows, this is the gradient of the whole batch.  One that is a
    mean over something that parts have more or less of, such as labels, weighs them equally.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, details)``, the latter a pytree of arrays, such
            as metrics.
        num_parts: number of equal parts of the rows, >= 1; each has a random key of its own.

    Returns:
        ``gradient(params, batch, key) -> ((loss, details), gradients)``, like
        ``jax.value_and_grad(loss, has_aux=True)``, which it is for one part.

    Raises:
        ValueError: if `num_parts` is below 1 or, when called, does not divide the rows.

    Example:
        >>> loss = lambda params, batch, key: (jnp.mean(params * batch), {})
        >>> gradient = gradient_in_parts(loss, 2)
        >>> float(gradient(jnp.ones(()), jnp.arange(4.0), jax.random.key(0))[1])
        1.5
    """
    if num_parts < 1:
        raise ValueError(f"`num_parts` must be at least 1, got {num_parts}.")
    gradient = jax.value_and_grad(loss, has_aux=True)
    if num_parts == 1:
        return gradient

    def divide(rows: jax.Array) -> jax.Array:
        if len(rows) % num_parts:
            raise ValueError(
                f"`num_parts` must divide the rows of a learner's batch, got {num_parts} for "
                f"{len(rows)} rows; choose another or change the batch size."
            )
        return rows.reshape(num_parts, len(rows) // num_parts, *rows.shape[1:])

    def accumulate(params, batch, key):
        def add(total, part):
            return jax.tree.map(jnp.add, total, gradient(params, *part)), None

        parts = (jax.tree.map(divide, batch), jax.random.split(key, num_parts))
        shapes = jax.eval_shape(gradient, params, *jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / num_parts, total)

    return accumulate
