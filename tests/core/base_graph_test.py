"""Base-(k+1) graphs average exactly in few sparse steps, for any number of learners."""

import functools
import math

import numpy as np
import pytest

from gossamer.core.base_graph import build_matrices


@pytest.mark.parametrize("num_peers", [1, 2, 3, 4, 7])
def test_averages_exactly_with_few_neighbors_in_few_steps(num_peers):
    for n in range(1, 34):
        matrices = build_matrices(n, num_peers)
        np.testing.assert_array_equal(matrices, np.swapaxes(matrices, 1, 2))
        np.testing.assert_allclose(matrices.sum(axis=2), 1.0, rtol=1e-14)
        assert matrices.min() >= 0.0
        neighbors = np.count_nonzero(matrices * (1.0 - np.eye(n)), axis=2)
        assert neighbors.max() <= num_peers
        product = functools.reduce(lambda total, w: w @ total, matrices)
        np.testing.assert_allclose(product, 1.0 / n, rtol=0, atol=1e-14)
        # The theorem of the paper; a single learner still has one step, which does nothing.
        assert len(matrices) <= max(2.0 * math.log(n, num_peers + 1) + 2.0, 1.0)


@pytest.mark.parametrize(
    ("n", "num_peers", "period"),
    [
        (8, 1, 3),  # the hypercube, one dimension at a time
        (9, 2, 2),
        (12, 3, 2),  # 3 x 4
        (5, 1, 5),  # 4 + 1: two steps within, one across, two within
        (6, 1, 4),  # 2 x 3, shorter than 4 + 2
        (5, 4, 1),  # complete
    ],
)
def test_period(n, num_peers, period):
    assert len(build_matrices(n, num_peers)) == period


def test_powers_of_two_pair_learners_that_differ_in_one_digit():
    pairs = {tuple(np.flatnonzero(w[0]).tolist()) for w in build_matrices(8, 1)}
    assert pairs == {(0, 1), (0, 2), (0, 4)}
