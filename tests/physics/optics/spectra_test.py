"""Absorption against Elliott's formula, free pairs in a field, and sum rules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics import hydrogen
from gossamer.physics.exciton import Basis, Material, absorption, solve_exciton
from gossamer.physics.materials import find
from gossamer.physics.optics.spectra import free_step
from gossamer.physics.units import BOHR, HARTREE

TUNGSTEN = find("WSe2/hBN")
BASIS = Basis(radial=24, angular=8)
ENERGIES = np.linspace(1700.0, 1930.0, 231)


@pytest.fixture(scope="module")
def solved():
    with jax.enable_x64(True):
        return solve_exciton(TUNGSTEN, np.array([0.0, 2.0]), basis=BASIS, steps=3)


def test_elliott(float64):
    """Hydrogen's lines and continuum, with Coulomb enhancement, are those of the formula."""
    bare = Material(1.0, 0.0, 1.0)
    basis = Basis(radial=40, angular=2, decay=3.0)
    spectrum = solve_exciton(bare, states=("1s",), steps=1, basis=basis)
    energy = np.linspace(-2.5, 1.0, 60)
    found = absorption(spectrum, energy * HARTREE, broadening=0.05 * HARTREE) * HARTREE * BOHR**2
    # The background is a parabola only; what is left is 0.3% of the step of free pairs.
    expected = hydrogen.elliott_spectrum(energy, 0.05)
    np.testing.assert_allclose(found, expected, rtol=6e-3, atol=0.003 / (2 * np.pi))


def test_free_pairs_make_a_step(float64):
    """Far above the gap the absorption tends to the step, from above."""
    spectrum = solve_exciton(Material(1.0, 0.0, 1.0), states=("1s",), steps=1, basis=BASIS)
    far = absorption(spectrum, np.array([2.0 * HARTREE]), broadening=0.5 * HARTREE)
    enhanced = free_step(Material(1.0, 0.0, 1.0)) * hydrogen.sommerfeld_factor(2.0)
    assert float(far[0]) == pytest.approx(float(enhanced), rel=0.03)


def test_area_of_a_line_is_its_strength(float64, solved):
    photon = np.linspace(1728.55 - 40, 1728.55 + 40, 2001)
    area = np.sum(absorption(solved, photon, broadening=1.0)[0]) * (photon[1] - photon[0])
    inside = 2 / np.pi * np.arctan(40.0)  # of a Lorentzian within 40 half widths
    assert area == pytest.approx(inside * float(solved.ground_density[0]), rel=5e-3)


def test_a_field_moves_strength_but_makes_none(float64, solved):
    """All lines together, in a window far wider than what the field mixes."""
    photon = np.linspace(1500.0, 2100.0, 601)
    spectra = absorption(solved, photon, broadening=20.0)
    np.testing.assert_allclose(spectra[0].sum(), spectra[1].sum(), rtol=2e-3)


def test_2p_appears_in_a_field(float64, solved):
    photon = np.array([1890.0 + float(solved["2p"].energy[1])])
    dark, bright = absorption(solved, photon, broadening=0.5)[:, 0]
    assert bright > 10 * dark


def test_disorder_folds_with_a_gaussian(float64, solved):
    sigma = 4.0
    shifts = np.linspace(-6 * sigma, 6 * sigma, 241)
    weights = np.exp(-(shifts**2) / (2 * sigma**2))
    photon = np.array([1700.0, 1728.55, 1852.0, 1900.0])
    several = absorption(solved, (photon[:, None] - shifts).ravel(), broadening=2.0)
    expected = several.reshape(2, 4, -1) @ (weights / weights.sum())
    found = absorption(solved, photon, broadening=2.0, disorder=sigma)
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # the sum over shifts


def test_it_differentiates(float64):
    def value(mass):
        material = dataclasses.replace(TUNGSTEN, reduced_mass=mass)
        basis = Basis(radial=18, angular=2, decay=1.0)
        spectrum = solve_exciton(material, states=("1s",), steps=1, basis=basis)
        return absorption(spectrum, jnp.array([1730.0]))[0]

    difference = (value(0.2001) - value(0.1999)) / 2e-4
    np.testing.assert_allclose(jax.grad(value)(0.2), difference, rtol=2e-2)  # the basis follows


def test_bad_arguments_are_refused(float64, solved):
    with pytest.raises(ValueError, match="`broadening` must be positive, got 0"):
        absorption(solved, ENERGIES, broadening=0.0)
    with pytest.raises(ValueError, match="`disorder` must be at least 0, in meV, got -1"):
        absorption(solved, ENERGIES, disorder=-1.0)
