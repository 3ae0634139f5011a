"""The exact matrices against quadrature over r and two-dimensional hydrogen."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gossamer.physics.polar import laguerre

pytestmark = pytest.mark.usefixtures("float64")

RADIAL, ANGULAR = 6, 4


def quadrature(power, values):
    """int f(x) x^power exp(-x) dx for polynomials, by Gauss and Laguerre."""
    nodes, weights = scipy.special.roots_genlaguerre(20, power)
    return values(nodes), weights


@pytest.mark.parametrize("m", range(ANGULAR))
def test_functions_are_orthonormal(m):
    nodes, weights = quadrature(2 * m + 1, lambda x: x)
    functions = np.asarray(laguerre.radial_functions(jnp.asarray(nodes), RADIAL, m))
    functions = functions * np.exp(nodes / 2) / nodes**m
    np.testing.assert_allclose((functions * weights) @ functions.T, np.eye(RADIAL), atol=1e-11)


@pytest.mark.parametrize("m", [0, 1, 3])
def test_functions_against_scipy(m):
    x = np.linspace(0.1, 40.0, 50)
    n = RADIAL - 1
    norm = np.exp(0.5 * (scipy.special.gammaln(n + 1) - scipy.special.gammaln(n + 2 * m + 2)))
    expected = norm * x**m * np.exp(-x / 2) * scipy.special.eval_genlaguerre(n, 2 * m + 1, x)
    found = laguerre.radial_functions(jnp.asarray(x), RADIAL, m)[n]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("m", range(ANGULAR))
def test_kinetic_energy_against_derivatives(m):
    tables = laguerre.tabulate(RADIAL, ANGULAR)
    x, weights = scipy.special.roots_laguerre(40)
    values, above, below = (
        np.asarray(laguerre.radial_functions(jnp.asarray(x + change), RADIAL, m))
        for change in (0.0, 1e-4, -1e-4)
    )
    slopes = (above - below) / 2e-4
    products = slopes[:, None] * slopes[None] + m**2 * values[:, None] * values[None] / x**2
    kinetic = 0.5 * np.sum(products * x * np.exp(x) * weights, axis=-1)
    np.testing.assert_allclose(tables.kinetic[m], kinetic, atol=1e-6)  # the step, squared


def test_position_between_channels():
    tables = laguerre.tabulate(RADIAL, ANGULAR)
    x = np.linspace(0.0, 120.0, 240_001)
    for m in range(ANGULAR - 1):
        lower, upper = (
            np.asarray(laguerre.radial_functions(jnp.asarray(x), RADIAL, k)) for k in (m, m + 1)
        )
        angular = np.sqrt(0.5) if m == 0 else 0.5
        expected = angular * (lower * x * x) @ upper.T * (x[1] - x[0])
        np.testing.assert_allclose(tables.position[m], expected, atol=1e-8)


@pytest.mark.parametrize("m", range(ANGULAR))
def test_exponentials_against_quadrature(m):
    tables = laguerre.tabulate(RADIAL, ANGULAR)
    for place in (20, 62, 80):
        s = laguerre.NODES[place]
        nodes, weights = quadrature(2 * m + 1, lambda x: x)
        functions = np.array(laguerre.radial_functions(jnp.asarray(nodes / (1 + s)), RADIAL, m))
        functions *= np.exp(nodes / 2 / (1 + s)) / (nodes / (1 + s)) ** m
        # x -> x / (1 + s) makes exp(-s x) a part of the weight.
        expected = (functions * weights) @ functions.T / (1 + s) ** (2 * m + 2)
        np.testing.assert_allclose(tables.laplace[place, m], expected, atol=1e-12)


def test_values_at_the_origin():
    tables = laguerre.tabulate(RADIAL, ANGULAR)
    at_zero = laguerre.radial_functions(jnp.zeros(()), RADIAL, 0) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(tables.origin, at_zero, rtol=1e-14)


def test_weights_integrate_laplace_transforms():
    """int exp(-s x) / sqrt(1 + p^2 s^2) ds with x = 1, against the Struve and Bessel functions."""
    for p in (0.0, 0.03, 1.0, 40.0):
        total = np.sum(
            laguerre.WEIGHTS * np.exp(-laguerre.NODES) / np.sqrt(1 + (p * laguerre.NODES) ** 2)
        )
        z = 1 / p if p else np.inf
        exact = np.pi / 2 / p * (scipy.special.struve(0, z) - scipy.special.y0(z)) if p else 1.0
        np.testing.assert_allclose(total, exact, rtol=1e-9)  # scipy cancels digits at z = 33
