"""Propagation of two levels, in closed form; a whole exciton is in `haydock_test`."""

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.optics.propagation import propagate, transform

pytestmark = pytest.mark.usefixtures("float64")


def test_beats_and_decay():
    matrix = jnp.diag(jnp.array([1.0 + 0j, 2.0 - 0.1j]))
    motion = propagate(matrix, jnp.array([1.0, 2.0]), step=0.01, num_steps=300)
    t = motion.times
    expected = jnp.exp(-1j * t) + 4 * jnp.exp(-2j * t - 0.1 * t)
    np.testing.assert_allclose(motion.overlaps, expected, atol=3 * 4 * 8 * 1e-4 / 12)  # t E^3 dt^2


def test_lines_are_lorentzians():
    motion = propagate(jnp.diag(jnp.array([1.0, 3.0])), jnp.array([1.0, 0.0]), 0.02, 5000)
    energy = jnp.linspace(0.0, 2.0, 21)
    expected = 0.2 / np.pi / ((energy - 1) ** 2 + 0.04)
    np.testing.assert_allclose(transform(motion, energy, 0.2), expected, atol=1e-3)
