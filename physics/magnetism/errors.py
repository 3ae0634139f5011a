"""Errors of averages over a Markov chain, whose values are not independent.

The variance of a mean of N values is 2 tau s^2 / N, with the integrated autocorrelation time

    tau = 1/2 + sum_t rho(t),

summed up to the first window t >= 6 tau.  Functions of several means get their errors from a
jackknife over blocks much longer than tau.

References:
    A. Sokal, "Monte Carlo Methods in Statistical Mechanics: Foundations and New Algorithms", 1997.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

WINDOW = 6.0
NUM_BLOCKS = 24


class Estimate(NamedTuple):
    """A number with its standard error."""

    value: float
    error: float
    autocorrelation_time: float = 0.5  # in measurements; 0.5 where they are independent


def integrated_time(series: np.ndarray) -> float:
    """Tau of a series, in its steps.

    Args:
        series: ``[num]``, or ``[replicas, num]`` of independent runs.

    Returns:
        At least 0.5, which is independence; 0.5 for a constant.
    """
    series = np.atleast_2d(np.asarray(series, np.float64))
    num = series.shape[1]
    centered = series - series.mean()
    variance = np.mean(centered**2)
    if num < 4 or variance <= 1e-18 * max(float(np.mean(series**2)), 1e-300):
        return 0.5
    size = 1 << (2 * num - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(centered, size, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum.mean(0), size)[:num] / (num - np.arange(num))
    sums = np.cumsum(correlation / correlation[0]) - 0.5
    inside = np.arange(num) >= WINDOW * sums
    return float(max(sums[np.argmax(inside)] if inside.any() else sums[-1], 0.5))


def estimate(series: np.ndarray) -> Estimate:
    """The mean of a series ``[num]`` or ``[replicas, num]`` with its error."""
    series = np.asarray(series, np.float64)
    tau = integrated_time(series)
    error = np.sqrt(2 * tau * np.var(series) / max(series.size - 1, 1))
    return Estimate(float(series.mean()), float(error), tau)


def jackknife(function: Callable[[list], np.ndarray], *series: np.ndarray) -> Estimate:
    """A function of means with its error.

    Args:
        function: of a list of means, one for each series.
        series: each ``[num]`` or ``[replicas, num]``.

    Returns:
        The function of all means; the error is that of leaving out one block after the other.
    """
    blocks = [_blocks(np.atleast_2d(each)) for each in series]
    total = float(function([each.mean() for each in blocks]))
    num = len(blocks[0])
    left_out = np.array(
        [function([np.delete(each, place).mean() for each in blocks]) for place in range(num)],
        np.float64,
    )
    error = np.sqrt((num - 1) * np.mean((left_out - left_out.mean()) ** 2))
    return Estimate(total, float(error), integrated_time(series[0]))


def _blocks(series: np.ndarray) -> np.ndarray:
    """Means of blocks, ``[num_blocks]``; what does not fill a block is left out."""
    replicas, num = series.shape
    each = max(1, min(num, -(-NUM_BLOCKS // replicas)))
    return series[:, : num // each * each].reshape(replicas * each, -1).mean(1)
