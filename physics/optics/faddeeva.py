"""The Faddeeva function w(z) = exp(-z^2) erfc(-i z), the Lorentzian folded with a Gaussian.

    w(z) = (i / pi) int exp(-t^2) / (z - t) dt,    Im z > 0,

by Weideman's expansion in powers of (L + i z) / (L - i z), to 1e-12.

References:
    J. A. C. Weideman, "Computation of the Complex Error Function", SIAM Journal on Numerical
        Analysis 31, 1497, 1994.
"""

import jax
import jax.numpy as jnp
import numpy as np

_TERMS = 40
_LENGTH = np.sqrt(_TERMS / np.sqrt(2.0))


def _coefficients() -> np.ndarray:
    """Highest power first, ``[_TERMS]``, by a discrete Fourier transform."""
    num = 4 * _TERMS
    theta = np.arange(1 - num // 2, num // 2) * 2 * np.pi / num
    t = _LENGTH * np.tan(theta / 2)
    values = np.concatenate([[0.0], np.exp(-(t**2)) * (_LENGTH**2 + t**2)])
    powers = np.fft.fft(np.fft.fftshift(values)).real / num
    return powers[_TERMS:0:-1]


COEFFICIENTS = _coefficients()


def wofz(z: jax.Array) -> jax.Array:
    """w(z) in the upper half plane, any shape, complex.

    At the real axis and above it the error is below 1e-12.
    """
    below = _LENGTH - 1j * z
    ratio = (_LENGTH + 1j * z) / below
    series = jnp.polyval(jnp.asarray(COEFFICIENTS, jnp.real(z).dtype), ratio)
    return 2.0 * series / below**2 + (1.0 / np.sqrt(np.pi)) / below
