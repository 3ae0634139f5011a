"""The Airy integral against its identity; free pairs in a field against the polar basis."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special

from gossamer.physics.exciton import Basis, Material, absorption, solve_exciton
from gossamer.physics.optics.franz_keldysh import (
    airy_tail,
    electro_optical_energy,
    franz_keldysh,
)
from gossamer.physics.optics.spectra import free_step


def test_airy_tail():
    """int_0^inf Ai^2(x + s) / sqrt(s) ds is half the tail from 2^(2/3) x on."""
    x = np.array([-3.0, -1.0, 0.0, 1.5])
    expected = [0.481298450882947, 0.547490129230225, 1 / 6, 0.00538105339481]
    np.testing.assert_allclose(airy_tail(2 ** (2 / 3) * x) / 2, expected, rtol=1e-6, atol=1e-7)
    integral, _ = scipy.integrate.quad(
        lambda root: 2 * scipy.special.airy(-1.0 + root**2)[0] ** 2, 0, 4
    )
    assert integral == pytest.approx(expected[1], rel=1e-6)


def test_step_without_field():
    material = Material(0.2, 4.5, 4.5, band_gap=1000.0)
    spectrum = franz_keldysh(material, [900.0, 1000.0, 1100.0], 0.5)
    np.testing.assert_allclose(spectrum / float(free_step(material)), [0, 1 / 3, 1], atol=0.05)
    assert electro_optical_energy(material, 1.0) == pytest.approx((76.19964 / 0.4) ** (1 / 3), 1e-6)
    with pytest.raises(ValueError, match="`field` must be positive"):
        franz_keldysh(material, 1.0, 0.0)


@pytest.mark.filterwarnings("ignore:1s")  # there is none
def test_the_basis_without_attraction(float64):
    """A dielectric constant of 1e4 turns the attraction off; the decay is in its large a*."""
    free = Material(0.2, 0.0, 1e4, band_gap=100.0)
    length = 0.0529177 * 1e4 / 0.2
    basis = Basis(radial=28, angular=16, decay=1.5 * length)
    spectrum = solve_exciton(free, 10.0, states=("1s",), steps=1, basis=basis)
    photon = np.linspace(20.0, 160.0, 15)
    found = absorption(spectrum, photon, broadening=2.0)
    # The formula has no broadening: fold it with the same Lorentzian.
    fine = np.linspace(-900.0, 1100.0, 20001)
    exact = franz_keldysh(free, fine, 10.0)
    kernel = 2.0 / np.pi / ((photon[:, None] - fine) ** 2 + 4.0)
    missing = float(free_step(free)) * (0.5 - np.arctan((1100.0 - photon) / 2.0) / np.pi)
    expected = kernel @ exact * 0.1 + missing
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.01 * float(free_step(free)))
