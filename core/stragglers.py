"""How fast learners compute and talk: speed laws with jitter, pauses, failures, and links.

A gradient takes a time drawn from a gamma distribution with a given mean and coefficient of
variation, which is positive, constant at variation 0 and skewed as real step times are.  A pause
stretches the gradient in flight; a failure loses it, and the learner begins anew when it is back.
Times have any unit, as long as all of them share it.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A span of time, with its start and without its stop."""

    start: float
    stop: float  # may be infinite


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast one learner computes, and when it does not.

    Attributes:
        mean: mean time of a gradient, > 0.
        variation: coefficient of variation (standard deviation over mean) of that time, >= 0.
        pauses: times in which the learner does not compute but still takes part in averaging.
        failures: times in which it is dead: others leave it out, the gradient in flight is lost.
            An infinite stop means that it never comes back.

    Raises:
        ValueError: if a number is out of range, or intervals are empty or out of order.

    Example:
        >>> Pace(mean=2.0, pauses=[(1.0, 4.0)]).finish(0.0, work=2.0)
        5.0
    """

    mean: float = 1.0
    variation: float = 0.0
    pauses: Sequence[tuple[float, float]] = ()
    failures: Sequence[tuple[float, float]] = ()

    def __post_init__(self):
        if not 0.0 < self.mean < math.inf:
            raise ValueError(f"`mean` must be positive and finite, got {self.mean}.")
        if not 0.0 <= self.variation < math.inf:
            raise ValueError(f"`variation` must be at least 0 and finite, got {self.variation}.")
        for name in ("pauses", "failures"):
            object.__setattr__(self, name, _checked_intervals(name, getattr(self, name)))
        if any(math.isinf(stop) for _, stop in self.pauses):
            raise ValueError("`pauses` must end; use `failures` for a learner that never returns.")

    def draw(self, generator: np.random.Generator) -> float:
        """The time that one gradient takes."""
        if self.variation == 0.0:
            return self.mean
        variance = self.variation**2
        return generator.gamma(1.0 / variance, self.mean * variance)

    def finish(self, start: float, work: float) -> float:
        """When work begun at `start` ends, with the pauses that fall into it."""
        stop = start + work
        for pause in self.pauses:
            if pause[0] < stop and pause[1] > start:
                stop += pause[1] - max(pause[0], start)
        return stop

    def failure(self, start: float, stop: float) -> Interval | None:
        """The first failure that falls between two times, if any."""
        found = (Interval(*x) for x in self.failures if x[0] < stop and x[1] > start)
        return next(found, None)

    def alive(self, time: float) -> bool:
        """Whether the learner is not in a failure; it is, again, at the stop of one."""
        return not any(start <= time < stop for start, stop in self.failures)


@dataclasses.dataclass(frozen=True)
class Link:
    """What a message between two learners costs; all links are alike and carry both directions.

    Attributes:
        latency: time of an empty message, >= 0.
        bandwidth: bytes per unit of time, > 0; infinite by default.
    """

    latency: float = 0.0
    bandwidth: float = math.inf

    def __post_init__(self):
        if not 0.0 <= self.latency < math.inf:
            raise ValueError(f"`latency` must be at least 0 and finite, got {self.latency}.")
        if not self.bandwidth > 0.0:
            raise ValueError(f"`bandwidth` must be positive, got {self.bandwidth}.")

    def duration(self, num_bytes: float, num_messages: int = 1) -> float:
        """The time of messages sent one after the other, `num_bytes` in all."""
        return num_messages * self.latency + num_bytes / self.bandwidth


def equal(num_learners: int, *, mean: float = 1.0, variation: float = 0.0) -> tuple[Pace, ...]:
    """Learners of equal speed, with independent jitter.

    Args:
        num_learners: number of learners n >= 1.
        mean: mean time of a gradient.
        variation: its coefficient of variation.

    Returns:
        One pace for each learner.
    """
    return (Pace(mean, variation),) * num_learners


def straggler(
    num_learners: int,
    factor: float,
    *,
    learner: int = 0,
    mean: float = 1.0,
    variation: float = 0.0,
) -> tuple[Pace, ...]:
    """Learners of equal speed but one, which takes `factor` times as long for each gradient.

    Args:
        num_learners: number of learners n >= 1.
        factor: slow-down, for instance 2, 10 or 100.
        learner: which one is slow.
        mean: mean time of a gradient of the others.
        variation: coefficient of variation of all.

    Returns:
        One pace for each learner.

    Example:
        >>> [pace.mean for pace in straggler(3, 10.0)]
        [10.0, 1.0, 1.0]
    """
    paces = list(equal(num_learners, mean=mean, variation=variation))
    paces[learner] = Pace(factor * mean, variation)
    return tuple(paces)


def _checked_intervals(name: str, intervals: Sequence[tuple[float, float]]):
    checked = tuple(Interval(float(start), float(stop)) for start, stop in intervals)
    clock = -math.inf
    for start, stop in checked:
        if not clock <= start < stop:
            raise ValueError(
                f"`{name}` must be intervals (start, stop) in order of time that do not overlap, "
                f"got {[tuple(x) for x in checked]}."
            )
        clock = stop
    return checked
