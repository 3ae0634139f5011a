"""Topologies as periodic sequences of mixtures of permutations."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import topology
from gossamer.core.mixture import Topology, check_positive


def one_peer(n):
    """Step k averages i with i - 2^k: log2(n) steps average exactly."""
    identity = tuple(range(n))
    hops = [2**k for k in range(n.bit_length() - 1)]
    shifted = [tuple((i - hop) % n for i in range(n)) for hop in hops]
    return Topology(n, tuple(((identity, 0.5), (sources, 0.5)) for sources in shifted))


def test_periodic_sequence_that_averages_exactly():
    graph = one_peer(8)
    assert graph.period == 3
    product = functools.reduce(np.matmul, [graph.matrix(step) for step in range(3)])
    np.testing.assert_array_equal(product, np.full((8, 8), 1.0 / 8.0))
    assert graph.spectral_gap() == 1.0
    np.testing.assert_array_equal(graph.matrix(4), graph.matrix(1))


def test_gap_of_a_sequence_is_the_rate_per_step():
    ring = topology.ring(8)
    twice = Topology(8, ring.mixings * 2)
    assert twice.spectral_gap() == pytest.approx(ring.spectral_gap(), rel=1e-12)


def test_learners_that_never_mix_have_no_gap():
    pairs = Topology(4, ((((0, 1, 2, 3), 0.5), ((1, 0, 3, 2), 0.5)),))
    assert pairs.spectral_gap() == pytest.approx(0.0, abs=1e-12)


def test_row_i_holds_what_learner_i_receives():
    shift = Topology(3, ((((1, 2, 0), 1.0),),))
    np.testing.assert_array_equal(shift.matrix() @ np.array([10.0, 20.0, 30.0]), [20, 30, 10])


def test_matrix_is_a_fresh_array():
    graph = topology.ring(4)
    graph.matrix()[:] = 0.0
    assert graph.matrix().sum() == pytest.approx(4.0)


def test_equal_topologies_are_one_static_argument():
    traces = []

    @functools.partial(jax.jit, static_argnums=1)
    def trace_of(x, graph):
        traces.append(graph)
        return x * float(np.trace(graph.matrix()))

    lists = [[[list(sources), weight] for sources, weight in topology.ring(4).mixings[0]]]
    same = Topology(np.int64(4), lists)
    assert same == topology.ring(4)
    assert hash(same) == hash(topology.ring(4))
    trace_of(jnp.ones([]), topology.ring(4))
    trace_of(jnp.ones([]), same)
    assert len(traces) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        same.num_learners = 5


@pytest.mark.parametrize(
    ("num_learners", "mixings", "message"),
    [
        (0, ((((), 1.0),),), "`num_learners` must be at least 1, got 0"),
        (2, (), "`mixings` must hold at least one step"),
        (2, ((((0, 0), 1.0),),), r"`sources` in step 0 .* permutation .* got \(0, 0\)"),
        (2, ((((0, 1, 2), 1.0),),), "`sources` in step 0 .* permutation"),
        (2, ((((0, 1), 1.0),), (((0, 1), 0.5), ((1, 0), 0.4))), "weights in step 1 .* got 0.9"),
        (2, ((((0, 1), 1.5), ((1, 0), -0.5)),), "`weight` in step 0 .* positive, got -0.5"),
        (2, ((((0, 1), float("nan")),),), "`weight` in step 0 .* positive, got nan"),
        (2, ((),), "weights in step 0 .* got 0.0"),
    ],
)
def test_what_is_not_doubly_stochastic_is_refused(num_learners, mixings, message):
    with pytest.raises(ValueError, match=message):
        Topology(num_learners, mixings)


def test_positive_integers_are_told_from_others():
    assert check_positive(np.int64(3), "rows") == 3
    with pytest.raises(ValueError, match="`rows` must be at least 1, got 0"):
        check_positive(0, "rows")
    with pytest.raises(TypeError):
        check_positive(2.5, "rows")
