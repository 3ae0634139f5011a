"""Eigenvalues of a curvature known by its products: extremes, damping, leading eigenvectors.

Power iteration gives the largest eigenvalue; the same on the shifted negative gives the smallest.
From them comes the damping that the solvers use where none is given,

    damping = share * largest + max(0, -smallest),

so that the system is positive definite and no direction is amplified by more than 1 / share over
the stiffest one.  Lanczos' method with full reorthogonalization gives the leading eigenpairs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from .curvature import Product, System

SHARE = 1e-2  # of the largest eigenvalue


class Eigenpairs(NamedTuple):
    """Leading eigenvalues and eigenvectors, in falling order of magnitude."""

    values: jax.Array  # [rank]
    vectors: Any  # like the parameters, leaves [rank, ...], orthonormal


def largest_eigenvalue(
    product: Product, like: Any, key: jax.Array, *, steps: int = 20
) -> jax.Array:
    """The eigenvalue of largest magnitude, by power iteration; [] with its sign.

    Args:
        product: vector -> vector, symmetric.
        like: a vector, for tree, shapes and dtypes.
        key: typed random key of the start.
        steps: products.
    """

    def advance(vector, _):
        moved = product(vector)
        value = optax.tree.vdot(vector, moved)
        norm = jnp.maximum(optax.tree.norm(moved), jnp.finfo(jnp.result_type(float)).tiny)
        return jax.tree.map(lambda x: x / norm, moved), value

    start = draw_unit(like, key)
    _, values = jax.lax.scan(advance, start, None, length=steps)
    return jnp.asarray(values)[-1]


def choose_damping(system: System, key: jax.Array, *, share: float = SHARE) -> jax.Array:
    """The damping of the module's head for a system, whose own damping does not matter."""
    first, second = jax.random.split(key)
    extreme = largest_eigenvalue(system.product, system.params, first)
    magnitude = jnp.abs(extreme)

    def shifted(vector):  # its largest eigenvalue is magnitude - smallest
        return jax.tree.map(lambda x, y: magnitude * x - y, vector, system.product(vector))

    smallest = magnitude - largest_eigenvalue(shifted, system.params, second)
    return share * magnitude + jnp.maximum(0, -smallest)


def leading_eigenpairs(system: System, key: jax.Array, *, rank: int, steps: int) -> Eigenpairs:
    """Ritz pairs of the largest magnitude after Lanczos' method.

    Args:
        system: gives the products; its damping is left out.
        key: typed random key of the start.
        rank: how many pairs to keep.
        steps: products; the basis of as many vectors is held in memory.

    Returns:
        `Eigenpairs`; fewer exist where the space has fewer dimensions, and the rest is zero.
    """
    start, unravel = ravel_pytree(draw_unit(system.params, key))
    steps = min(steps, start.size)
    rank = min(rank, steps)
    floor = jnp.sqrt(jnp.finfo(start.dtype).eps)

    def advance(carry, number):
        basis, vector = carry
        basis = basis.at[number].set(vector)
        moved = ravel_pytree(system.product(unravel(vector)))[0]
        size = jnp.linalg.norm(moved)
        column = basis @ moved
        for _ in range(2):  # twice is enough
            moved = moved - basis.T @ (basis @ moved)
        norm = jnp.linalg.norm(moved)
        # Past an invariant subspace there is nothing left but rounding.
        ended = norm <= floor * size
        return (basis, jnp.where(ended, 0, moved / jnp.where(ended, 1, norm))), column

    basis = jnp.zeros((steps, start.size), start.dtype)
    (basis, _), columns = jax.lax.scan(advance, (basis, start), jnp.arange(steps))
    # columns[j, i] = <basis_i, C basis_j> for i <= j.
    projected = jnp.tril(columns) + jnp.tril(columns, -1).T
    values, rotation = jnp.linalg.eigh(projected)
    order = jnp.argsort(-jnp.abs(values))[:rank]
    return Eigenpairs(values[order], jax.vmap(unravel)(rotation[:, order].T @ basis))


def draw_unit(like: Any, key: jax.Array) -> Any:
    """A random vector of length 1 with the tree of another."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(key, jnp.shape(leaf), jnp.result_type(leaf))
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    norm = optax.tree.norm(drawn)
    return jax.tree.unflatten(structure, [leaf / norm for leaf in drawn])
