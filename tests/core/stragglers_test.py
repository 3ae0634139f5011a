"""Paces against hand-worked times, draws against the moments of the gamma distribution."""

import math

import numpy as np
import pytest

from gossamer.core import stragglers
from gossamer.core.stragglers import Interval, Link, Pace


@pytest.mark.parametrize("variation", [0.0, 0.1, 1.0])
def test_draws_have_the_mean_and_variation(variation):
    pace, generator = Pace(3.0, variation), np.random.default_rng(0)
    draws = np.array([pace.draw(generator) for _ in range(20_000)])
    # Five standard errors of the mean, and of the standard deviation: the fourth cumulant of a
    # gamma distribution is 6 c^2 times the squared variance, c the variation.
    tolerance = 5.0 / math.sqrt(20_000)
    assert draws.mean() == pytest.approx(3.0, abs=3.0 * variation * tolerance)
    error = variation * math.sqrt((2.0 + 6.0 * variation**2) / 4.0) * tolerance
    assert draws.std() / 3.0 == pytest.approx(variation, abs=error)
    assert draws.min() > 0.0


@pytest.mark.parametrize(
    ("start", "work", "expected"),
    [
        (0.0, 1.0, 1.0),  # ends as the pause begins
        (0.0, 2.0, 4.0),
        (2.0, 1.0, 4.0),  # begins inside the pause
        (0.0, 5.0, 9.0),  # both pauses; the second is reached because of the first
        (3.0, 1.0, 4.0),
    ],
)
def test_pauses_stretch_work(start, work, expected):
    assert Pace(pauses=[(1.0, 3.0), (6.0, 8.0)]).finish(start, work) == expected


def test_failures():
    pace = Pace(failures=[(1.0, 3.0), (5.0, math.inf)])
    assert [pace.alive(time) for time in (0.9, 1.0, 2.9, 3.0, 5.0, 1e9)] == [
        *(True, False, False, True, False, False)
    ]
    assert pace.failure(0.0, 1.0) is None
    assert pace.failure(0.0, 9.0) == Interval(1.0, 3.0)
    assert pace.failure(3.0, 9.0) == Interval(5.0, math.inf)


def test_links():
    assert Link().duration(1e9) == 0.0
    assert Link(0.5, 100.0).duration(50.0, 4) == 2.5


def test_straggler():
    assert stragglers.straggler(3, 10.0, learner=1, mean=2.0, variation=0.1) == (
        Pace(2.0, 0.1),
        Pace(20.0, 0.1),
        Pace(2.0, 0.1),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": 0.0}, "`mean` must be positive"),
        ({"variation": -1.0}, "`variation` must be at least 0"),
        ({"pauses": [(2.0, 1.0)]}, "`pauses` must be intervals"),
        ({"failures": [(0.0, 2.0), (1.0, 3.0)]}, "`failures` must be intervals"),
        ({"pauses": [(0.0, math.inf)]}, "`pauses` must end"),
    ],
)
def test_bad_paces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pace(**arguments)


def test_bad_links_are_refused():
    with pytest.raises(ValueError, match="`latency` must be at least 0"):
        Link(latency=-1.0)
    with pytest.raises(ValueError, match="`bandwidth` must be positive"):
        Link(bandwidth=0.0)
