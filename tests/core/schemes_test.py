"""Schemes against the closed laws of throughput and staleness, and against hand-worked failures."""

import math

import numpy as np
import pytest

from gossamer.core import schemes, stragglers, topology, traces
from gossamer.core.asynchrony import simulate
from gossamer.core.schemes import Pairwise, Ring, Synchronous
from gossamer.core.stragglers import Link, Pace
from gossamer.core.traces import ALL, Read

N = 16
HORIZON = 500.0
SCHEMES = {
    "pairwise": Pairwise(topology.ring(4)),
    "anybody": Pairwise(topology.complete(4)),
    "fixed ring": Ring(),
    "randomized ring": Ring(randomized=True),
    "synchronous": Synchronous(topology.ring(4)),
    "all-reduce": Synchronous(topology.complete(4), "atc"),
    "delay by one": schemes.delay_by_one(4, "B"),
}
ASYNCHRONOUS = {"pairwise": Pairwise(topology.ring(N)), "ring": Ring(), "random": Ring(True)}


@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("scheme", ASYNCHRONOUS)
def test_laws_of_asynchrony(scheme, factor):
    paces = stragglers.straggler(N, factor, variation=0.1)
    link = Link(latency=0.8)  # Hidden behind every gradient.
    summary = traces.summarize(simulate(ASYNCHRONOUS[scheme], paces, horizon=HORIZON, link=link))
    # Each learner may have a fraction of an update in flight, out of HORIZON of them; jitter moves
    # a learner's count by 0.1 sqrt(HORIZON) = 2.2, hence the sum by 9.
    expected = N - 1 + 1.0 / factor
    assert abs(summary.throughput - expected) < (N + 4 * 9) / HORIZON
    mean = np.average(summary.mean_staleness, weights=summary.updates)
    # Every update in flight is missing from the count: at most n of n HORIZON gradients, each with
    # at most the delay of a slow one.
    assert abs(mean - (N - 1)) < N * factor / HORIZON + 0.05
    # The slow learner sees its gradient time times the rate of the others; 5 standard errors over
    # its HORIZON / factor gradients of 10% jitter.
    slow = factor * (N - 1)
    tolerance = slow * 5.0 * 0.1 / math.sqrt(HORIZON / factor) + 1.0
    assert abs(summary.mean_staleness[0] - slow) < tolerance
    if factor > 1.0:
        others = N - 2 + 1.0 / factor
        np.testing.assert_allclose(summary.mean_staleness[1:], others, atol=0.3)


@pytest.mark.parametrize("factor", [1.0, 2.0, 10.0])
def test_laws_of_rounds(factor):
    """Each round lasts as long as the slowest gradient; communication adds to it or hides."""
    paces = stragglers.straggler(N, factor, variation=0.1)
    generators = [np.random.default_rng([0, 1, i]) for i in range(N)]
    draws = np.array(
        [[p.draw(g) for _ in range(100)] for p, g in zip(paces, generators, strict=True)]
    )
    slowest = draws.max(axis=0)
    link = Link(latency=0.5 / (2 * (N - 1)))  # An all-reduce of 0.5.

    def times(scheme, **arguments):
        trace = simulate(scheme, paces, horizon=slowest.sum() - 0.01, **arguments)
        return trace.time[trace.reads != Read.NOTHING]

    alone = times(Synchronous(topology.complete(N), "atc"))
    np.testing.assert_allclose(alone, np.cumsum(slowest)[:99], rtol=1e-12)
    added = times(Synchronous(topology.complete(N), "atc"), link=link)
    np.testing.assert_allclose(added, np.cumsum(slowest + 0.5)[: len(added)], rtol=1e-12)
    for form in ("A", "B"):
        hidden = times(schemes.delay_by_one(N, form), link=link)
        np.testing.assert_allclose(hidden, np.cumsum(slowest)[:99], rtol=1e-12)
    slow_link = Link(latency=20.0 / (2 * (N - 1)))
    np.testing.assert_allclose(
        np.diff(times(schemes.delay_by_one(N), link=slow_link)), 20.0, rtol=1e-12
    )


@pytest.mark.parametrize("form", ["A", "B"])
def test_staleness_of_delay_by_one(form):
    trace = simulate(schemes.delay_by_one(3, form), stragglers.equal(3), horizon=10.0)
    assert traces.summarize(trace).max_staleness.tolist() == [0 if form == "A" else 1] * 3
    assert set(trace.learner) == {ALL}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_traces_keep_their_invariants_and_depend_on_the_seed(scheme):
    paces = list(stragglers.equal(4, variation=0.3))
    paces[2] = Pace(1.0, 0.3, failures=[(3.0, 6.0)])

    def run(seed):
        return simulate(SCHEMES[scheme], paces, horizon=20.0, link=Link(0.3), seed=seed)

    trace, again, other = run(0), run(0), run(1)
    for found, expected in zip(again, trace, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(other.time, trace.time)
    assert (np.diff(trace.time) >= 0.0).all()
    assert trace.time[-1] <= 20.0
    for event in range(len(trace.time)):
        assert len(set(trace.members[event])) == trace.members.shape[1]
        matrix = trace.matrix(event)
        np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=1e-12)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("scheme", ["pairwise", "anybody", "fixed ring", "randomized ring"])
def test_a_dead_learner_stops_nobody_and_returns_from_a_neighbor(scheme):
    paces = list(stragglers.equal(4, variation=0.1))
    paces[2] = Pace(1.0, 0.1, failures=[(10.5, 30.25), (60.0, math.inf)])
    trace = simulate(SCHEMES[scheme], paces, horizon=100.0, link=Link(0.5))
    dead = ((trace.time > 10.5) & (trace.time < 30.25)) | (trace.time > 60.0)
    assert 2 not in trace.learner[dead & trace.applies]
    for event in np.flatnonzero(dead):
        np.testing.assert_array_equal(trace.matrix(event)[2], np.eye(4)[2])
    (rejoin,) = np.flatnonzero(trace.pulls >= 0)
    assert (trace.time[rejoin], trace.learner[rejoin]) == (30.25, 2)
    assert trace.pulls[rejoin] in ([1, 3] if scheme == "pairwise" else [0, 1, 3])
    updates = traces.summarize(trace).updates
    # 10% jitter moves a count of 100 by 1; the dead learner misses 60 and two in flight.
    np.testing.assert_allclose(updates, [99, 99, 38, 99], atol=6)


def test_a_dead_learner_stops_rounds():
    paces = [Pace(), Pace(failures=[(2.5, 10.0), (20.5, math.inf)]), Pace()]
    trace = simulate(Synchronous(topology.ring(3)), paces, horizon=100.0)
    rounds = trace.time[trace.applies]
    np.testing.assert_array_equal(rounds, [1.0, 2.0, *range(11, 21)])
    (rejoin,) = np.flatnonzero(trace.pulls >= 0)
    assert (trace.time[rejoin], trace.learner[rejoin]) == (10.0, 1)


def test_pauses_delay_one_learner():
    paces = [Pace(pauses=[(2.5, 12.5)]), Pace()]
    trace = simulate(Pairwise(topology.ring(2)), paces, horizon=20.0)
    np.testing.assert_array_equal(trace.time[trace.learner == 0], [1, 2, *range(13, 21)])
    np.testing.assert_array_equal(trace.time[trace.learner == 1], np.arange(1, 21))


def test_exchanges_that_last_longer_than_gradients_set_the_pace():
    paces, link = stragglers.equal(2), Link(latency=1.0, bandwidth=4.0)
    scheme = Pairwise(topology.ring(2))
    trace = simulate(scheme, paces, horizon=9.0, link=link, num_bytes=8.0)
    np.testing.assert_array_equal(trace.time, [3, 3, 6, 6, 9, 9])


def test_a_single_learner_trains_alone():
    for scheme in (Pairwise(topology.ring(1)), Ring(), Synchronous(topology.ring(1))):
        paces = [Pace(failures=[(2.5, 4.0)])]
        trace = simulate(scheme, paces, horizon=6.0, link=Link(0.25))
        np.testing.assert_array_equal(trace.time[trace.applies], [1, 2, 5, 6])
        assert (trace.pulls == -1).all()


def test_bad_schemes_are_refused():
    with pytest.raises(ValueError, match="`order` must be"):
        Synchronous(topology.ring(3), "later")
    with pytest.raises(ValueError, match='`delayed` needs order="awc"'):
        Synchronous(topology.ring(3), "atc", delayed=True)
    with pytest.raises(ValueError, match="`form` must be"):
        schemes.delay_by_one(3, "C")
    with pytest.raises(ValueError, match="`link` must take time in a ring"):
        simulate(Ring(), stragglers.equal(3), horizon=1.0)
    for scheme in (Pairwise(topology.ring(4)), Synchronous(topology.ring(4))):
        with pytest.raises(ValueError, match=r"got 4 learners and 3 paces"):
            simulate(scheme, stragglers.equal(3), horizon=1.0)
