"""Averages over the fields of a junction."""

import numpy as np
import pytest

from gossamer.physics.optics.junction import abrupt_junction


def test_uniform_light_sees_all_fields_alike():
    profile = abrupt_junction(10.0, width=100.0, num_fields=6)
    assert profile.weights.sum() == pytest.approx(1)
    assert profile.weights @ profile.fields == pytest.approx(5)
    assert profile.weights @ profile.fields**3 == pytest.approx(10**3 / 4)


def test_a_small_spot_sees_the_peak_and_a_large_one_none():
    small, large = (abrupt_junction(10.0, 100.0, spot, 40) for spot in (5.0, 5000.0))
    assert small.weights @ small.fields == pytest.approx(
        10 * (1 - 5 / np.sqrt(2 * np.pi) / 100), 1e-3
    )
    assert large.fields[-1] == 0
    assert large.weights[-1] > 0.95
    assert large.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0.0, 1.0), "`peak` of a junction must be positive, got 0.0"),
        ((1.0, -1.0), "`width` of a junction must be positive, got -1.0"),
        ((1.0, 1.0, 0.0), "`spot` of a junction must be positive, got 0.0"),
        ((1.0, 1.0, 1.0, 0), "`num_fields` must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        abrupt_junction(*arguments)
