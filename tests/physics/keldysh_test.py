"""The potential against scipy's Struve and Bessel functions, its limits and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gossamer.physics.keldysh import keldysh_potential, screened_inverse, struve_difference
from gossamer.physics.materials import Material, find
from gossamer.physics.units import BOHR, COULOMB

pytestmark = pytest.mark.usefixtures("float64")

TUNGSTEN = find("WSe2/hBN")


def test_reference_values():
    z = jnp.array([0.01, 0.3, 2.0, 20.0])
    expected = [3.01182176407207, 0.996356513076796, 0.280483176858351, 0.0317531012719396]
    np.testing.assert_allclose(struve_difference(z), expected, rtol=1e-12)


def test_against_scipy_from_short_to_long_distances():
    z = np.geomspace(1e-6, 10.0, 40)  # beyond, scipy's difference loses digits
    expected = scipy.special.struve(0, z) - scipy.special.y0(z)
    np.testing.assert_allclose(struve_difference(jnp.asarray(z)), expected, rtol=1e-12)


def test_asymptotic_series():
    z = 200.0
    expected = 2 / np.pi * (1 / z - 1 / z**3 + 9 / z**5 - 225 / z**7)
    np.testing.assert_allclose(struve_difference(jnp.asarray(z)), expected, rtol=1e-12)


def test_rotated_distances_solve_the_same_equation():
    """The potential is analytic: values on a circle give the value at its center."""
    center, radius = 0.7 * np.exp(0.5j), 0.3
    circle = center + radius * np.exp(2j * np.pi * np.arange(64) / 64)
    mean = jnp.mean(struve_difference(jnp.asarray(circle)))
    np.testing.assert_allclose(struve_difference(jnp.asarray(center)), mean, rtol=1e-11)


def test_far_away_it_is_coulomb_in_the_surroundings():
    """This limit tells apart conventions that differ by factors of kappa or 2."""
    r = 1000.0
    product = float(keldysh_potential(r, TUNGSTEN)) * r
    np.testing.assert_allclose(product, -COULOMB / TUNGSTEN.dielectric, rtol=1e-3)


def test_close_by_it_is_a_logarithm():
    r = 1e-4
    argument = TUNGSTEN.dielectric * r / TUNGSTEN.screening_length
    expected = COULOMB / TUNGSTEN.screening_length * (np.log(argument / 2) + np.euler_gamma)
    np.testing.assert_allclose(keldysh_potential(r, TUNGSTEN), expected, rtol=1e-4)


def test_without_screening_it_is_coulomb_everywhere():
    r = jnp.geomspace(1e-3, 1e3, 7)
    bare = Material(1.0, 0.0, 1.0)
    np.testing.assert_allclose(keldysh_potential(r, bare), -COULOMB / r, rtol=1e-13)
    assert pytest.approx(27211.386, rel=1e-7) == COULOMB / BOHR


def test_gradient_against_differences():
    def value(r, length):
        return screened_inverse(r, length)

    for argument, step in ((0, 1e-5), (1, 1e-5)):
        point = [jnp.asarray(1.3), jnp.asarray(0.7)]
        high, low = list(point), list(point)
        high[argument] += step
        low[argument] -= step
        difference = (value(*high) - value(*low)) / (2 * step)
        # Central differences: step^2 of truncation, eps / step of rounding.
        np.testing.assert_allclose(jax.grad(value, argument)(*point), difference, rtol=1e-8)


def test_shapes_and_float32():
    with jax.enable_x64(False):
        values = keldysh_potential(jnp.ones((2, 3)), TUNGSTEN)
        assert values.shape == (2, 3)
        assert values.dtype == jnp.float32
