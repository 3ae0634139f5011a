"""Eigensystems and their derivatives against differences; ionization of hydrogen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics import hydrogen
from gossamer.physics.polar import hamiltonian, resonances
from gossamer.physics.polar.hamiltonian import Basis
from gossamer.physics.polar.resonances import eigensystem

pytestmark = pytest.mark.usefixtures("float64")


def symmetric(seed, kind):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(6, 6))
    if kind == "complex":
        matrix = matrix + 0.5j * generator.normal(size=(6, 6))
    return jnp.asarray(matrix + matrix.T)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_eigensystem(kind):
    matrix = symmetric(0, kind)
    energies, vectors = eigensystem(matrix)
    np.testing.assert_allclose(matrix @ vectors, vectors * energies[None, :], atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-12)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_derivatives_against_differences(kind):
    matrix, change = symmetric(0, kind), symmetric(1, kind)

    def value(t):
        energies, vectors = eigensystem(matrix + t * change)
        first = jnp.argmin(energies.real)
        return jnp.real(energies[first] + vectors[0, first] ** 2)

    def second(t):
        return jax.grad(jax.grad(value))(t)

    step = 1e-5
    difference = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(value)(0.0), difference, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(value, (0.0,), (1.0,))[1], difference, rtol=1e-7)
    difference = (jax.grad(value)(step) - jax.grad(value)(-step)) / (2 * step)
    np.testing.assert_allclose(second(0.0), difference, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(second)(0.0), difference, rtol=1e-6)


def test_equal_energies_have_no_derivative_of_their_mixing():
    gradient = jax.grad(lambda t: eigensystem(jnp.diag(jnp.array([1.0, 1.0, 2.0])) * t)[0].sum())
    assert gradient(1.0) == pytest.approx(4.0)


def test_hydrogen_resonances():
    forces = jnp.array([0.25, 0.5, 1.0, 2.0])
    whole = hamiltonian.build(0.0, 0.0, Basis(radial=20, angular=14, rotation=0.4, decay=4.0))
    found = resonances.follow(whole, forces, resonances.field_free(whole, ((0, 0),)))
    energies = jnp.take_along_axis(found.energies, found.places, axis=1)[:, 0]
    expected = [-2.0052188739, -2.0224695120, -2.0977788318, -2.251406501]
    np.testing.assert_allclose(energies.real, expected, rtol=1e-7)
    widths = [2.38127e-8, 5.976513e-4, 5.557912e-2, 0.4308929]  # the first to eps / width
    np.testing.assert_allclose(-2 * energies.imag, widths, rtol=1e-5)


def test_weak_fields_follow_the_series():
    whole = hamiltonian.build(0.0, 0.0, Basis(radial=20, angular=6, rotation=0.0, decay=3.0))
    start = resonances.field_free(whole, ((0, 0),))
    forces = jnp.array([0.02, 0.05])
    found = resonances.follow(whole, forces, start)
    shifts = found.energies[:, 0] + 2.0
    expected = hydrogen.ground_state_energy(forces) + 2.0
    np.testing.assert_allclose(shifts, expected, rtol=1e-5)  # the sixth order
    quartic = (shifts + 21 / 256 * forces**2) / forces**4
    np.testing.assert_allclose(quartic[1], -hydrogen.HYPERPOLARIZABILITY, rtol=0.02)


def test_states_are_told_apart():
    overlaps = jnp.array([[0.9, 0.8, 0.0], [0.95, 0.1, 0.2]])
    np.testing.assert_array_equal(resonances._match(overlaps), [1, 0])
