"""Loops: Stoner and Wohlfarth without noise, and what temperature and rate do."""

import jax
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.hysteresis import coercivity, hysteresis
from gossamer.physics.samplers.dynamics import llg
from gossamer.physics.units import BOHR_MAGNETON

TINY = Lattice("triangular", (3, 3))
ANISOTROPY = 0.1  # meV
SWITCHING = 2 * ANISOTROPY / BOHR_MAGNETON  # T, 2 K / mu


@pytest.mark.parametrize("angle", [0.01, np.pi / 4])
def test_stoner_wohlfarth(angle):
    """A single domain switches at 2 K / mu along its axis and at K / mu 45 degrees off it.

    In between at 2 K / mu over (cos^(2/3) + sin^(2/3))^(3/2).
    """
    part = (np.cos(angle) ** (2 / 3) + np.sin(angle) ** (2 / 3)) ** -1.5
    model = SpinModel(TINY, exchange=0.02, anisotropy=ANISOTROPY)
    loop = hysteresis(
        model,
        1e-9,
        key=jax.random.key(0),
        amplitude=1.2 * SWITCHING,
        num=121,  # steps of 2% of the switching field
        steps=400,
        replicas=1,
        direction=(np.sin(angle), 0.0, np.cos(angle)),
        make=lambda model: llg(model, time_step=0.2, damping=1.0),
    )
    jumps = np.diff(loop.magnetization[0][:121])
    switched = loop.field[np.argmin(jumps) + 1]
    # It switches at the next field, or the one after it: the way out is slow at first.
    assert 0 <= -switched / SWITCHING - part < 0.04


def test_loops_close_with_temperature_and_open_with_rate():
    model = SpinModel(Lattice("triangular", (6, 6)), exchange=5.0, anisotropy=2.0)
    options = {"key": jax.random.key(0), "amplitude": 120.0, "num": 61, "replicas": 8}
    cold = hysteresis(model, 30.0, steps=20, **options)
    warm = hysteresis(model, 60.0, steps=20, **options)
    fast = hysteresis(model, 60.0, steps=5, **options)
    assert cold.coercivity > warm.coercivity + 3 * np.hypot(cold.error, warm.error) > 0
    assert fast.coercivity > warm.coercivity + 3 * np.hypot(fast.error, warm.error)
    assert fast.rate == pytest.approx(4 * warm.rate) == pytest.approx(0.8)
    assert 1 > cold.remanence > warm.remanence > 0.5  # spin waves take some of it
    np.testing.assert_allclose(cold.layers[:, 0], cold.magnetization.mean(0), atol=1e-5)


def test_coercivity_of_a_drawn_loop():
    fields = np.array([2.0, 1, 0, -1, -2, -1, 0, 1, 2])
    values = np.array([1.0, 1, 1, -1, -1, -1, -1, 1, 1])
    assert coercivity(fields, values) == 0.5
    assert np.isnan(coercivity(fields, np.ones(9)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"amplitude": 0.0}, "`amplitude` must be positive"),
        ({"amplitude": 1.0, "num": 2}, "`num` must be at least 3"),
        ({"amplitude": 1.0, "direction": (0, 0, 0)}, "`direction` must be a vector"),
    ],
)
def test_bad_loops(key, options, match):
    with pytest.raises(ValueError, match=match):
        hysteresis(SpinModel(TINY), 10.0, key=key, **options)
