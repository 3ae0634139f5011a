"""Measures by brute force, and where the truth is known: convex models, exact scores."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from gossamer.core.attribution import faithfulness, metagradient_scores

ORDER = np.arange(60).reshape(12, 5) % 23


def test_exact_scores_predict_subsets(regression, key):
    options = (regression.loss, optax.sgd(0.1))
    start = jax.tree.map(jnp.zeros_like, regression.params)
    data = (start, regression.train, regression.queries)
    scores = metagradient_scores(*options, *data, ORDER)
    subsets = faithfulness.draw_subsets(key, 24, 23, 0.8)
    np.testing.assert_array_equal(subsets.sum(1), 18)
    losses = faithfulness.losses_after_training(*options, *data, ORDER, subsets)
    assert losses.shape == (24, 5)
    found = faithfulness.datamodeling_score(scores, subsets, losses)
    expected = [stats.spearmanr(-subsets @ scores[q], losses[:, q]).statistic for q in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert found.min() > 0.7  # first order in the weights
    np.testing.assert_allclose(
        faithfulness.datamodeling_score(-scores, subsets, losses), -found, rtol=1e-10
    )


def test_leaving_one_out_is_what_metagradients_predict(regression):
    options = (regression.loss, optax.sgd(0.05))
    start = jax.tree.map(jnp.zeros_like, regression.params)
    data = (start, regression.train, regression.queries)
    scores = metagradient_scores(*options, *data, ORDER)
    without = np.vstack([np.ones(23), 1 - np.eye(23)])
    losses = faithfulness.losses_after_training(*options, *data, ORDER, without)
    rises = (losses[1:] - losses[:1]).T
    assert faithfulness.leave_one_out_correlation(scores, rises).min() > 0.95


def test_the_most_supporting_are_left_out():
    scores = np.array([[3.0, -1.0, 2.0, 0.0], [0.0, 5.0, 1.0, 2.0]])
    np.testing.assert_array_equal(
        faithfulness.removal_weights(scores, 2), [[0, 1, 0, 1], [1, 0, 1, 0]]
    )


def test_area_under_the_curve_by_counting_pairs():
    generator = np.random.default_rng(0)
    suspicion, wrong = generator.integers(0, 5, 40), generator.random(40) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in suspicion[wrong] for b in suspicion[~wrong]]
    found = faithfulness.mislabel_auc(suspicion, wrong)
    np.testing.assert_allclose(found, np.mean(pairs), rtol=1e-12)


def test_equal_scores_say_nothing():
    found = faithfulness.datamodeling_score(np.ones((1, 4)), np.eye(4), np.ones((4, 1)))
    np.testing.assert_array_equal(found, 0)


def test_bad_input_is_refused(key):
    with pytest.raises(ValueError, match="`share` must keep some of 10"):
        faithfulness.draw_subsets(key, 2, 10, 1.0)
    with pytest.raises(ValueError, match="`mislabeled` must hold wrong and right"):
        faithfulness.mislabel_auc(np.ones(3), np.zeros(3))
