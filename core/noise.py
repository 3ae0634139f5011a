"""Gaussian noise in the form of a pytree of parameters."""

import math
from typing import Any

import jax
import jax.numpy as jnp

PARTS = 8  # of a draw; few, since on a GPU they come one after another


def normal_like(key: jax.Array, tree: Any) -> Any:
    """Independent standard normal numbers, one for each of the tree's.

    One draw, cut into pieces: XLA takes up to a second and a half to compile a draw of four
    dimensions on a CPU, and a network has dozens of them.  It is made in a loop: else XLA would
    calculate numbers anew wherever they are used, those of a batch norm once for each pixel.

    Args:
        key: typed random key.
        tree: pytree of floating arrays.

    Returns:
        A pytree like `tree`, of its shapes and dtypes.

    Example:
        >>> noise = normal_like(jax.random.key(0), {"kernel": jnp.ones((3, 3, 8, 8))})
    """
    leaves, structure = jax.tree.flatten(tree)
    if not leaves:
        return tree
    sizes = [math.prod(jnp.shape(leaf)) for leaf in leaves]
    part, dtype = -(-sum(sizes) // PARTS), jnp.result_type(*leaves)
    keys = jax.random.split(key, PARTS)
    drawn = jax.lax.map(lambda key: jax.random.normal(key, (part,), dtype), keys).reshape(-1)
    pieces, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        piece = drawn[start : start + size].reshape(jnp.shape(leaf))
        pieces.append(piece.astype(jnp.result_type(leaf)))
        start += size
    return jax.tree.unflatten(structure, pieces)
