"""Gradients as short vectors, whose inner products estimate those of the gradients.

Of each matrix G of a gradient, both sides are projected at random,

    S = P^T G R,    E <S, S'> = <G, G'>,

with entries of P and R that are normal with variance 1 / k; sides of at most k stay as they are.
All parameters take part.  S is the gradient with respect to a small matrix added to the parameters,
W + P S R^T, at S = 0, so that the sketch needs no more than the loss itself.  Sketched once, a
training set answers any number of queries by one matrix product and a top-k.

References:
    S. Park et al., "TRAK: Attributing Model Behavior at Scale", 2023, arXiv:2303.14186.
    S. K. Choe et al., "What is Your Data Worth to GPT?", 2024, arXiv:2405.13954.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .blocks import Blocks, describe
from .directional import Loss, check_finite, fit_blocks


class Neighbors(NamedTuple):
    """The training examples with the largest scores for each query."""

    scores: np.ndarray  # [Q, k], falling
    indices: np.ndarray  # [Q, k] int


def sketch_gradients(
    loss: Loss,
    params: Any,
    examples: Any,
    key: jax.Array,
    *,
    size: int = 16,
    blocks: Blocks | None = None,
) -> np.ndarray:
    """Sketches of the gradients of examples.

    Args:
        loss: ``loss(params, example) -> scalar`` of one example, pure.
        params: pytree of arrays.
        examples: pytree with a leading axis [N, ...].
        key: typed random key of the projections: the same for training examples and queries.
        size: k, to which each side of a matrix is projected, >= 1.
        blocks: block size, devices, journal, progress.

    Returns:
        [N, D] sketches; D is at most k^2 for each matrix of the parameters.

    Raises:
        ValueError: if `size` is below 1.
        FloatingPointError: if a sketch is not finite.
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1, got {size}.")
    found = fit_blocks(blocks or Blocks(), params).map(
        functools.partial(_sketch, loss, size),
        examples,
        params,
        key,
        label=f"{describe(loss)} {size}",
    )
    return check_finite(found, "sketches of gradients")


def nearest(queries: np.ndarray, train: np.ndarray, k: int, *, block_size: int = 8192) -> Neighbors:
    """The k training sketches with the largest inner products, by matrix products in blocks.

    Args:
        queries: [Q, D].
        train: [N, D].
        k: how many, 1 <= k <= N.
        block_size: training sketches in a block; no more than [Q, k + block_size] scores are held.

    Raises:
        ValueError: if `k` is out of range.
    """
    if not 1 <= k <= len(train):
        raise ValueError(f"`k` must be from 1 to {len(train)} training examples, got {k}.")
    best = Neighbors(
        np.full((len(queries), 0), -np.inf, queries.dtype), np.zeros((len(queries), 0), int)
    )
    for start in range(0, len(train), block_size):
        scores = queries @ train[start : start + block_size].T
        indices = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        scores = np.concatenate([best.scores, scores], axis=1)
        indices = np.concatenate([best.indices, indices], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = Neighbors(
            np.take_along_axis(scores, order, 1), np.take_along_axis(indices, order, 1)
        )
    return best


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sketch(loss: Loss, size: int, block: Any, params: Any, key: jax.Array) -> jax.Array:
    leaves, structure = jax.tree.flatten(params)
    sides = [_sides(leaf.shape) for leaf in leaves]
    keys = jax.random.split(key, (len(leaves), 2))
    projections = [
        tuple(
            _projection(key, side, size, leaf.dtype) for key, side in zip(pair, shape, strict=True)
        )
        for leaf, shape, pair in zip(leaves, sides, keys, strict=True)
    ]
    zeros = [
        jnp.zeros([min(side, size) for side in shape], leaf.dtype)
        for leaf, shape in zip(leaves, sides, strict=True)
    ]

    def shifted(small, example):
        moved = [
            leaf + _expand(x, *pair).reshape(leaf.shape)
            for leaf, x, pair in zip(leaves, small, projections, strict=True)
        ]
        return loss(jax.tree.unflatten(structure, moved), example)

    return jax.vmap(lambda example: ravel_pytree(jax.grad(shifted)(zeros, example))[0])(block)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """An array as a matrix."""
    return math.prod(shape[:-1]), shape[-1] if shape else 1


def _projection(key: jax.Array, side: int, size: int, dtype: Any) -> jax.Array | None:
    """[side, size], or None for the identity."""
    if side <= size:
        return None
    return jax.random.normal(key, (side, size), dtype) / jnp.sqrt(jnp.asarray(size, dtype))


def _expand(small: jax.Array, left: jax.Array | None, right: jax.Array | None) -> jax.Array:
    """P S R^T."""
    small = small if left is None else left @ small
    return small if right is None else small @ right.T
