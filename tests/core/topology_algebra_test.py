"""Derived topologies against the matrices that they are made of."""

import numpy as np
import pytest

from gossamer.core import mixing_analysis, topology, topology_algebra

GRAPHS = [topology.ring(6), topology.one_peer_exponential(6), topology.random_matching(6, 0, 3)]


def decay(matrices):
    """The factor by which a step shrinks the disagreement, in the long run of these matrices."""
    x = np.random.default_rng(0).standard_normal(len(matrices[0]))
    logarithm = 0.0
    for matrix in matrices:
        x = matrix @ x
        x -= x.mean()
        logarithm += np.log(np.linalg.norm(x))
        x /= np.linalg.norm(x)
    return np.exp(logarithm / len(matrices))


@pytest.mark.parametrize("graph", GRAPHS)
def test_lazy_is_half_the_identity(graph):
    softened = topology_algebra.lazy(graph)
    assert softened.period == graph.period
    for step in range(graph.period):
        expected = (np.eye(6) + graph.matrix(step)) / 2.0
        np.testing.assert_allclose(softened.matrix(step), expected, rtol=1e-12, atol=1e-15)


def test_lazy_moves_the_smallest_eigenvalue_of_an_even_ring():
    softened = topology_algebra.lazy(topology.ring(8))
    assert mixing_analysis.lambda_min(softened) == pytest.approx(1.0 / 3.0, rel=1e-12)
    assert len(softened.mixings[0]) == 3


def test_reshuffled_rounds_hold_the_whole_bank_in_new_orders():
    bank = topology.random_ring(8, seed=0, period=5)
    shuffled = topology_algebra.reshuffle(bank, seed=1, num_rounds=4)
    rounds = [shuffled.mixings[5 * r : 5 * r + 5] for r in range(4)]
    assert all(sorted(each) == sorted(bank.mixings) for each in rounds)
    assert len(set(rounds)) == 4
    assert shuffled == topology_algebra.reshuffle(bank, seed=1, num_rounds=4)
    assert shuffled != topology_algebra.reshuffle(bank, seed=2, num_rounds=4)


@pytest.mark.parametrize("n", [16, 32])
def test_a_reshuffled_bank_mixes_as_fresh_rings_do(n):
    generator = np.random.default_rng(0)
    ring = topology.ring(n).matrix()
    orders = [generator.permutation(n) for _ in range(2048)]
    fresh = decay([ring[np.ix_(order, order)] for order in orders])
    graph = topology_algebra.reshuffle(topology.random_ring(n, seed=0), seed=0, num_rounds=128)
    # The logarithm of one step's factor spreads by about 0.3: standard error 0.007 for 2048 steps.
    found = decay([graph.matrix(step) for step in range(graph.period)])
    assert found == pytest.approx(fresh, rel=5.0 * np.sqrt(2.0) * 0.007)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("across", [topology.ring(4), topology.one_peer_exponential(4)])
def test_two_stages_are_the_hierarchical_matrix_at_fewer_messages(across, size):
    inside, between = topology_algebra.node_stages(across, size)
    whole = topology.hierarchical(across, size)
    for step in range(across.period):
        np.testing.assert_allclose(
            between.matrix(step) @ inside.matrix(step), whole.matrix(step), rtol=0, atol=1e-15
        )
        assert len(between.mixings[step]) == len(across.mixings[step])
        assert len(whole.mixings[step]) == size * len(across.mixings[step])
    np.testing.assert_array_equal(inside.matrix() > 0.0, np.kron(np.eye(4), np.ones((size, size))))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`num_rounds` must be at least 1, got 0"):
        topology_algebra.reshuffle(topology.ring(4), 0, 0)
    with pytest.raises(ValueError, match="`learners_per_node` must be at least 1, got 0"):
        topology_algebra.node_stages(topology.ring(4), 0)
