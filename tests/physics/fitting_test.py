"""Parameters recovered from computed lines."""

import dataclasses

import numpy as np
import pytest

from gossamer.physics.exciton import Basis, solve_exciton
from gossamer.physics.fitting import Line, fit_material
from gossamer.physics.materials import find

TUNGSTEN = find("WSe2/hBN")
BASIS = Basis(radial=18, angular=5, rotation=0.3)
STATES = ("1s", "2p", "2s")


@pytest.fixture
def lines(float64):
    fields = (0.0, 1.0)
    spectrum = solve_exciton(TUNGSTEN, fields, states=STATES, basis=BASIS, steps=1)
    return [
        Line(state, float(energy) + TUNGSTEN.band_gap, field, error=0.1)
        for state in STATES
        for field, energy in zip(fields, spectrum[state].energy, strict=True)
    ]


def test_four_parameters_come_back(lines):
    start = dataclasses.replace(
        TUNGSTEN, reduced_mass=0.23, dielectric=4.1, screening_length=4.0, band_gap=1895.0
    )
    free = ("band_gap", "reduced_mass", "dielectric", "screening_length")
    fit = fit_material(start, lines, free, basis=BASIS, steps=1)
    for name in free:
        # The bases of guess and truth differ by their decay.
        assert getattr(fit.material, name) == pytest.approx(getattr(TUNGSTEN, name), rel=1e-3)
        assert 0 < fit.errors[name] < np.inf
    assert np.abs(fit.residuals).max() < 0.01


def test_lines_without_field_leave_mass_and_dielectric_open(lines):
    still = [line for line in lines if line.field == 0]
    free = ("reduced_mass", "dielectric", "screening_length")
    start = dataclasses.replace(TUNGSTEN, reduced_mass=0.18, dielectric=4.8)
    fit = fit_material(start, still, free, basis=BASIS, steps=1)
    assert fit.errors["reduced_mass"] == fit.errors["dielectric"] == np.inf
    assert fit.material.dielectric > 1
    assert np.abs(fit.residuals).max() < 0.01


def test_bad_arguments_are_refused(lines):
    with pytest.raises(ValueError, match=r"`free` must name parameters of band_gap, .*'mass'"):
        fit_material(TUNGSTEN, lines, ("mass",))
    with pytest.raises(ValueError, match="2 free parameters need at least as many lines, got 1"):
        fit_material(TUNGSTEN, lines[:1], ("band_gap", "reduced_mass"))
