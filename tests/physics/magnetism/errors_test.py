"""Errors of correlated series whose truth is known."""

import numpy as np
import pytest

from gossamer.physics.magnetism.errors import estimate, integrated_time, jackknife


def autoregressive(rho, shape, seed=0):
    """Series of variance 1 with correlations rho^t, tau = (1 + rho) / (2 (1 - rho))."""
    noise = np.random.default_rng(seed).normal(size=shape)
    series = np.empty(shape)
    series[..., 0] = noise[..., 0]
    for t in range(1, shape[-1]):
        series[..., t] = rho * series[..., t - 1] + np.sqrt(1 - rho**2) * noise[..., t]
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_integrated_time(rho):
    tau = (1 + rho) / (2 * (1 - rho))
    found = integrated_time(autoregressive(rho, (16, 8000)))
    # Sokal: the relative error is sqrt(2 (2 w + 1) / N) for a window w = 6 tau.
    assert found == pytest.approx(tau, rel=4 * np.sqrt(2 * (12 * tau + 1) / 128000))


def test_errors_are_those_of_many_runs():
    series = autoregressive(0.8, (200, 2000), seed=1)
    means = series.mean(1)
    told = np.mean([estimate(each).error for each in series])
    assert told == pytest.approx(means.std(), rel=0.2)  # 200 runs tell 1 / sqrt(400) = 5%
    told = np.mean([jackknife(lambda x: x[0] ** 2 + x[0], each + 1).error for each in series])
    many = ((1 + means) ** 2 + means + 1).std()
    assert told == pytest.approx(many, rel=0.25)


def test_constants_and_short_series():
    assert estimate(np.ones(50)).error == 0
    assert integrated_time(np.ones(2)) == 0.5
    assert estimate(np.array([1.0, 2.0, 3.0, 4.0])).value == 2.5
