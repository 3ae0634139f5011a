"""Rates, limits and distances against closed forms and against simulated quadratics."""

import numpy as np
import pytest

from gossamer.core import mixing_analysis, topology

ORDERS = ("awc", "atc")
GRAPHS = {
    "ring": topology.ring(8),
    "odd ring": topology.ring(5),
    "torus": topology.torus(3, 4),
    "hypercube": topology.hypercube(8),
    "star": topology.star(6),
    "complete": topology.complete(4),
}
CHANGING = {
    "one-peer exponential": topology.one_peer_exponential(6),
    "random ring": topology.random_ring(8, seed=0, period=5),
    "random matching": topology.random_matching(7, seed=0, period=4),
    "base graph": topology.base_graph(6),
    "exponential": topology.exponential(6),
}


def eigenvalues(graph):
    """Ascending; the last is 1."""
    return np.linalg.eigvalsh(graph.matrix())


def step_once(w, x, noise, step_size, order):
    """One step on x^2 / 2 with additive gradient noise."""
    update = -step_size * (x + noise)
    return w @ x + update if order == "awc" else w @ (x + update)


def test_stochasticity():
    push_sum = np.array([[0.5, 0.2], [0.5, 0.8]])
    assert mixing_analysis.is_column_stochastic(push_sum)
    assert not mixing_analysis.is_column_stochastic(push_sum.T)
    assert not mixing_analysis.is_column_stochastic(np.array([[1.5, 0.0], [-0.5, 1.0]]))


def test_symmetry():
    assert all(mixing_analysis.is_symmetric(graph) for graph in GRAPHS.values())
    assert mixing_analysis.is_symmetric(CHANGING["base graph"])
    assert not mixing_analysis.is_symmetric(topology.exponential(8))
    assert mixing_analysis.is_symmetric(topology.exponential(4)) is False


def test_connection_over_a_period():
    pairs = np.kron(np.eye(2), np.full((2, 2), 0.5))
    assert not mixing_analysis.is_connected(topology.from_matrix(pairs))
    shuffled = pairs[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]
    assert mixing_analysis.is_connected(topology.from_matrix(np.stack([pairs, shuffled])))
    assert mixing_analysis.is_connected(topology.exponential(7))
    assert mixing_analysis.is_connected(topology.complete(1))


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (topology.ring(8), -1.0 / 3.0),
        (topology.ring(5), (1.0 + 2.0 * np.cos(0.8 * np.pi)) / 3.0),
        (topology.hypercube(8), -0.5),
        (topology.complete(4), 0.0),
        (topology.complete(1), 1.0),
    ],
)
def test_lambda_min(graph, expected):
    assert mixing_analysis.lambda_min(graph) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("num_steps", [1, 4])
def test_contraction_of_static_graphs_is_a_power(num_steps):
    for graph in GRAPHS.values():
        second = np.sort(np.abs(eigenvalues(graph)))[-2]
        found = mixing_analysis.contraction(graph, num_steps, start=3)
        assert found == pytest.approx(second**num_steps, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (topology.one_peer_exponential(8), 3),
        (topology.one_peer_exponential(6), None),
        (topology.base_graph(6), 4),
        (topology.complete(5), 1),
        (topology.ring(3), 1),
        (topology.ring(4), None),
    ],
)
def test_averaging_steps(graph, expected):
    assert mixing_analysis.averaging_steps(graph) == expected


def test_expected_contraction_of_static_graphs():
    for graph in GRAPHS.values():
        expected = (1.0 - graph.spectral_gap()) ** 2
        found = mixing_analysis.expected_contraction(graph)
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_expected_contraction_of_a_bank_falls_towards_that_of_all_draws():
    banks = [topology.random_ring(8, seed=0, period=period) for period in (16, 64, 1000)]
    found = [mixing_analysis.expected_contraction(bank) for bank in banks]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(0.39, abs=5e-3)
    assert found[-1] == pytest.approx(5.0 / 21.0, abs=0.02)


def test_expected_contraction_bounds_random_sequences():
    graph = topology.random_ring(8, seed=0, period=50)
    bound = mixing_analysis.expected_contraction(graph)
    generator = np.random.default_rng(1)
    left = []
    for _ in range(2000):
        x = np.eye(8)[0] - 0.125
        for step in generator.integers(50, size=3):
            x = graph.matrix(step) @ x
        left.append(x @ x / 0.875)
    # Each lies in [0, 1]; five standard errors.
    assert np.mean(left) < bound**3 + 5.0 * np.std(left) / np.sqrt(2000.0)


@pytest.mark.parametrize("name", GRAPHS)
def test_step_size_limits_of_symmetric_graphs(name):
    graph = GRAPHS[name]
    awc = mixing_analysis.step_size_limit(graph)
    assert awc == pytest.approx(1.0 + eigenvalues(graph)[0], rel=1e-9)
    assert mixing_analysis.step_size_limit(graph, "atc", curvature=4.0) == pytest.approx(0.5)
    assert mixing_analysis.step_size_limit(graph, curvature=0.1) == pytest.approx(10.0 * awc)


def test_step_size_limit_of_a_circulant_graph():
    """|lambda_k - a h| < 1 for the complex eigenvalues, the discrete Fourier transform of a row."""
    graph = topology.exponential(6)
    modes = np.fft.fft(graph.matrix()[0])
    expected = np.min(modes.real + np.sqrt(1.0 - np.minimum(modes.imag**2, 1.0)))
    assert mixing_analysis.step_size_limit(graph) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CHANGING)
def test_step_size_limit_parts_decay_from_growth(name, order):
    graph = CHANGING[name]
    limit = mixing_analysis.step_size_limit(graph, order)
    start = np.random.default_rng(0).standard_normal(graph.num_learners)
    sizes = []
    for step_size in (0.98 * limit, 1.02 * limit):
        x = start
        for step in range(200 * graph.period):
            x = step_once(graph.matrix(step), x, 0.0, step_size, order)
        sizes.append(np.linalg.norm(x) / np.linalg.norm(start))
    assert sizes[0] < 0.5
    assert sizes[1] > 2.0


@pytest.mark.parametrize("name", GRAPHS)
def test_stationary_distance_of_symmetric_graphs(name):
    graph = GRAPHS[name]
    a, h, s = 0.2, 1.5, 0.7
    modes = eigenvalues(graph)[:-1]
    awc = np.sum((a * s) ** 2 / (1.0 - (modes - a * h) ** 2))
    atc = np.sum((modes * a * s) ** 2 / (1.0 - modes**2 * (1.0 - a * h) ** 2))
    for order, total in (("awc", awc), ("atc", atc)):
        found = mixing_analysis.stationary_distance(graph, a, order=order, curvature=h, noise_std=s)
        assert found == pytest.approx(total / graph.num_learners, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("order", "rounded"), [("awc", 0.09934), ("atc", 0.02574)])
def test_stationary_distance_on_the_ring_of_eight(order, rounded):
    found = mixing_analysis.stationary_distance(topology.ring(8), 0.3, order=order)
    assert found == pytest.approx(rounded, abs=5e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CHANGING)
def test_stationary_distance_of_simulated_quadratics(name, order):
    graph, step_size, num_coordinates = CHANGING[name], 0.3, 4000
    expected = mixing_analysis.stationary_distance(graph, step_size, order=order)
    generator = np.random.default_rng(0)
    x = np.zeros((graph.num_learners, num_coordinates))
    distances = []
    for step in range(12 * graph.period):
        noise = generator.standard_normal(x.shape)
        x = step_once(graph.matrix(step), x, noise, step_size, order)
        distances.append(np.mean(np.square(x - x.mean(axis=0, keepdims=True)), axis=0))
    settled = np.mean(distances[-graph.period :], axis=0)  # [num_coordinates]
    error = np.std(settled) / np.sqrt(num_coordinates)
    assert abs(np.mean(settled) - expected) < 5.0 * error


def test_agreement_needs_no_curvature_but_a_connection():
    found = mixing_analysis.stationary_distance(topology.ring(8), 0.1, curvature=0.0)
    modes = eigenvalues(topology.ring(8))[:-1]
    assert found == pytest.approx(np.sum(0.01 / (1.0 - modes**2)) / 8.0, rel=1e-9)
    with pytest.raises(ValueError, match=r"`step_size` must be below the limit .* got 0\.1 at"):
        mixing_analysis.stationary_distance(topology.from_matrix(np.eye(2)), 0.1, curvature=0.0)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", GRAPHS)
def test_effective_neighbors_of_symmetric_graphs(name, decay):
    squares = eigenvalues(GRAPHS[name]) ** 2
    expected = 1.0 / (1.0 - decay) / np.mean(squares / (1.0 - decay * squares))
    found = mixing_analysis.effective_neighbors(GRAPHS[name], decay)
    assert found == pytest.approx(expected, rel=1e-9)


def test_effective_neighbors_in_the_limits():
    ring, alone = topology.ring(8), topology.from_matrix(np.eye(5))
    assert mixing_analysis.effective_neighbors(ring, 0.0) == pytest.approx(3.0, rel=1e-12)
    assert mixing_analysis.effective_neighbors(ring, 1.0 - 1e-7) == pytest.approx(8.0, rel=1e-4)
    assert mixing_analysis.effective_neighbors(alone, 0.7) == pytest.approx(1.0, rel=1e-12)
    assert mixing_analysis.effective_neighbors(topology.complete(5), 0.7) == pytest.approx(5.0)


@pytest.mark.parametrize("name", CHANGING)
def test_effective_neighbors_of_a_simulated_walk(name):
    graph, decay, num_walks = CHANGING[name], 0.6, 4000
    generator = np.random.default_rng(0)
    z = np.zeros((graph.num_learners, num_walks))
    variances = []
    for step in range(25 * graph.period):
        z = graph.matrix(step) @ (np.sqrt(decay) * z + generator.standard_normal(z.shape))
        variances.append(np.mean(np.square(z), axis=0))
    settled = np.mean(variances[-graph.period :], axis=0)
    expected = 1.0 / (1.0 - decay) / mixing_analysis.effective_neighbors(graph, decay)
    assert abs(np.mean(settled) - expected) < 5.0 * np.std(settled) / np.sqrt(num_walks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ring: mixing_analysis.lambda_min(topology.exponential(8)), "`topology` must have"),
        (lambda ring: mixing_analysis.contraction(ring, 0), "`num_steps` must be at least 1"),
        (lambda ring: mixing_analysis.step_size_limit(ring, "cta"), '`order` must be "awc" or'),
        (lambda ring: mixing_analysis.step_size_limit(ring, curvature=0.0), "`curvature` must be"),
        (lambda ring: mixing_analysis.stationary_distance(ring, 0.7), "`step_size` must be below"),
        (lambda ring: mixing_analysis.stationary_distance(ring, 0.1, order=""), "`order` must be"),
        (lambda ring: mixing_analysis.effective_neighbors(ring, 1.0), r"`decay` must be in \[0, 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(topology.ring(8))
