"""Eigenstates of complex symmetric matrices: their derivatives, and how to follow them.

For H v = E v with H = H^T and v^T v = 1, a change dH changes

    dE_k = v_k^T dH v_k,    dv_k = sum_j v_j (v_j^T dH v_k) / (E_k - E_j),

the Hellmann-Feynman rule without complex conjugation.  `eigensystem` knows it, so that energies and
strengths of resonances differentiate, to any order, where JAX has no derivative of its own.

References:
    N. Moiseyev, "Quantum theory of resonances: calculating energies, widths and cross-sections by
        complex scaling", Physics Reports 302, 212, 1998.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .hamiltonian import Hamiltonian


class Followed(NamedTuple):
    """All states at each force of a path, and where the followed ones are among them."""

    energies: jax.Array  # [num_forces, size], E*, in no order
    amplitudes: jax.Array  # [num_forces, size]: psi(0), 1 / a*
    vectors: jax.Array  # [num_forces, num_states, size]: of the followed states
    places: jax.Array  # [num_forces, num_states]: of the followed states among all
    continuity: jax.Array  # [num_forces, num_states]: cos^2 of the angle to the force before
    truncation: jax.Array  # [num_forces, num_states]: energy that the outermost functions bring, E*


@jax.custom_jvp
def eigensystem(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """All eigenvalues and eigenvectors of a symmetric matrix, real or complex.

    Args:
        matrix: ``[size, size]``, equal to its transpose.

    Returns:
        Energies ``[size]``, ascending if real and in no order if complex, and vectors in the
        columns of ``[size, size]`` with v^T v = 1; their signs are arbitrary.  Derivatives leave
        out pairs of equal energies.
    """
    if not jnp.iscomplexobj(matrix):
        energies, vectors = jnp.linalg.eigh(matrix)
        return energies, vectors
    # JAX's own derivative is the spare one: partial evaluation under `jit` drops the rule below.
    energies, vectors = jax.lax.linalg.eig(
        matrix, compute_left_eigenvectors=False, enable_eigvec_derivs=True
    )
    return energies, vectors / jnp.sqrt(jnp.sum(vectors**2, axis=0, keepdims=True))


@eigensystem.defjvp
def _eigensystem_jvp(primals, tangents):
    energies, vectors = eigensystem(*primals)
    change = vectors.T @ tangents[0] @ vectors
    gaps = energies[None, :] - energies[:, None]
    tiny = jnp.finfo(energies.dtype).eps * jnp.max(jnp.abs(energies))
    apart = jnp.abs(gaps) > tiny
    mixing = jnp.where(apart, change / jnp.where(apart, gaps, 1.0), 0.0)
    return (energies, vectors), (jnp.diagonal(change), vectors @ mixing)


def field_free(hamiltonian: Hamiltonian, states: tuple[tuple[int, int], ...]) -> jax.Array:
    """The states of given channel and number in it, without a field.

    Args:
        hamiltonian: its channels are all that counts.
        states: pairs (m, number of radial nodes).

    Returns:
        ``[num_states, M N]``, with arbitrary signs.
    """
    energies, vectors = jax.vmap(eigensystem)(hamiltonian.channels)
    order = jnp.argsort(energies.real, axis=1)  # Bound states lie left of the turned continuum.
    whole = jnp.zeros((len(states), *hamiltonian.channels.shape[:2]), vectors.dtype)
    for number, (m, nodes) in enumerate(states):
        whole = whole.at[number, m].set(vectors[m, :, order[m, nodes]])
    return whole.reshape(len(states), -1)


def follow(hamiltonian: Hamiltonian, forces: jax.Array, start: jax.Array) -> Followed:
    """Follows states from force to force by their largest overlap.

    Args:
        hamiltonian: the exciton.
        forces: ``[num_forces]``, f in E* / a*, in steps small enough that states keep more than
            half of themselves.
        start: ``[num_states, M N]``, states at the force from which the first step is taken.

    Returns:
        A `Followed`.  Derivatives flow through each force by itself, not along the path.
    """
    inner = _inner(hamiltonian, start)

    def step(previous, force):
        matrix = hamiltonian.matrix(force)
        energies, vectors = eigensystem(matrix)
        # Lengths and angles of the usual kind: v^T v = 1 leaves a nearly ionized state very long.
        lengths = (
            jnp.linalg.norm(previous, axis=1)[:, None] * jnp.linalg.norm(vectors, axis=0)[None]
        )
        overlaps = jax.lax.stop_gradient(previous.conj() @ vectors / lengths)
        places = _match(jnp.abs(overlaps) ** 2)
        kept = jnp.take_along_axis(overlaps, places[:, None], axis=1)
        found = vectors[:, places].T * jnp.where(kept.real < 0, -1.0, 1.0)
        cut = jax.lax.stop_gradient(found) * inner
        fewer = jnp.sum((cut @ jax.lax.stop_gradient(matrix)) * cut, 1) / jnp.sum(cut**2, 1)
        return jax.lax.stop_gradient(found), Followed(
            energies=energies,
            amplitudes=hamiltonian.origin @ vectors[: len(hamiltonian.origin)],
            vectors=found,
            places=places,
            continuity=jnp.abs(kept[:, 0]) ** 2,
            truncation=jnp.abs(fewer - jax.lax.stop_gradient(energies)[places]),
        )

    return jax.lax.scan(step, jax.lax.stop_gradient(start), forces)[1]


def _match(overlaps: jax.Array) -> jax.Array:
    """A distinct column for each row of ``[num_states, size]``, largest overlaps first."""
    num_states, size = overlaps.shape

    def pick(_, carry):
        overlaps, places = carry
        row, column = jnp.divmod(jnp.argmax(overlaps), size)
        overlaps = overlaps.at[row].set(-1.0).at[:, column].set(-1.0)
        return overlaps, places.at[row].set(column.astype(places.dtype))

    places = jnp.zeros(num_states, jnp.int32)
    return jax.lax.fori_loop(0, num_states, pick, (overlaps, places))[1]


def _inner(hamiltonian: Hamiltonian, start: jax.Array) -> jax.Array:
    """0 at the outermost quarter of the radial functions and at the last channel, 1 elsewhere.

    ``[num_states, M N]``; states that begin in the last channel keep it.
    """
    num_channels, num_radial, _ = hamiltonian.channels.shape
    radial = jnp.arange(num_radial) < num_radial - num_radial // 4
    begins = jnp.any(start.reshape(-1, num_channels, num_radial) != 0, axis=-1)
    angular = begins | (jnp.arange(num_channels) < num_channels - 1)[None]
    inner = angular[:, :, None] & radial[None, None, :]
    return inner.reshape(start.shape).astype(hamiltonian.channels.real.dtype)
