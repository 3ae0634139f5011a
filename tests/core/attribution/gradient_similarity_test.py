"""Cosine and self-influence against closed forms."""

import jax.numpy as jnp
import numpy as np

from gossamer.core.attribution import gradient_cosine, self_influence


def test_cosine_in_closed_form(regression):
    found = gradient_cosine(
        regression.loss, regression.params, regression.train, regression.queries
    )
    g, h = regression.gradients, regression.query_gradients
    lengths = np.outer(np.linalg.norm(h, axis=1), np.linalg.norm(g, axis=1))
    np.testing.assert_allclose(found, h @ g.T / lengths, rtol=1e-10, atol=1e-12)


def test_cosine_with_no_gradient_is_zero():
    def loss(params, example):
        return params * example

    found = gradient_cosine(loss, jnp.ones(()), jnp.array([1.0, 0.0, -2.0]), jnp.array([3.0]))
    np.testing.assert_allclose(found, [[1, 0, -1]], rtol=1e-6)


def test_self_influence_in_closed_form(regression):
    found = self_influence(regression.loss, regression.params, regression.train)
    np.testing.assert_allclose(found, np.sum(regression.gradients**2, 1), rtol=1e-10)
