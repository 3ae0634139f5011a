"""The Faddeeva function against scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gossamer.physics.optics.faddeeva import wofz


def test_against_scipy(float64):
    real, imaginary = np.meshgrid(np.linspace(-8.0, 8.0, 41), np.linspace(0.0, 6.0, 25))
    z = real + 1j * imaginary
    np.testing.assert_allclose(wofz(jnp.asarray(z)), scipy.special.wofz(z), atol=1e-12)


def test_float32_and_gradient():
    z = jnp.asarray([0.3 + 0.2j, 5.0 + 1.0j], jnp.complex64)
    np.testing.assert_allclose(wofz(z), scipy.special.wofz(np.asarray(z)), rtol=1e-5)
    slope = jax.grad(lambda x: jnp.real(wofz(x + 0.5j)))(0.3)
    exact = -2 * (0.3 + 0.5j) * scipy.special.wofz(0.3 + 0.5j) + 2j / np.sqrt(np.pi)
    np.testing.assert_allclose(slope, exact.real, rtol=1e-5)
