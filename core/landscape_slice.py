"""One-dimensional slices of a loss through trained weights, comparable between networks.

    L(t) = loss(w + t d),    ||d_f|| = ||w_f|| for each filter f,

with a random direction d whose filters (the columns of a matrix, the kernels of an output channel)
have the lengths of the weights' own: networks with batch norm do not change when a filter is
scaled, so that a direction of one length for all would say nothing.  Vectors, such as biases and
scales, stay.

References:
    H. Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018, arXiv:1712.09913.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .noise import normal_like


def filter_direction(key: jax.Array, params: Any) -> Any:
    """A random direction with the filters' lengths of the weights.

    Args:
        key: typed random key.
        params: pytree of arrays; the last axis of those with two axes or more counts filters.

    Returns:
        A pytree like `params`; zero where arrays have less than two axes.
    """
    noise = normal_like(key, params)

    def scale(x: jax.Array, d: jax.Array) -> jax.Array:
        if x.ndim < 2:
            return jnp.zeros_like(x)
        axes = tuple(range(x.ndim - 1))
        length, own = (jnp.sqrt(jnp.sum(y * y, axis=axes, keepdims=True)) for y in (x, d))
        return d * (length / own)

    return jax.tree.map(scale, params, noise)


def slice_loss(
    loss: Callable[[Any], float], params: Any, direction: Any, positions: Sequence[float]
) -> np.ndarray:
    """The loss at w + t d for each position t.

    Args:
        loss: of the parameters.
        params: pytree w.
        direction: pytree d like `params`.
        positions: the t, such as ``np.linspace(-1, 1, 11)``.

    Returns:
        ``[positions]`` float64.

    Example:
        >>> slice_loss(lambda w: float(w @ w), jnp.ones(2), jnp.ones(2), [-1.0, 0.0])
        array([0., 2.])
    """
    move = jax.jit(lambda w, d, t: jax.tree.map(lambda w, d: w + (t * d).astype(w.dtype), w, d))
    return np.array([loss(move(params, direction, jnp.float32(t))) for t in positions])
