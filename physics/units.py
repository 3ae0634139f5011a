"""Physical units at the surface, one dimensionless problem inside.

With energies in E* = mu / kappa^2 Hartree and lengths in a* = kappa / mu Bohr radii, the relative
motion of electron and hole obeys

    H = -lap / 2 + V(r; rho) + f x,    rho = mu r0 / (kappa^2 a0),    f = e F a* / E*,

so that a material is one number, the screening rho, and two scales.  rho = 0 is the hydrogen atom
in two dimensions.

An electric field of 1 V/um moves an elementary charge by 1 meV per nm: `F` in V/um and `e F` in
meV/nm are the same number.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .materials import Material

HARTREE = 27211.386245988  # meV, CODATA 2018
BOHR = 0.0529177210903  # nm
HBAR = 0.6582119569  # meV ps
BOLTZMANN = 0.08617333262  # meV / K
BOHR_MAGNETON = 0.057883818060  # meV / T
GYROMAGNETIC = 0.1760859630  # of the electron, rad / (ps T)
DIPOLE = 5.36815112e-5  # mu0 mu_B^2 / 4 pi, meV nm^3
COULOMB = HARTREE * BOHR  # e^2 / (4 pi eps0), meV nm


class Scales(NamedTuple):
    """The units of a material's exciton, and its screening; each of the material's shape."""

    energy: jax.Array  # E*, meV
    length: jax.Array  # a*, nm
    screening: jax.Array  # rho

    def to_reduced_field(self, field: jax.Array) -> jax.Array:
        """The force of a field in V/um, in E* / a*."""
        return field * self.length / self.energy


def scales(material: Material) -> Scales:
    """The units in which the exciton of a material depends on one number.

    Args:
        material: its parameters may be arrays of one shape, or traced.

    Returns:
        A `Scales`, differentiable in the parameters.
    """
    mass, dielectric = jnp.asarray(material.reduced_mass), jnp.asarray(material.dielectric)
    return Scales(
        energy=HARTREE * mass / dielectric**2,
        length=BOHR * dielectric / mass,
        screening=jnp.asarray(material.screening_length) * mass / (BOHR * dielectric**2),
    )


def hbar_squared_over_mass(material: Material) -> jax.Array:
    """hbar^2 / mu in meV nm^2."""
    return COULOMB * BOHR / jnp.asarray(material.reduced_mass)
