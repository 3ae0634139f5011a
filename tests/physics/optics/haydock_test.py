"""Three ways to one spectrum: rotated poles, continued fraction, propagation in time."""

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.exciton import Basis, absorption, solve_exciton
from gossamer.physics.materials import find
from gossamer.physics.optics.haydock import recursion, respond
from gossamer.physics.optics.propagation import propagate, transform
from gossamer.physics.optics.spectra import free_step
from gossamer.physics.polar import hamiltonian
from gossamer.physics.units import scales

pytestmark = pytest.mark.usefixtures("float64")

TUNGSTEN = find("WSe2/hBN")
BROADENING = 4.0
CLOSE = {"rtol": 0.01, "atol": 0.02 * float(free_step(TUNGSTEN))}


def unrotated(field, basis):
    """Real matrix in meV and source in nm^-1 of WSe2, with levels instead of a continuum."""
    units = scales(TUNGSTEN)
    whole = hamiltonian.build(units.screening, 0.0, basis._replace(rotation=0.0))
    matrix = whole.matrix(units.to_reduced_field(field)) * units.energy
    source = jnp.zeros(len(matrix)).at[: basis.radial].set(whole.origin)
    return matrix, source / units.length


def poles(field, energies, basis):
    spectrum = solve_exciton(TUNGSTEN, field, states=("1s",), steps=1, basis=basis)
    return absorption(spectrum, energies + TUNGSTEN.band_gap, broadening=BROADENING)


def test_three_ways_agree_without_field():
    """Lines and continuum; the levels of the real matrix lie closer than the broadening."""
    energies = np.linspace(-180.0, 20.0, 101)
    expected = poles(0.0, energies, Basis(36, 2, 0.35, 1.6))
    matrix, source = unrotated(0.0, Basis(50, 2, decay=0.8))
    matrix, source = matrix[:50, :50], source[:50]  # Light makes s states.
    by_fraction = respond(recursion(matrix, source, 50), energies, BROADENING)
    np.testing.assert_allclose(by_fraction, expected, **CLOSE)
    shift = 80.0  # energies count from the middle of the window
    motion = propagate(matrix + shift * jnp.eye(50), source, step=1e-4, num_steps=16_000)
    by_time = transform(motion, energies + shift, BROADENING)
    np.testing.assert_allclose(by_time, expected, **CLOSE)


def test_two_ways_agree_in_a_field():
    """Below the edge: above it the real matrix has too few levels."""
    energies = np.linspace(-180.0, -30.0, 76)
    expected = poles(1.0, energies, Basis(24, 8, 0.35))
    chain = recursion(*unrotated(1.0, Basis(24, 8, decay=0.8)), num_steps=170)
    np.testing.assert_allclose(respond(chain, energies, BROADENING), expected, **CLOSE)


def test_a_chain_of_two():
    matrix = jnp.array([[1.0, 0.5], [0.5, 2.0]])
    chain = recursion(matrix, jnp.array([2.0, 0.0]), 2)
    np.testing.assert_allclose(chain.diagonal, [1, 2])
    assert chain.hoppings[0] == pytest.approx(0.25)
    resolvent = np.linalg.inv((0.3 + 0.1j) * np.eye(2) - np.asarray(matrix))
    expected = -4 * resolvent[0, 0].imag / np.pi
    np.testing.assert_allclose(respond(chain, jnp.array([0.3]), 0.1), expected, rtol=1e-12)


def test_rotated_matrices_too():
    matrix = jnp.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 1.5]]) * (1 - 0.2j)
    source = jnp.array([1.0 + 0.1j, 0.5, 0.2])
    chain = recursion(matrix, source, 3)
    z = 1.2 + 0.1j
    expected = -np.imag(source @ jnp.linalg.solve(z * jnp.eye(3) - matrix, source)) / np.pi
    np.testing.assert_allclose(respond(chain, jnp.array([1.2]), 0.1), expected, rtol=1e-10)
