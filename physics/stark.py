"""Weak fields in closed form: the polarizability of a state, and 2s with 2p as two levels.

To second order E(F) = E - alpha F^2 / 2, with the sum over states

    alpha = 2 sum_k |<k|x|v>|^2 / (E_k - E) = 2 (x v)^T (H - E + v v^T)^-1 (x v).

Where 2s and 2p alone matter, with their distance D and dipole d = <2s|x|2p>,

    E+- = (E_2s + E_2p) / 2 +- sqrt((D / 2)^2 + (e F d)^2),    tan 2 theta = 2 e F d / D,

and the lower state takes sin^2 theta of the oscillator strength of 2s: the dark 2p becomes bright.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .exciton import parse_state
from .materials import Material
from .polar import hamiltonian, resonances
from .polar.hamiltonian import Basis
from .units import scales

EV_PER_SQUARE_VOLT_PER_METER = 1e-15  # of 1 meV / (V/um)^2, the unit of polarizabilities here


class TwoLevels(NamedTuple):
    """2s and 2p in a field, each of the shape of the fields."""

    lower: jax.Array  # meV, 2p without a field
    upper: jax.Array  # meV, 2s without a field
    share: jax.Array  # sin^2 theta: weight of 2s in the lower state; 1/2 of degenerate levels


def polarizability(material: Material, state: str = "1s", basis: Basis | None = None) -> jax.Array:
    """The polarizability alpha of a state in the plane.

    Args:
        material: parameters; with hydrogen's degenerate levels only 1s has one.
        state: its name.
        basis: its rotation and number of channels are not used.

    Returns:
        meV / (V/um)^2, scalar; 1e-15 of it are eV / (V/m)^2.

    Example:
        >>> float(polarizability(find("WSe2/hBN"))) * EV_PER_SQUARE_VOLT_PER_METER
        2.2537e-17
    """
    units, whole, vectors = _field_free(material, (state,), basis)
    vector = vectors[0]
    matrix, pushed = whole.matrix(jnp.zeros(())), whole.position() @ vector
    energy = vector @ matrix @ vector
    resolvent = matrix - energy * jnp.eye(len(vector)) + jnp.outer(vector, vector)
    reduced = 2.0 * pushed @ jnp.linalg.solve(resolvent, pushed)
    return reduced * units.length**2 / units.energy


def two_level(material: Material, field: ArrayLike, basis: Basis | None = None) -> TwoLevels:
    """2s and 2p coupled to each other alone.

    Args:
        material: parameters.
        field: F, V/um, any shape.
        basis: its rotation and number of channels are not used.

    Returns:
        A `TwoLevels`.  For WSe2 in hBN at 1 V/um its lower level is 0.2 meV too high.
    """
    units, whole, vectors = _field_free(material, ("2s", "2p"), basis)
    matrix = whole.matrix(jnp.zeros(()))
    upper, lower = jnp.einsum("si,ij,sj->s", vectors, matrix, vectors) * units.energy
    dipole = vectors[0] @ whole.position() @ vectors[1] * units.length
    half, coupling = (upper - lower) / 2, jnp.asarray(field) * dipole
    square, center = half**2 + coupling**2, (upper + lower) / 2
    # Levels that rounding alone parts are degenerate: there the root has no derivative.
    parted = square > (64 * jnp.finfo(center.dtype).eps * center) ** 2
    root = jnp.sqrt(jnp.where(parted, square, 1.0))
    shift = jnp.where(parted, root, 0.0)
    share = jnp.where(parted, (1.0 - half / root) / 2, 0.5)
    return TwoLevels(center - shift, center + shift, share)


def _field_free(material: Material, states: tuple[str, ...], basis: Basis | None):
    """Units, the real Hamiltonian of the channels needed, and the states in it."""
    basis = Basis() if basis is None else basis
    pairs = tuple(parse_state(name, basis) for name in states)
    channels = max(angular for angular, _ in pairs) + 2
    basis = basis._replace(rotation=0.0, angular=channels).check()
    units = scales(material)
    whole = hamiltonian.build(units.screening, material.p_shift / units.energy, basis)
    return units, whole, resonances.field_free(whole, pairs)
