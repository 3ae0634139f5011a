"""Grids against hydrogen, their order of convergence, and the polar basis."""

import numpy as np
import pytest

from gossamer.physics.grid_solvers import cartesian_levels, radial_levels, struve_potential
from gossamer.physics.keldysh import keldysh_potential
from gossamer.physics.materials import Material, find
from gossamer.physics.units import HARTREE

TUNGSTEN = find("WSe2/hBN")


def test_radial_hydrogen():
    levels = radial_levels(Material(1.0, 0.0, 1.0), num_points=4000) / HARTREE
    np.testing.assert_allclose(levels, [-2, -2 / 9, -2 / 25], rtol=1e-4)
    levels = radial_levels(Material(1.0, 0.0, 1.0), m=1, num_levels=1) / HARTREE
    np.testing.assert_allclose(levels, [-2 / 9], rtol=1e-4)


def test_radial_grid_is_of_second_order_and_extrapolates_to_the_reference():
    coarse, fine = (radial_levels(TUNGSTEN, num_points=n) for n in (2001, 4001))
    np.testing.assert_allclose(
        fine + (fine - coarse) / 3, [-161.4493, -37.3925, -16.1199], atol=2e-4
    )


def test_cartesian_grid_is_slow_to_converge():
    levels = [
        cartesian_levels(TUNGSTEN, spacing=spacing, extent=12.0)[0] for spacing in (0.375, 0.1875)
    ]
    np.testing.assert_allclose(levels, [-159.60, -160.98], atol=0.01)
    order = np.log2((levels[0] + 161.4493) / (levels[1] + 161.4493))
    assert order == pytest.approx(2, abs=0.1)


def test_field_on_a_grid():
    """At equal spacing the Stark shift converges before the energy does."""
    options = {"spacing": 0.3, "extent": 9.0}
    shift = cartesian_levels(TUNGSTEN, 5.0, **options) - cartesian_levels(TUNGSTEN, **options)
    np.testing.assert_allclose(shift, -161.7334 + 161.4493, rtol=0.05)


def test_two_ways_to_the_potential(float64):
    r = np.geomspace(1e-3, 1e3, 30)
    np.testing.assert_allclose(
        keldysh_potential(r, TUNGSTEN), struve_potential(r, TUNGSTEN), rtol=1e-9
    )
