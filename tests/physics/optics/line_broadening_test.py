"""Thermal broadening in its limits."""

import jax
import numpy as np
import pytest

from gossamer.physics.optics.line_broadening import Phonons, thermal_broadening
from gossamer.physics.units import BOLTZMANN


def test_cold_and_hot():
    phonons = Phonons(residual=2.0, acoustic=0.02, optical=10.0, optical_energy=30.0)
    np.testing.assert_allclose(thermal_broadening(0.0, phonons), 2.0)
    hot = float(thermal_broadening(3000.0, phonons))
    high = 2 + 60 + 10 * (BOLTZMANN * 3000 / 30 - 0.5)  # the classical limit
    assert hot == pytest.approx(high, rel=2e-3)
    assert np.isfinite(jax.grad(lambda t: thermal_broadening(t, phonons))(0.0))


def test_negative_temperatures_are_refused():
    with pytest.raises(ValueError, match="`temperature` must be at least 0, in K, got -1"):
        thermal_broadening(-1.0)
