"""Absorption of an exciton: a sum over the poles of its rotated resolvent.

    A(w) = -(1/pi) Im sum_k psi_k(0)^2 / (w - E_g - E_k + i eta) - B(w)

with complex E_k - i Gamma_k / 2: bound states, resonances and the ionized continuum alike; no box,
no artificial levels.  The resolvent at zero distance diverges as a logarithm of the largest energy,
which a rotated basis turns with the rest, by 2 theta.  What this leaves is a smooth background B, a
constant plus powers of energy over the largest one.  It is read off far below all states, where
nothing is absorbed.

A is the local density of pair states at zero distance, in nm^-2 meV^-1 for each spin and valley;
the absorption is A times a dipole moment of the band edges.  Without attraction and field it is a
step of height mu / (2 pi hbar^2).  A static disorder that shifts all levels together folds it with
a Gaussian, which turns each pole into a Faddeeva function.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from ..materials import Material
from ..units import hbar_squared_over_mass
from .faddeeva import wofz

if TYPE_CHECKING:
    from ..exciton import Spectrum

DARK = (1.0, 1.6, 2.5)  # energies where nothing is absorbed, over the highest such one


def absorption(
    spectrum: "Spectrum",
    photon_energy: ArrayLike,
    *,
    broadening: ArrayLike = 2.0,
    disorder: ArrayLike = 0.0,
) -> jax.Array:
    """The absorption of a solved exciton.

    Args:
        spectrum: from `solve_exciton`, with rotation; fields of shape ``[...]``.
        photon_energy: meV, ``[num]``; where the material has no band gap, counted from it.  In a
            field the default basis serves to about 0.2 E* above the gap, 50 meV for WSe2 in hBN;
            more `angular` channels go further.
        broadening: homogeneous half width at half maximum, meV, added to that of ionization.
        disorder: standard deviation of the band gap, meV.

    Returns:
        ``[..., num]``, nm^-2 meV^-1.

    Raises:
        ValueError: if `broadening` is not positive or `disorder` negative.

    Example:
        >>> spectrum = solve_exciton(find("WSe2/hBN"), field=2.0)
        >>> absorption(spectrum, jnp.linspace(1700.0, 1900.0, 400))
    """
    return sum_poles(spectrum, spectrum.strengths, photon_energy, broadening, disorder)


def sum_poles(
    spectrum: "Spectrum",
    strengths: jax.Array,
    photon_energy: ArrayLike,
    broadening: ArrayLike,
    disorder: ArrayLike,
) -> jax.Array:
    """The spectrum of given strengths ``[..., num_poles]``; arguments as of `absorption`."""
    check_positive("broadening", broadening)
    if not isinstance(disorder, Tracer) and np.any(np.asarray(disorder) < 0):
        raise ValueError(f"`disorder` must be at least 0, in meV, got {disorder}.")
    photon_energy = jnp.asarray(photon_energy, spectrum.field.dtype)
    rank = spectrum.field.ndim

    def along(values, axis):
        return jnp.expand_dims(values, axis)

    energy = photon_energy.reshape((1,) * rank + (-1,)) - along(spectrum.band_gap, -1)
    # Poles above the real axis, which too few channels leave high in the continuum, would gain.
    poles = jax.lax.complex(jnp.real(spectrum.poles), jnp.minimum(jnp.imag(spectrum.poles), 0.0))
    detuning = along(energy + 1j * jnp.asarray(broadening), -1) - along(poles, -2)
    dark = _background(spectrum, strengths, energy)
    if isinstance(disorder, int | float) and disorder == 0:
        return -dark - jnp.imag(jnp.sum(along(strengths, -2) / detuning, axis=-1)) / np.pi
    # int N(g) / (z - g) dg = -i sqrt(pi/2) w(z / (sqrt 2 sigma)) / sigma.
    profile = jnp.sqrt(np.pi / 2) / disorder * wofz(detuning / (np.sqrt(2.0) * disorder))
    return -dark + jnp.real(jnp.sum(along(strengths, -2) * profile, axis=-1)) / np.pi


def _background(spectrum: "Spectrum", strengths: jax.Array, energy: jax.Array) -> jax.Array:
    """The parabola through the sum over poles at three dark energies, ``[..., num]``."""
    nodes = np.asarray(DARK)
    scaled = energy / spectrum.dark_below[..., None]
    total = jnp.zeros_like(scaled)
    for node in nodes:
        others = nodes[nodes != node]
        distance = node * spectrum.dark_below[..., None] - spectrum.poles
        value = -jnp.imag(jnp.sum(strengths / distance, axis=-1, keepdims=True)) / np.pi
        weight = (scaled - others[0]) * (scaled - others[1])
        total += value * weight / np.prod(node - others)
    return total


def free_step(material: Material) -> jax.Array:
    """Height of the absorption of free pairs, mu / (2 pi hbar^2), nm^-2 meV^-1."""
    return 1.0 / (2.0 * np.pi * hbar_squared_over_mass(material))


def check_positive(name: str, value: ArrayLike) -> None:
    """Refuses numbers that are not positive; traced values pass."""
    if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"`{name}` must be positive, got {value}.")
