"""The absorption as a continued fraction, without eigenstates (Haydock's recursion).

Lanczos' recursion from the state that light excites, |d> = psi(0), makes H tridiagonal, with a_n on
the diagonal and b_n beside it, and

    <d|(z - H)^-1|d> = <d|d> / (z - a_0 - b_1^2 / (z - a_1 - b_2^2 / (z - ...))).

The inner product is the one without complex conjugation, so that the same recursion serves rotated
Hamiltonians.  Vectors are orthogonalized anew in every step.

References:
    R. Haydock, "The recursive solution of the Schroedinger equation", Solid State Physics 35, 215,
        1980.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Chain(NamedTuple):
    """A tridiagonal matrix with the response of its first site."""

    diagonal: jax.Array  # [num]: a_0, a_1, ...
    hoppings: jax.Array  # [num]: b_1^2, b_2^2, ...; the last has no meaning
    norm: jax.Array  # <d|d>, scalar


def recursion(matrix: jax.Array, source: jax.Array, num_steps: int) -> Chain:
    """Lanczos' recursion of a symmetric matrix, real or complex.

    Args:
        matrix: ``[size, size]``, equal to its transpose.
        source: ``[size]``, |d>.
        num_steps: length of the chain, at most `size`.

    Returns:
        A `Chain`, exact if `num_steps` is `size`.
    """
    norm = jnp.sum(source**2)
    size = len(source)

    def step(n, carry):
        vectors, diagonal, hoppings = carry
        vector = vectors[n]
        pushed = matrix @ vector
        diagonal = diagonal.at[n].set(vector @ pushed)
        for _ in range(2):  # Once leaves the square root of the rounding error behind.
            pushed = pushed - vectors.T @ (vectors @ pushed)
        squared = jnp.sum(pushed**2)
        vectors = vectors.at[n + 1].set(pushed / jnp.sqrt(squared))
        return vectors, diagonal, hoppings.at[n].set(squared)

    vectors = jnp.zeros((num_steps + 1, size), matrix.dtype).at[0].set(source / jnp.sqrt(norm))
    empty = jnp.zeros(num_steps, matrix.dtype)
    _, diagonal, hoppings = jax.lax.fori_loop(0, num_steps, step, (vectors, empty, empty))
    return Chain(diagonal, hoppings, norm)


def respond(chain: Chain, energy: jax.Array, broadening: float) -> jax.Array:
    """-(1/pi) Im <d|(energy + i broadening - H)^-1|d>, of the shape of `energy`."""
    z = jnp.asarray(energy) + 1j * broadening

    def step(tail, site):
        diagonal, hopping = site
        return z - diagonal - hopping / tail, None

    last = z - chain.diagonal[-1]
    sites = (chain.diagonal[:-1], chain.hoppings[:-1])
    fraction, _ = jax.lax.scan(step, last.astype(z.dtype), sites, reverse=True)
    return -jnp.imag(chain.norm / fraction) / np.pi
