"""How temperature broadens an exciton line.

    gamma(T) = gamma_0 + a T + b / (exp(E_LO / k T) - 1),

a residue, acoustic phonons, and the absorption of optical ones.  The numbers depend on the sample
more than on the material; the defaults are illustrative.

References:
    S. Rudin, T. L. Reinecke, B. Segall, "Temperature-dependent exciton linewidths in
        semiconductors", Physical Review B 42, 11218, 1990.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from ..units import BOLTZMANN


class Phonons(NamedTuple):
    """What broadens a line; half widths at half maximum."""

    residual: float = 1.0  # gamma_0, meV
    acoustic: float = 0.01  # a, meV / K
    optical: float = 15.0  # b, meV
    optical_energy: float = 30.0  # E_LO, meV


def thermal_broadening(temperature: ArrayLike, phonons: Phonons | None = None) -> jax.Array:
    """Half width at half maximum in meV at temperatures in K, any shape.

    Raises:
        ValueError: if a temperature is negative.
    """
    phonons = Phonons() if phonons is None else phonons
    temperature = jnp.asarray(temperature)
    if not isinstance(temperature, Tracer) and bool(jnp.any(temperature < 0)):
        raise ValueError(f"`temperature` must be at least 0, in K, got {temperature}.")
    # At T = 0 the exponent would be infinite, and its derivative no number.
    exponent = phonons.optical_energy / (BOLTZMANN * jnp.maximum(temperature, 1.0))
    occupied = 1.0 / jnp.expm1(jnp.minimum(exponent, 60.0))
    return phonons.residual + phonons.acoustic * temperature + phonons.optical * occupied
