"""Absorption in a field without attraction: the Franz-Keldysh effect in two dimensions.

    A(w) / A_step = int_z^inf Ai(t) dt,    z = 2^(2/3) (E_g - w) / E_F,

with the electro-optical energy E_F = (e^2 F^2 hbar^2 / 2 mu)^(1/3): a tail below the gap and
oscillations about the step above it.  It is the integral over the motion across the field of the
one-dimensional density Ai^2.

References:
    D. E. Aspnes, "Electric-Field Effects on Optical Absorption near Thresholds in Solids",
        Physical Review 147, 554, 1966.
"""

import numpy as np
from jax.typing import ArrayLike
from scipy.special import itairy

from ..materials import Material
from ..units import hbar_squared_over_mass
from .spectra import check_positive, free_step


def electro_optical_energy(material: Material, field: ArrayLike) -> np.ndarray:
    """(e^2 F^2 hbar^2 / 2 mu)^(1/3) in meV, for fields in V/um of any shape."""
    return np.cbrt(np.asarray(field) ** 2 * float(hbar_squared_over_mass(material)) / 2)


def franz_keldysh(material: Material, photon_energy: ArrayLike, field: float) -> np.ndarray:
    """Absorption of free pairs in a field.

    Args:
        material: its mass and gap.
        photon_energy: meV, any shape.
        field: F, V/um, positive.

    Returns:
        nm^-2 meV^-1, of the shape of `photon_energy`.

    Raises:
        ValueError: if `field` is not positive.
    """
    check_positive("field", field)
    below = np.asarray(material.band_gap) - np.asarray(photon_energy)
    argument = 2 ** (2 / 3) * below / electro_optical_energy(material, field)
    return float(free_step(material)) * airy_tail(argument)


def airy_tail(z: ArrayLike) -> np.ndarray:
    """int_z^inf Ai(t) dt, any shape."""
    z = np.asarray(z, np.float64)
    toward, _, away, _ = itairy(np.abs(z))  # from 0 to |z|, of Ai(t) and of Ai(-t)
    return 1 / 3 - np.where(z < 0, -away, toward)
