"""Schemes of decentralized training as event-driven clocks: when each learner averages and updates.

    Pairwise      AD-PSGD: a learner that has its gradient averages with a random neighbor, then
                  applies it; nobody waits
    Ring          communication threads average left, self and right round after round, each
                  learner applies its gradients when they are ready; fixed or randomly relabelled
    Synchronous   rounds that end when the slowest learner has its gradient

An asynchronous scheme conserves work: with n learners, one of them s times slower, it does
n - 1 + 1/s updates per mean gradient time, the mean staleness is n - 1, that of the slow learner
about s (n - 1).  A synchronous one does n / E[max of n times], n / s with such a learner.

References:
    X. Lian et al., "Asynchronous Decentralized Parallel Stochastic Gradient Descent", 2017,
        arXiv:1710.06952.
    X. Cui et al., "Asynchronous Decentralized Distributed Training of Acoustic Models", 2021,
        arXiv:2110.11199.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from . import topology
from .gossip import Order
from .stragglers import Link, Pace
from .topology import Topology
from .traces import ALL, NOBODY, Read, Recorder, Trace

HALVES = np.full((2, 2), 0.5)


class Setting(NamedTuple):
    """What a scheme runs on."""

    paces: Sequence[Pace]  # one for each learner
    link: Link
    num_bytes: float  # of one learner's parameters
    horizon: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Pairwise:
    """AD-PSGD: a random neighbor, an average of two, then the gradient of the weights read before.

    The exchange overlaps the gradient: an update takes the longer of the two.

    Attributes:
        topology: whose edges are the pairs; `ring` for neighbors, `complete` for anybody.
    """

    topology: Topology

    def run(self, setting: Setting) -> Trace:
        """See `asynchrony.simulate`."""
        num_learners = len(setting.paces)
        _check_size(self.topology, num_learners)
        partners = neighbors(self.topology)
        generator = _shared_generator(setting.seed)
        record = Recorder(num_learners, min(2, num_learners))
        exchange = setting.link.duration(setting.num_bytes)
        for time, learner, lost in _completions(setting, exchange):
            partner = _choose(partners[learner], setting.paces, time, generator)
            if lost:
                record.add(time, learner, pulls=partner, reads=Read.AFTER)
            elif partner == NOBODY:
                record.add(time, learner, applies=True, reads=Read.AFTER)
            else:
                pair = (learner, partner)
                record.add(
                    time, learner, members=pair, matrix=HALVES, applies=True, reads=Read.AFTER
                )
        return record.trace()


@dataclasses.dataclass(frozen=True)
class Ring:
    """Communication threads average around a ring all the time, whatever the gradients do.

    A round takes the time of two messages, one for each neighbor, and replaces the weights of every
    living learner at its end.

    Attributes:
        randomized: whether learners take new places in every round, drawn from the shared seed.
    """

    randomized: bool = False

    def run(self, setting: Setting) -> Trace:
        """See `asynchrony.simulate`."""
        num_learners = len(setting.paces)
        period = setting.link.duration(2.0 * setting.num_bytes)
        if period == 0.0:
            raise ValueError(
                "`link` must take time in a ring, whose rounds follow each other without a pause, "
                "got none; give Link(latency=...), or a bandwidth and `num_bytes`."
            )
        generator = _shared_generator(setting.seed)
        record = Recorder(num_learners, num_learners)
        matrices = {m: topology.ring(m).matrix() for m in range(1, num_learners + 1)}
        num_rounds = 0

        def average_until(time):
            nonlocal num_rounds
            while (num_rounds + 1) * period <= time:
                num_rounds += 1
                end = num_rounds * period
                places = range(num_learners)
                if self.randomized:
                    places = generator.permutation(num_learners).tolist()
                living = tuple(i for i in places if setting.paces[i].alive(end))
                record.add(end, members=living, matrix=matrices.get(len(living)))

        for time, learner, lost in _completions(setting):
            average_until(time)
            if lost:
                others = [i for i in range(num_learners) if i != learner]
                source = _choose(others, setting.paces, time, generator)
                record.add(time, learner, pulls=source, reads=Read.AFTER)
            else:
                record.add(time, learner, applies=True, reads=Read.AFTER)
        average_until(setting.horizon)
        return record.trace()


@dataclasses.dataclass(frozen=True)
class Synchronous:
    """Rounds with a barrier for all: D-PSGD, synchronous SGD and delay-by-one.

    With C the time of communication, a round takes max(gradients) + C in the order "atc", where the
    weights must be ready first, and max(gradients, C) in the order "awc", which overlaps the two.
    A uniform topology costs an all-reduce around a ring; any other, one message per exchange.
    A dead learner holds up all others until it returns.

    Synchronous SGD is ``Synchronous(complete(n), "atc")``: exact for optimizers linear in the
    gradient, since weights are averaged, not gradients.

    Attributes:
        topology: who averages with whom.
        order: see `gossip.mix`.
        delayed: whether a gradient is that of the weights one round earlier; needs "awc".
    """

    topology: Topology
    order: Order = "awc"
    delayed: bool = False

    def __post_init__(self):
        if self.order not in ("awc", "atc"):
            raise ValueError(f'`order` must be "awc" or "atc", got {self.order!r}.')
        if self.delayed and self.order != "awc":
            raise ValueError('`delayed` needs order="awc", which overlaps the rounds.')

    def run(self, setting: Setting) -> Trace:
        """See `asynchrony.simulate`."""
        num_learners = len(setting.paces)
        _check_size(self.topology, num_learners)
        everyone = tuple(range(num_learners))
        generators = _generators(setting.seed, num_learners)
        shared = _shared_generator(setting.seed)
        record = Recorder(num_learners, num_learners)
        matrices = [self.topology.matrix(step) for step in range(self.topology.period)]
        overlaps = self.order == "awc"
        snapshot = Read.BEFORE if self.delayed else Read.AFTER
        step, time = 0, 0.0
        while True:
            finished, rejoins = _round(setting.paces, time, generators)
            for rejoin, learner in rejoins:
                if rejoin <= setting.horizon:
                    others = [i for i in everyone if i != learner]
                    source = _choose(others, setting.paces, rejoin, shared)
                    record.add(rejoin, learner, pulls=source, reads=Read.AFTER)
            communication = self._communication(setting, step)
            time = max(finished, time + communication) if overlaps else finished + communication
            if time > setting.horizon:
                return record.trace()
            mixing = {"members": everyone, "matrix": matrices[step % len(matrices)]}
            if overlaps:
                record.add(time, ALL, **mixing, applies=True, reads=snapshot)
            else:
                record.add(finished, ALL, applies=True)
                record.add(time, ALL, **mixing, reads=Read.AFTER)
            step += 1

    def _communication(self, setting: Setting, step: int) -> float:
        n = self.topology.num_learners
        if np.allclose(self.topology.matrix(step), 1.0 / n, rtol=1e-12):
            return setting.link.duration(2.0 * (n - 1) / n * setting.num_bytes, 2 * (n - 1))
        mixing = self.topology.mixings[step % self.topology.period]
        num_sent = sum(sources != tuple(range(n)) for sources, _ in mixing)
        return setting.link.duration(num_sent * setting.num_bytes)


def delay_by_one(num_learners: int, form: Literal["A", "B"] = "A") -> Synchronous:
    """Delay-by-one: the all-reduce of the weights overlaps the gradient.

    Form A is x_i <- mean_j x_j - a g(x_i); form B takes g at the x_i of one round before.

    Args:
        num_learners: number of learners n >= 1.
        form: "A" or "B".

    Returns:
        A synchronous scheme.

    Raises:
        ValueError: if `form` is unknown.
    """
    if form not in ("A", "B"):
        raise ValueError(f'`form` must be "A" or "B", got {form!r}.')
    return Synchronous(topology.complete(num_learners), delayed=form == "B")


def neighbors(graph: Topology) -> list[list[int]]:
    """The other learners from which each learner receives in any step of the period."""
    weights = np.sum([graph.matrix(step) for step in range(graph.period)], axis=0)
    n = graph.num_learners
    return [[j for j in range(n) if j != i and weights[i, j] > 0.0] for i in range(n)]


def _check_size(graph: Topology, num_learners: int) -> None:
    if graph.num_learners != num_learners:
        raise ValueError(
            f"`topology` must have one learner for each pace, got {graph.num_learners} learners "
            f"and {num_learners} paces."
        )


def _completions(setting: Setting, least: float = 0.0) -> Iterator[tuple[float, int, bool]]:
    """(time, learner, lost) of gradients in order of completion; a lost one at its rejoin.

    No gradient takes less than `least`.
    """
    generators = _generators(setting.seed, len(setting.paces))
    queue: list[tuple[float, int, bool]] = []

    def begin(learner, start):
        pace = setting.paces[learner]
        end, lost = _outcome(pace, start, max(pace.draw(generators[learner]), least))
        heapq.heappush(queue, (end, learner, lost))

    for learner in range(len(setting.paces)):
        begin(learner, 0.0)
    while queue and queue[0][0] <= setting.horizon:
        event = heapq.heappop(queue)
        yield event
        begin(event[1], event[0])


def _round(
    paces: Sequence[Pace], start: float, generators: Sequence[np.random.Generator]
) -> tuple[float, list[tuple[float, int]]]:
    """When the last learner has its gradient, and the (time, learner) of rejoins before that."""
    finished, rejoins = start, []
    for learner, (pace, generator) in enumerate(zip(paces, generators, strict=True)):
        end, lost = _outcome(pace, start, pace.draw(generator))
        while lost and math.isfinite(end):
            rejoins.append((end, learner))
            end, lost = _outcome(pace, end, pace.draw(generator))
        finished = max(finished, end)
    return finished, sorted(rejoins)


def _outcome(pace: Pace, start: float, work: float) -> tuple[float, bool]:
    """When a gradient ends, or (lost) when its learner returns from a failure."""
    end = pace.finish(start, work)
    failure = pace.failure(start, end)
    return (end, False) if failure is None else (failure.stop, True)


def _choose(
    candidates: Sequence[int], paces: Sequence[Pace], time: float, generator: np.random.Generator
) -> int:
    living = [i for i in candidates if paces[i].alive(time)]
    return living[generator.integers(len(living))] if living else NOBODY


def _generators(seed: int, num_learners: int) -> list[np.random.Generator]:
    """One stream for each learner, so that its times do not depend on the scheme."""
    return [np.random.default_rng([seed, 1, learner]) for learner in range(num_learners)]


def _shared_generator(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 0])
