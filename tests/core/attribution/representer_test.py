"""The representer theorem holds where the last layer is trained to its optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import representer_scores


def test_scores_add_up_to_the_logit(float64):
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(30, 4)), generator.integers(0, 3, 30)
    l2 = 0.02

    def losses(logits):
        return -jax.nn.log_softmax(logits)[jnp.arange(30), labels]

    def mean(flat):
        w = flat.reshape(4, 3)
        return losses(features @ w).mean() + l2 * jnp.sum(w**2)

    @jax.jit
    def newton(w):
        return w - jnp.linalg.solve(jax.hessian(mean)(w), jax.grad(mean)(w))

    w = jnp.zeros(12)
    for _ in range(10):
        w = newton(w)
    w = np.asarray(w).reshape(4, 3)
    logit_gradients = np.asarray(jax.grad(lambda logits: losses(logits).sum())(features @ w))
    queries, query_labels = generator.normal(size=(5, 4)), generator.integers(0, 3, 5)
    scores = representer_scores(features, logit_gradients, queries, query_labels, l2=l2)
    assert scores.shape == (5, 30)
    expected = (queries @ w)[np.arange(5), query_labels]
    np.testing.assert_allclose(scores.sum(1), expected, rtol=1e-8)


def test_no_ridge_no_representer():
    with pytest.raises(ValueError, match="`l2` must be above 0"):
        representer_scores(*[np.zeros((1, 1))] * 3, np.zeros(1, int), l2=0.0)
