"""What all training texts of a class have in common, to leave it out of explanations.

The gradients of the texts of a class point much the same way: toward the class, whatever they say.
An explanation asks for what sets some texts apart, so the span of

    c_k = sum over texts n of class k of g_n / ||g_n||

is removed from the gradient of what is explained.  (Influence functions do the same softly: those
are directions of large curvature.)  This is our addition to the method of the paper.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.attribution.blocks import take
from .losses import Nll


def common_directions(
    loss: Nll, params: Any, train: dict[str, np.ndarray], norms: np.ndarray, num_classes: int
) -> Any:
    """An orthonormal basis of the common directions of the classes.

    Args:
        loss: of one training text.
        params: the final parameters.
        train: training texts, leaves [N, ...].
        norms: [N] lengths of their gradients.
        num_classes: number of classes.

    Returns:
        Like the parameters, leaves [classes, ...].
    """
    basis: list[Any] = []
    size, total = 256, len(norms)
    for label in range(num_classes):
        weights = np.where(train["label"] == label, 1 / np.maximum(norms, 1e-12), 0)
        direction = jax.tree.map(jnp.zeros_like, params)
        for start in range(0, total, size):
            inside = np.arange(start, start + size) < total
            rows = take({**train, "weight": weights.astype(np.float32)}, start, size)
            rows["weight"] = rows["weight"] * inside
            direction = jax.tree.map(jnp.add, direction, _gradient(loss, params, rows))
        for other in basis:
            direction = _without(direction, other)
        length = jnp.sqrt(_dot(direction, direction))
        basis.append(jax.tree.map(lambda x, n=length: x / jnp.maximum(n, 1e-12), direction))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *basis)


def remove(directions: Any, vectors: Any) -> Any:
    """Vectors, leaves [Q, ...], without their part in the span of orthonormal directions."""

    def one(vector):
        for number in range(len(jax.tree.leaves(directions)[0])):
            vector = _without(vector, jax.tree.map(lambda x, n=number: x[n], directions))
        return vector

    return jax.vmap(one)(vectors)


def _dot(x: Any, y: Any) -> jax.Array:
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)
    return functools.reduce(jnp.add, jax.tree.leaves(products))


def _without(x: Any, unit: Any) -> Any:
    share = _dot(x, unit)
    return jax.tree.map(lambda a, b: a - share * b, x, unit)


@functools.partial(jax.jit, static_argnums=0)
def _gradient(loss: Nll, params: Any, rows: dict[str, jax.Array]) -> Any:
    return jax.grad(lambda p: rows["weight"] @ jax.vmap(loss, (None, 0))(p, rows))(params)
