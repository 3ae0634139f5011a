"""What solves (C + damping) x = v for each query: conjugate gradients, LiSSA, Arnoldi.

    CG       exact up to its tolerance, for curvature that is not indefinite
    LiSSA    the Neumann series x <- v + (I - (C_b + damping) / s) x with random blocks b
    Arnoldi  exact on the span of the leading eigenvectors, nothing outside it

A solver is a frozen dataclass, called with a `System`, vectors with a leading axis [Q, ...] and a
random key; it gives solutions of the same form and relative residuals [Q] (NaN where it does not
iterate).  EK-FAC, which needs a network's layers, is in `kronecker`.

References:
    N. Agarwal, B. Bullins, E. Hazan, "Second-Order Stochastic Optimization for Machine Learning in
        Linear Time", 2016, arXiv:1602.03943.
    A. Schioppa et al., "Scaling Up Influence Functions", 2021, arXiv:2112.03052.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .curvature import System
from .directional import sum_products
from .spectrum import largest_eigenvalue, leading_eigenpairs

Solver = Callable[[System, Any, jax.Array], tuple[Any, jax.Array]]


@dataclass(frozen=True)
class CG:
    """Conjugate gradients."""

    steps: int = 100
    """Products at most."""
    tolerance: float = 1e-5
    """Length of the residual over that of the right side at which it stops."""

    def __call__(self, system: System, vectors: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        """See the module."""
        del key

        def solve(vector):
            target = jnp.square(self.tolerance) * optax.tree.vdot(vector, vector)

            def goes_on(carry):
                _, _, _, square, step = carry
                return (square > target) & (step < self.steps)

            def advance(carry):
                solution, residual, direction, square, step = carry
                moved = system.damped_product(direction)
                length = square / optax.tree.vdot(direction, moved)
                solution = _add(solution, length, direction)
                residual = _add(residual, -length, moved)
                new_square = optax.tree.vdot(residual, residual)
                direction = _add(residual, new_square / square, direction)
                return solution, residual, direction, new_square, step + 1

            zeros = jax.tree.map(jnp.zeros_like, vector)
            square = optax.tree.vdot(vector, vector)
            start = (zeros, vector, vector, square, jnp.zeros([], jnp.int32))
            solution, _, _, rest, _ = jax.lax.while_loop(goes_on, advance, start)
            floor = jnp.finfo(jnp.result_type(square)).tiny  # a vector of zeros is solved
            return solution, jnp.sqrt(rest / jnp.maximum(square, floor))

        return jax.lax.map(solve, vectors)


@dataclass(frozen=True)
class LiSSA:
    """A Neumann series with one random block of the training set in each term."""

    steps: int = 200
    """Terms."""
    repeats: int = 1
    """Series to average."""
    scale: float | None = None
    """s; above the largest eigenvalue of any block, or the series diverges. None measures it."""

    def __call__(self, system: System, vectors: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        """See the module."""
        number = len(system.weights)
        keys = jax.random.split(key, 1 + self.repeats)
        scale = self.scale
        if scale is None:

            def extreme(block):
                product = lambda vector: system.block_product(block, vector)  # noqa: E731
                return jnp.abs(largest_eigenvalue(product, system.params, keys[0], steps=10))

            worst = jnp.max(jax.lax.map(extreme, jnp.arange(number)))
            scale = 1.2 * worst + system.damping  # ten steps may see less than the largest

        def series(vector, key):
            def advance(x, block):
                moved = system.block_product(block, x)
                rest = jax.tree.map(lambda v, c, x: v - c - system.damping * x, vector, moved, x)
                return _add(x, 1 / scale, rest), None

            draws = jax.random.randint(key, (self.steps,), 0, number)
            return jax.lax.scan(advance, jax.tree.map(jnp.zeros_like, vector), draws)[0]

        def solve(vector):
            def add(total, key):
                return _add(total, 1, series(vector, key)), None

            total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, vector), keys[1:])
            mean = jax.tree.map(lambda x: x / self.repeats, total)
            rest = _add(vector, -1, system.damped_product(mean))
            norm = optax.tree.norm(vector)
            return mean, optax.tree.norm(rest) / jnp.where(norm > 0, norm, 1)

        return jax.lax.map(solve, vectors)


@dataclass(frozen=True)
class Arnoldi:
    """The inverse on the leading eigenvectors; what lies outside their span is left out."""

    rank: int = 32
    """Eigenvectors to keep."""
    steps: int = 64
    """Products of Lanczos' method (Arnoldi's for symmetric curvature)."""

    def __call__(self, system: System, vectors: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        """See the module."""
        pairs = leading_eigenpairs(system, key, rank=self.rank, steps=self.steps)
        damped = pairs.values + system.damping
        inverse = jnp.where(jnp.abs(pairs.values) > 0, 1 / damped, 0)
        parts = sum_products(vectors, pairs.vectors) * inverse[None]  # [Q, rank]
        solutions = jax.tree.map(lambda leaf: jnp.tensordot(parts, leaf, 1), pairs.vectors)
        return solutions, jnp.full(len(parts), jnp.nan)


def _add(left: Any, factor: Any, right: Any) -> Any:
    """Left + factor * right."""
    return jax.tree.map(lambda x, y: x + factor * y, left, right)
