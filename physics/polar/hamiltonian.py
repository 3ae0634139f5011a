"""The Hamiltonian of an exciton in a field, as a matrix of polar Laguerre functions.

    H(lam) = lam^2 T + V(rho lam) + (f / lam) X

in the units of `units`, with lam = |lam| exp(-i theta).  The rotation theta turns the continuum
away from the real axis, so that states which a field ionizes become square integrable, with complex
energies E - i Gamma / 2 that do not depend on theta or |lam|.  The matrix is complex symmetric, and
states are normalized without complex conjugation, v^T v = 1.

References:
    E. Balslev, J. M. Combes, "Spectral properties of many-body Schroedinger operators with
        dilatation-analytic interactions", 1971.
    W. P. Reinhardt, "Complex coordinates in the theory of atomic and molecular structure and
        dynamics", 1982.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import laguerre


class Basis(NamedTuple):
    """The functions of a calculation; hashable, never traced.

    The default serves the lowest five levels of any material to 1e-3 meV, and fields that ionize
    the ground state within 0.1 ps.
    """

    radial: int = 28  # functions in each channel
    angular: int = 12  # channels m = 0 ... angular - 1
    rotation: float = 0.4  # theta, radians, below pi/4; 0 gives bound states and no widths
    decay: float | None = None  # |lam| in 1/a*; None chooses it by the screening

    def check(self) -> "Basis":
        """Returns itself.

        Raises:
            ValueError: if a number is out of range, or widths are asked of float32.
        """
        if self.radial < 4:
            raise ValueError(f"`radial` of a basis must be at least 4, got {self.radial}.")
        if self.angular < 2:
            raise ValueError(f"`angular` of a basis must be at least 2, got {self.angular}.")
        if not 0 <= self.rotation < np.pi / 4:
            raise ValueError(
                f"`rotation` of a basis must be from 0 to below pi/4, got {self.rotation}."
            )
        if self.decay is not None and not self.decay > 0:
            raise ValueError(f"`decay` of a basis must be positive, got {self.decay}.")
        if self.rotation and jnp.result_type(float) != jnp.float64:
            raise ValueError(
                "Widths need float64, which is off: call it under `jax.enable_x64(True)`, or set "
                "`rotation=0` in `basis` for energies without widths."
            )
        return self


class Hamiltonian(NamedTuple):
    """The parts of the matrix; N radial functions in each of M channels."""

    channels: jax.Array  # [M, N, N]: without a field, E*
    couplings: jax.Array  # [M - 1, N, N]: x between channels m and m + 1, a*
    origin: jax.Array  # [N]: psi(0) of the functions of m = 0, 1 / a*
    decay: jax.Array  # lam, complex if rotated, 1 / a*

    def matrix(self, force: jax.Array) -> jax.Array:
        """All of it in a force f in E* / a*: ``[M N, M N]``, symmetric."""
        return _blocks(self.channels, 0) + force * self.position()

    def position(self) -> jax.Array:
        """The matrix of x: ``[M N, M N]``, a*."""
        return _blocks(self.couplings, 1) + _blocks(self.couplings, 1).T


def build(screening: jax.Array, p_shift: jax.Array, basis: Basis) -> Hamiltonian:
    """The Hamiltonian of a material.

    Args:
        screening: rho, scalar, at least 0.
        p_shift: energy added to the channel m = 1, E*, scalar.
        basis: the functions.

    Returns:
        A `Hamiltonian`, differentiable in `screening` and `p_shift`; the functions themselves stay
        put, as energies do not depend on them.
    """
    tables = laguerre.tabulate(basis.radial, basis.angular)
    real = jnp.result_type(float)
    screening = jnp.asarray(screening, real)
    size = default_decay(screening) if basis.decay is None else jnp.asarray(basis.decay, real)
    decay = jax.lax.stop_gradient(size) * (np.exp(-1j * basis.rotation) if basis.rotation else 1)
    ratio = screening * decay * jnp.asarray(laguerre.NODES, real)
    weights = -decay * jnp.asarray(laguerre.WEIGHTS, real) / jnp.sqrt(1.0 + ratio**2)
    channels = decay**2 * jnp.asarray(tables.kinetic, real) + _contract(weights, tables.laplace)
    shifts = jnp.zeros(basis.angular, real).at[1].set(p_shift)
    channels = channels + shifts[:, None, None] * jnp.eye(basis.radial, dtype=real)[None]
    return Hamiltonian(
        channels=channels,
        couplings=jnp.asarray(tables.position, real) / decay,
        origin=decay * jnp.asarray(tables.origin, real),
        decay=decay,
    )


def default_decay(screening: jax.Array) -> jax.Array:
    """A decay |lam| in 1/a* that serves the lowest five levels at once."""
    return 1.5 / (1.0 + screening) ** 0.3


def _contract(weights: jax.Array, tables: np.ndarray) -> jax.Array:
    """Sum over the first axis of real `tables` with weights that may be complex."""
    flat = jnp.asarray(tables.reshape(len(tables), -1), jnp.finfo(weights.dtype).dtype)
    if not jnp.iscomplexobj(weights):
        return (weights @ flat).reshape(tables.shape[1:])
    parts = jnp.stack([weights.real, weights.imag]) @ flat  # The tables stay real, half as large.
    return jax.lax.complex(parts[0], parts[1]).reshape(tables.shape[1:])


def _blocks(parts: jax.Array, offset: int) -> jax.Array:
    """Block matrix with ``[num, N, N]`` on a diagonal of blocks above the main one."""
    num, size, _ = parts.shape
    number = num + offset
    rows = jnp.arange(num)
    blocks = jnp.zeros((number, size, number, size), parts.dtype)
    blocks = blocks.at[rows, :, rows + offset].set(parts)
    return blocks.reshape(number * size, number * size)
