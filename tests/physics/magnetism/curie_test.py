"""Curie temperatures against exact ones."""

import jax
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.curie import Scan, cross, curie_temperature, scan
from gossamer.physics.magnetism.estimates import ISING
from gossamer.physics.samplers.clusters import swendsen_wang
from gossamer.physics.units import BOLTZMANN


def check_ising(kind, sizes, measurements):
    model = SpinModel(Lattice(kind, (12, 12)), spin="ising")
    exact = ISING[kind] / BOLTZMANN
    found = curie_temperature(
        model,
        key=jax.random.key(0),
        sizes=sizes,
        temperatures=exact * np.linspace(0.96, 1.04, 5),
        measurements=measurements,
        make=swendsen_wang,
    )
    assert found.error < 0.01 * exact
    assert abs(found.temperature - exact) < 3.5 * found.error + 0.002 * exact
    assert found.binder == pytest.approx(0.611, abs=0.03)


@pytest.mark.parametrize("kind", ["square", "triangular", "honeycomb"])
def test_ising(kind):
    check_ising(kind, (6, 12), 500)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized_code")
def test_ising_on_larger_lattices():
    """Corrections of the crossing fall as the third power of the size: 0.2% at 12 and 24."""
    check_ising("square", (12, 24), 1200)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize(
    ("ratio", "expected", "sizes"), [(0.1, 1.126, (24, 48)), (1.0, 1.483, (12, 24))]
)
def test_an_easy_axis(ratio, expected, sizes):
    """Against 16 to 64 sites wide lattices of another program, known to 0.008 and 0.005.

    The smaller K, the larger the lattices that it takes: 12 and 24 are 4% too high at K = J / 10.
    """
    model = SpinModel(Lattice("triangular", (12, 12)), anisotropy=ratio)
    found = curie_temperature(
        model,
        key=jax.random.key(1),
        sizes=sizes,
        temperatures=expected / BOLTZMANN * np.linspace(0.94, 1.06, 5),
        measurements=600,
    )
    assert abs(found.temperature * BOLTZMANN - expected) < 0.015 + 3 * found.error * BOLTZMANN


def test_refusals_and_the_warning(key):
    model = SpinModel(Lattice("triangular", (3, 3)))
    with pytest.raises(ValueError, match="`sizes` must be at least two rising"):
        curie_temperature(model, key=key, sizes=(12,))
    options = {"key": key, "sizes": (3, 6), "temperatures": [3.0, 4.0], "measurements": 30}
    with (
        pytest.warns(UserWarning, match="Mermin and Wagner"),
        pytest.raises(ValueError, match="do not cross between 3 and 4 K; give other"),
    ):
        curie_temperature(model, **options)


@pytest.fixture
def make_scan(key):
    """``(temperatures, binder, errors)`` -> a scan with these cumulants."""
    model = SpinModel(Lattice("square", (4, 4)), spin="ising")
    one = scan(model, [100.0], key=key, measurements=20, discard=0).averages[0]

    def make(temperatures, binder, errors):
        estimates = [
            one.binder._replace(value=u, error=e) for u, e in zip(binder, errors, strict=True)
        ]
        return Scan(model, temperatures, tuple(one._replace(binder=each) for each in estimates))

    return make


def test_a_crossing_and_its_error(make_scan):
    """Straight curves with known errors: the root spreads by error / slope."""
    temperatures = np.linspace(90, 110, 9)
    low, high = (
        make_scan(temperatures, 0.6 - slope * (temperatures - 101), np.full(9, 0.01))
        for slope in (0.01, 0.02)
    )
    root, error, height = cross(low, high)
    assert root == pytest.approx(101.0)
    assert height == pytest.approx(0.6)
    # Errors of both curves, 9 points: 0.01 sqrt(2) / 0.01 / sqrt(9), and as much again with slope.
    assert 0.4 < error < 0.6


@pytest.mark.parametrize("transition", [93.0, 97.0, 100.0, 106.0])
def test_what_is_far_away_does_not_move_a_crossing(transition, make_scan):
    """Both curves are flat there, and in the ordered phase known a hundred times as well."""
    temperatures = np.linspace(90, 110, 7)
    curves = []
    for width in (4.0, 2.0):
        binder = 2 / 3 / (1 + np.exp((temperatures - transition) / width))
        curves.append(make_scan(temperatures, binder, 0.03 * (2 / 3 - binder) + 0.0002))
    root, error, height = cross(*curves)
    assert root == pytest.approx(transition, abs=0.4)
    assert error < 1
    assert height == pytest.approx(1 / 3, abs=0.03)
