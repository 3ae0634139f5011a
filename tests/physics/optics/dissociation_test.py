"""The conversion to photocurrent in its limits."""

import jax
import numpy as np
import pytest

from gossamer.physics.exciton import Basis, absorption, photocurrent, solve_exciton
from gossamer.physics.materials import find
from gossamer.physics.optics.dissociation import dissociation_share
from gossamer.physics.units import HBAR

BASIS = Basis(radial=24, angular=8)
PHOTON = np.linspace(1700.0, 1930.0, 231)


@pytest.fixture(scope="module")
def solved():
    with jax.enable_x64(True):
        return solve_exciton(find("WSe2/hBN"), np.array([0.0, 2.0, 4.0]), basis=BASIS, steps=4)


def test_share():
    np.testing.assert_allclose(dissociation_share([-1.0, 0.0, HBAR, 1e9], 1.0), [0, 0, 0.5, 1])


def test_long_lived_excitons_all_come_apart(float64, solved):
    """But for bound ones, whose width is the noise of the basis; to a tenth of the step."""
    current = photocurrent(solved, PHOTON, lifetime=1e9, broadening=2.0)
    absorbed = absorption(solved, PHOTON, broadening=2.0)
    above = PHOTON > 1800
    np.testing.assert_allclose(current[2][above], absorbed[2][above], rtol=0.02, atol=4e-5)


def test_bound_excitons_give_none(float64, solved):
    at_1s = np.abs(PHOTON - 1728.5) < 4
    current = photocurrent(solved, PHOTON)[0][at_1s]
    assert (np.abs(current) < 0.02 * absorption(solved, PHOTON)[0][at_1s]).all()


def test_2p_rises_against_2s_once_it_is_ionized(float64, solved):
    """What the conversion adds: eta of 2p grows from 0.16 at 2 V/um to 0.9 at 4 V/um."""
    share = dissociation_share(solved["2p"].width, 1.0)
    np.testing.assert_allclose(
        share, [0, 0.130 / (0.130 + HBAR), 6.529 / (6.529 + HBAR)], atol=2e-3
    )
    assert share[2] * solved["2p"].oscillator_strength[2] > 5 * (
        share[1] * solved["2p"].oscillator_strength[1]
    )


def test_bad_lifetimes_are_refused(float64, solved):
    with pytest.raises(ValueError, match="`lifetime` must be positive, got 0"):
        photocurrent(solved, PHOTON, lifetime=0.0)
