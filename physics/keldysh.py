"""The Rytova-Keldysh potential of two charges in a polarizable sheet.

    V(r) = -(e^2 / (8 eps0 r0)) [H0(kappa r / r0) - Y0(kappa r / r0)]
         = -(e^2 / (4 pi eps0 kappa)) int_0^inf exp(-r t) / sqrt(1 + (r0 t / kappa)^2) dt.

The difference of the Struve and Bessel functions cancels digit by digit where both are large; the
Laplace integral has a smooth positive integrand for every r and r0, including r0 = 0, where it is
Coulomb's potential.  It can be differentiated in all its arguments and holds for r rotated into the
complex plane by less than a quarter turn.

Conventions differ by factors of kappa and 2.  Here r0 = 2 pi chi_2D is *not* divided by kappa, and
far away V -> -e^2 / (4 pi eps0 kappa r).

References:
    N. S. Rytova, "Screened potential of a point charge in a thin film", 1967, arXiv:1806.00976.
    L. V. Keldysh, "Coulomb interaction in thin semiconductor and semimetal films", 1979.
    NIST Digital Library of Mathematical Functions, 11.5.2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .materials import Material
from .units import COULOMB

# int_0^inf g(s) exp(-s) ds by a trapezoid in log s: the singularities of g lie a quarter turn away
# from the real axis whatever r is, so that the rule is equally good at all distances.
_STEP = 0.2
NODES = np.exp(np.arange(-50.0, 4.0, _STEP))
WEIGHTS = _STEP * NODES * np.exp(-NODES)


def keldysh_potential(r: ArrayLike, material: Material) -> jax.Array:
    """Energy of an electron and a hole at a distance.

    Args:
        r: distance, nm, any shape; positive, or complex with a positive real part.
        material: its parameters are scalars.

    Returns:
        Energy in meV, of the shape of `r`; negative, logarithmic at short distances.

    Example:
        >>> from gossamer.physics.materials import find
        >>> float(keldysh_potential(1.0, find("WSe2/hBN")))  # meV
    """
    dielectric = jnp.asarray(material.dielectric)
    range_ = jnp.asarray(material.screening_length) / dielectric  # nm
    return -COULOMB / dielectric * screened_inverse(r, range_)


def struve_difference(z: ArrayLike) -> jax.Array:
    """H0(z) - Y0(z) for Re z > 0, of any shape, to 13 digits in float64."""
    return 2.0 / np.pi * screened_inverse(z, 1.0)


def screened_inverse(r: ArrayLike, length: ArrayLike) -> jax.Array:
    """int_0^inf exp(-r t) / sqrt(1 + (length t)^2) dt, which is 1/r at length 0.

    Args:
        r: distance, any shape.
        length: scalar, of the unit of `r`, at least 0.

    Returns:
        The inverse of the unit of `r`, of its shape.
    """
    inverse = 1.0 / jnp.asarray(r)[..., None]
    ratio = length * inverse * _along(NODES, inverse)
    return jnp.sum(inverse * _along(WEIGHTS, inverse) / jnp.sqrt(1.0 + ratio**2), axis=-1)


def _along(values: np.ndarray, like: jax.Array) -> jax.Array:
    """Real values on the last axis of an array of the rank and precision of another."""
    shape = (1,) * (like.ndim - 1) + (-1,)
    return jnp.asarray(values, jnp.finfo(like.dtype).dtype).reshape(shape)
