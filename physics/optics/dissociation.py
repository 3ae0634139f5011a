"""Photocurrent of excitons: absorption times the share of them that comes apart.

An exciton in state k is ionized by the field at the rate Gamma_k / hbar and lost at the rate
1 / tau, so that the share

    eta_k = Gamma_k / (Gamma_k + hbar / tau)

reaches the contacts, and the current per photon is I(w) = sum_k eta_k A_k(w) with the lines A_k of
the absorption (see `spectra`).  This conversion is **a model of ours**: how the measurements of
arXiv:2302.11373 turn absorption into current is not known to us.  It leaves out relaxation between
states before ionization, heating, and the collection of carriers.

A state that gets broad in the field is converted whole: this is what lets excited states near the
continuum stand out in photocurrent though their oscillator strength does not rise.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..units import HBAR
from .spectra import check_positive, sum_poles

if TYPE_CHECKING:
    from ..exciton import Spectrum


def photocurrent(
    spectrum: "Spectrum",
    photon_energy: ArrayLike,
    *,
    lifetime: ArrayLike = 1.0,
    broadening: ArrayLike = 2.0,
    disorder: ArrayLike = 0.0,
) -> jax.Array:
    """The photocurrent of a solved exciton, in the model of this module.

    Args:
        spectrum: from `solve_exciton`, with rotation; fields of shape ``[...]``.
        photon_energy: meV, ``[num]``; where the material has no band gap, counted from it.
        lifetime: tau of excitons that are not ionized, ps.
        broadening: homogeneous half width at half maximum, meV.
        disorder: standard deviation of the band gap, meV.

    Returns:
        ``[..., num]``, nm^-2 meV^-1: the part of the absorption that becomes current.

    Raises:
        ValueError: if `lifetime` or `broadening` is not positive or `disorder` negative.
    """
    converted = spectrum.strengths * dissociation_share(-2 * jnp.imag(spectrum.poles), lifetime)
    return sum_poles(spectrum, converted, photon_energy, broadening, disorder)


def dissociation_share(width: ArrayLike, lifetime: ArrayLike) -> jax.Array:
    """Eta = Gamma / (Gamma + hbar / tau) of a width in meV and a life time in ps, any shape.

    Widths below zero, which are the noise of a basis, count as zero.
    """
    check_positive("lifetime", lifetime)
    width = jnp.maximum(jnp.asarray(width), 0.0)
    return width / (width + HBAR / lifetime)
