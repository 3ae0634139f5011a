"""Communication graphs against their definitions and the closed forms of their spectra."""

import functools
import itertools
import math

import numpy as np
import pytest

from gossamer.core import mixing_analysis, topology

SIZES = (1, 2, 3, 4, 5, 6, 8, 16)


def two_rows(n):
    rows = 2 - n % 2
    return topology.torus(rows, n // rows)


def nodes_of_two(n):
    size = 2 - n % 2
    return topology.hierarchical(topology.ring(n // size), size)


FAMILIES = {
    "ring": topology.ring,
    "torus": two_rows,
    "complete": topology.complete,
    "star": topology.star,
    "exponential": topology.exponential,
    "one-peer exponential": topology.one_peer_exponential,
    "base graph": topology.base_graph,
    "base graph of 2 peers": functools.partial(topology.base_graph, num_peers=2),
    "random ring": functools.partial(topology.random_ring, seed=0, period=3),
    "random matching": functools.partial(topology.random_matching, seed=0, period=3),
    "hierarchical": nodes_of_two,
}
DIRECTED = {"exponential", "one-peer exponential"}


def eigenvalues(graph):
    return np.linalg.eigvalsh(graph.matrix())


def assert_spectrum(graph, expected):
    np.testing.assert_allclose(eigenvalues(graph), np.sort(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
def test_battery(family):
    for n in SIZES:
        graph = FAMILIES[family](n)
        assert graph.num_learners == n
        for step in range(graph.period):
            w = graph.matrix(step)
            assert w.shape == (n, n)
            assert mixing_analysis.is_column_stochastic(w)
            assert mixing_analysis.is_column_stochastic(w.T)
            assert w.min() >= 0.0
        assert 0.0 <= graph.spectral_gap() <= 1.0
        assert mixing_analysis.is_symmetric(graph) or family in DIRECTED
        if "random" not in family:
            assert mixing_analysis.is_connected(graph)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 16])
def test_ring_weights_self_left_and_right_by_a_third(n):
    expected = np.zeros((n, n))
    for i in range(n):
        for j in (i - 1, i, i + 1):
            expected[i, j % n] += 1.0 / 3.0
    np.testing.assert_allclose(topology.ring(n).matrix(), expected, rtol=1e-15)


def test_small_rings_average_over_distinct_members():
    np.testing.assert_array_equal(topology.ring(1).matrix(), [[1.0]])
    np.testing.assert_array_equal(topology.ring(2).matrix(), [[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("n", [3, 4, 5, 8, 16])
def test_ring_eigenvalues(n):
    assert_spectrum(topology.ring(n), (1.0 + 2.0 * np.cos(2.0 * np.pi * np.arange(n) / n)) / 3.0)


@pytest.mark.parametrize(
    ("n", "rounded"), [(8, 0.19526), (16, 0.05075), (32, 0.01281), (64, 0.00321), (128, 0.00080)]
)
def test_ring_gap(n, rounded):
    gap = topology.ring(n).spectral_gap()
    assert gap == pytest.approx((2.0 / 3.0) * (1.0 - np.cos(2.0 * np.pi / n)), rel=1e-10)
    assert gap == pytest.approx(rounded, abs=5e-6)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (3, 5), (4, 4)])
def test_torus_eigenvalues(rows, columns):
    a, b = np.meshgrid(np.arange(rows) / rows, np.arange(columns) / columns)
    expected = (1.0 + 2.0 * np.cos(2.0 * np.pi * a) + 2.0 * np.cos(2.0 * np.pi * b)) / 5.0
    assert_spectrum(topology.torus(rows, columns), expected.ravel())


def test_torus_neighbors_sit_above_below_left_and_right():
    w = topology.torus(3, 4).matrix()
    assert np.flatnonzero(w[5]).tolist() == [1, 4, 5, 6, 9]  # row 1, column 1
    np.testing.assert_allclose(w[5, [1, 4, 5, 6, 9]], 0.2, rtol=1e-15)


def test_thin_tori_are_rings():
    np.testing.assert_array_equal(topology.torus(1, 6).matrix(), topology.ring(6).matrix())
    np.testing.assert_array_equal(topology.torus(5, 1).matrix(), topology.ring(5).matrix())


@pytest.mark.parametrize("m", [0, 1, 2, 3, 4])
def test_hypercube_eigenvalues(m):
    graph = topology.hypercube(2**m)
    expected = [1.0 - 2.0 * d / (m + 1.0) for d in range(m + 1) for _ in range(math.comb(m, d))]
    assert_spectrum(graph, expected)
    assert graph.spectral_gap() == pytest.approx(1.0 if m == 0 else 2.0 / (m + 1.0), rel=1e-12)
    for i, j in itertools.product(range(2**m), repeat=2):
        assert (graph.matrix()[i, j] > 0.0) == ((i ^ j).bit_count() <= 1)


@pytest.mark.parametrize("n", SIZES)
def test_complete_averages_exactly(n):
    np.testing.assert_allclose(topology.complete(n).matrix(), np.full((n, n), 1.0 / n), rtol=1e-15)
    assert topology.complete(n).spectral_gap() == 1.0


@pytest.mark.parametrize("n", [3, 4, 7])
def test_star_eigenvalues(n):
    graph = topology.star(n)
    assert_spectrum(graph, [1.0, 0.0] + [1.0 - 1.0 / n] * (n - 2))
    assert graph.spectral_gap() == pytest.approx(1.0 / n, rel=1e-12)
    assert np.count_nonzero(graph.matrix()[1:, 1:]) == n - 1  # Leaves do not meet.


@pytest.mark.parametrize("m", [3, 4, 5, 6, 7])
def test_exponential_gap(m):
    assert topology.exponential(2**m).spectral_gap() == pytest.approx(2.0 / (m + 1.0), rel=1e-12)


def test_exponential_hops():
    np.testing.assert_allclose(topology.exponential(6).matrix()[0], [0.25, 0.25, 0.25, 0, 0.25, 0])


@pytest.mark.parametrize("m", [0, 1, 2, 3, 4])
def test_one_peer_exponential_averages_exactly_from_any_step(m):
    graph = topology.one_peer_exponential(2**m)
    assert graph.period == max(m, 1)
    for start in range(graph.period):
        assert mixing_analysis.averaging_steps(graph, start) == max(m, 1)
    assert graph.spectral_gap() == 1.0
    assert all(len(mixing) == min(m, 1) + 1 for mixing in graph.mixings)


def test_one_peer_exponential_of_six_is_not_exact():
    graph = topology.one_peer_exponential(6)
    product = graph.matrix(2) @ graph.matrix(1) @ graph.matrix(0)
    assert np.abs(product - 1.0 / 6.0).max() == pytest.approx(1.0 / 12.0, rel=1e-12)


@pytest.mark.parametrize("num_peers", [1, 2, 3])
def test_base_graph_averages_exactly(num_peers):
    for n in range(1, 17):
        graph = topology.base_graph(n, num_peers)
        assert graph.spectral_gap() == 1.0
        # Cliques of k + 1 need k + 1 permutations, meetings at other weights a few more.
        assert max(len(mixing) for mixing in graph.mixings) <= 2 * num_peers + 2


@pytest.mark.parametrize(
    ("family", "n", "expected"),
    [
        (topology.random_ring, 8, 5.0 / 21.0),
        (topology.random_ring, 16, 13.0 / 45.0),
        (topology.random_matching, 8, 6.0 / 14.0),
        (topology.random_matching, 7, 1.0 / 2.0),
    ],
)
def test_random_graphs_contract_as_uniform_draws_do(family, n, expected):
    squares = [w.T @ w for w in map(family(n, seed=0, period=1000).matrix, range(1000))]
    mean = np.mean(squares, axis=0)
    # Off the mean, E[W^T W] is a multiple of the identity: both kinds are invariant to relabelling.
    target = expected * (np.eye(n) - 1.0 / n) + 1.0 / n
    # Entries lie in [0, 1] with a standard deviation below 1/2: five standard errors.
    np.testing.assert_allclose(mean, target, rtol=0, atol=5.0 * 0.5 / math.sqrt(1000.0))


@pytest.mark.parametrize("n", [4, 5])
def test_expected_contraction_of_all_relabelled_rings(n):
    t = topology.ring(n).matrix()
    relabelled = np.stack([t[np.ix_(p, p)] for p in itertools.permutations(range(n))])
    found = mixing_analysis.expected_contraction(topology.from_matrix(relabelled))
    assert found == pytest.approx((n - 3.0) / (3.0 * (n - 1.0)), rel=1e-10)


def all_matchings(learners):
    """Every perfect matching of an even number of learners, as lists of pairs."""
    if not learners:
        return [[]]
    first, *others = learners
    return [
        [(first, peer), *rest]
        for peer in others
        for rest in all_matchings([i for i in others if i != peer])
    ]


@pytest.mark.parametrize(("n", "expected"), [(4, 1.0 / 3.0), (5, 1.0 / 2.0), (6, 2.0 / 5.0)])
def test_expected_contraction_of_all_matchings(n, expected):
    matrices = []
    for pairs in all_matchings(list(range(n + n % 2))):  # Whoever meets an extra learner rests.
        w = np.eye(n)
        for i, j in pairs:
            if max(i, j) < n:
                w[np.ix_([i, j], [i, j])] = 0.5
        matrices.append(w)
    found = mixing_analysis.expected_contraction(topology.from_matrix(np.stack(matrices)))
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("family", [topology.random_ring, topology.random_matching])
def test_random_graphs_follow_their_seed(family):
    assert family(8, seed=3) == family(8, seed=3)
    assert family(8, seed=3) != family(8, seed=4)
    assert family(8, 0).period == 16
    assert len(set(family(8, 0).mixings)) > 12


def test_random_rings_are_single_cycles():
    for step in range(5):
        w = topology.random_ring(7, seed=1, period=5).matrix(step)
        assert (np.count_nonzero(w, axis=1) == 3).all()
        assert np.linalg.matrix_power(w, 6).min() > 0.0  # connected


@pytest.mark.parametrize("across", [topology.ring(4), topology.one_peer_exponential(4)])
def test_hierarchical_is_gossip_of_node_averages(across):
    graph = topology.hierarchical(across, learners_per_node=3)
    assert graph.period == across.period
    for step in range(across.period):
        expected = np.kron(across.matrix(step), np.full((3, 3), 1.0 / 3.0))
        np.testing.assert_allclose(graph.matrix(step), expected, rtol=0, atol=1e-15)
    assert graph.spectral_gap() == pytest.approx(across.spectral_gap(), rel=1e-12)


def test_from_matrix_keeps_matrices():
    generator = np.random.default_rng(0)
    matrices = np.stack(
        [
            sum(w * np.eye(6)[generator.permutation(6)] for w in generator.dirichlet(np.ones(4)))
            for _ in range(3)
        ]
    )
    graph = topology.from_matrix(matrices)
    assert graph.period == 3
    for step, w in enumerate(matrices):
        np.testing.assert_allclose(graph.matrix(step), w, rtol=0, atol=1e-13)
    static = topology.from_matrix(matrices[0])
    assert static.period == 1
    np.testing.assert_array_equal(static.matrix(), graph.matrix(0))


@pytest.mark.parametrize("family", [topology.ring, topology.exponential, topology.star])
def test_from_matrix_finds_as_few_messages(family):
    graph = family(8)
    found = topology.from_matrix(graph.matrix())
    assert len(found.mixings[0]) <= len(graph.mixings[0])
    np.testing.assert_allclose(found.matrix(), graph.matrix(), rtol=0, atol=1e-14)


def test_from_matrix_refuses_column_stochastic_matrices():
    with pytest.raises(
        ValueError, match=r"`matrix` must be doubly stochastic, .* row 0 sums to 1\.5"
    ):
        topology.from_matrix(np.array([[1.0, 0.5], [0.0, 0.5]]))


@pytest.mark.parametrize(
    "build",
    [
        topology.ring,
        topology.hypercube,
        topology.complete,
        topology.star,
        topology.exponential,
        topology.one_peer_exponential,
        topology.base_graph,
        functools.partial(topology.random_ring, seed=0),
        functools.partial(topology.random_matching, seed=0),
    ],
)
def test_learners_are_a_positive_integer(build):
    with pytest.raises(ValueError, match="`num_learners` must be at least 1, got 0"):
        build(0)
    with pytest.raises(TypeError):
        build(2.5)
    assert build(np.int64(4)) == build(4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: topology.torus(0, 3), "`rows` must be at least 1, got 0"),
        (lambda: topology.torus(3, -1), "`columns` must be at least 1, got -1"),
        (lambda: topology.hypercube(6), "`num_learners` .* power of 2, got 6; `exponential` and"),
        (lambda: topology.base_graph(4, 0), "`num_peers` must be at least 1, got 0"),
        (lambda: topology.random_ring(4, 0, 0), "`period` must be at least 1, got 0"),
        (lambda: topology.random_matching(4, 0, 0), "`period` must be at least 1, got 0"),
        (lambda: topology.hierarchical(topology.ring(2), 0), "`learners_per_node` must be at"),
    ],
)
def test_other_arguments_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()
