"""Decompositions into permutations against the matrices they came from."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.core.birkhoff import decompose


def compose(terms, n):
    matrix = np.zeros((n, n))
    for sources, weight in terms:
        assert sorted(sources) == list(range(n))
        matrix[np.arange(n), sources] += weight
    return matrix


@st.composite
def doubly_stochastic(draw, largest):
    """Mixtures of random permutations, or dense matrices scaled to unit sums."""
    n = draw(st.integers(1, largest))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        weights = generator.dirichlet(np.full(draw(st.integers(1, 9)), 0.5))
        return sum(w * np.eye(n)[generator.permutation(n)] for w in weights)
    matrix = generator.uniform(0.1, 1.0, (n, n))
    for _ in range(200):
        matrix /= matrix.sum(axis=0)
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


@hypothesis.settings(max_examples=40)
@given(doubly_stochastic(largest=7))
def test_terms_add_up_to_the_matrix(matrix):
    n = len(matrix)
    terms = decompose(matrix)
    np.testing.assert_allclose(compose(terms, n), matrix, rtol=0, atol=1e-12)
    weights = [weight for _, weight in terms]
    assert len(terms) <= n * n - 2 * n + 2
    assert sum(weights) == pytest.approx(1.0, rel=1e-12)
    assert min(weights) > 0.0


@hypothesis.settings(max_examples=20)
@given(doubly_stochastic(largest=5))
def test_first_term_has_the_largest_bottleneck(matrix):
    n = len(matrix)
    rows = np.arange(n)
    best = max(matrix[rows, list(p)].min() for p in itertools.permutations(range(n)))
    assert decompose(matrix)[0][1] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
def test_disjoint_permutations_of_one_weight_need_no_more_terms(n):
    terms = decompose(np.full((n, n), 1.0 / n))
    assert len(terms) == n
    assert len({weight for _, weight in terms}) == 1


def test_a_permutation_is_its_own_decomposition():
    assert decompose(np.eye(3)[[2, 0, 1]]) == [((2, 0, 1), 1.0)]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), r"`matrix` must be square, .* got shape \(3,\)"),
        (np.ones((2, 3)), r"`matrix` must be square, .* got shape \(2, 3\)"),
        (np.ones((0, 0)), "`matrix` must be square"),
        ([[1.5, -0.5], [-0.5, 1.5]], "`matrix` must have no negative entries, got -0.5"),
        ([[np.nan, 1.0], [1.0, 0.0]], "`matrix` must have no negative entries, got nan"),
        ([[0.5, 0.3], [0.5, 0.6]], r"row 0 sums to 0\.8\. For an undirected graph"),
        ([[0.5, 0.5], [0.2, 0.8]], "column 0 sums to 0.7"),
    ],
)
def test_other_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        decompose(np.asarray(matrix))
