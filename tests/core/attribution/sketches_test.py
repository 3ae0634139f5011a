"""Sketches: exact where nothing is projected, right on average where it is; top-k by sorting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import gradient_dot, nearest, sketch_gradients


def loss(params, example):
    x = jnp.tanh(example["x"] @ params["kernel"] + params["bias"])
    return jnp.sum((x - example["y"]) ** 2)


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    params = {
        "kernel": jnp.asarray(generator.normal(size=(12, 9)), jnp.float32),
        "bias": jnp.zeros(9),
    }
    train = {
        "x": np.float32(generator.normal(size=(20, 12))),
        "y": np.float32(generator.normal(size=(20, 9))),
    }
    return params, train


def test_nothing_is_lost_where_all_fits(data, key):
    params, train = data
    sketches = sketch_gradients(loss, params, train, key, size=12)
    assert sketches.shape == (20, 12 * 9 + 9)
    exact = gradient_dot(loss, params, train, train)
    np.testing.assert_allclose(sketches @ sketches.T, exact, rtol=1e-4, atol=1e-4)


def test_products_are_right_on_average(data):
    params, train = data
    exact = gradient_dot(loss, params, train, train)
    draws = [
        sketch_gradients(loss, params, train, jax.random.key(seed), size=4) for seed in range(300)
    ]
    assert draws[0].shape == (20, 4 * 4 + 4)
    products = np.stack([draw @ draw.T for draw in draws])
    error = (products.mean(0) - exact) / (products.std(0) / np.sqrt(300))
    # 400 entries, of which few are independent, within five standard errors.
    assert np.abs(error).max() < 5


@pytest.mark.parametrize("block_size", [3, 64])
def test_the_nearest_are_those_of_a_sort(block_size):
    generator = np.random.default_rng(0)
    queries, train = generator.normal(size=(3, 4)), generator.normal(size=(20, 4))
    found = nearest(queries, train, 5, block_size=block_size)
    scores = queries @ train.T
    expected = np.argsort(-scores, axis=1)[:, :5]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, expected, 1), rtol=1e-12)


def test_bad_numbers_are_refused(data, key):
    with pytest.raises(ValueError, match="`size` must be at least 1"):
        sketch_gradients(loss, *data, key, size=0)
    with pytest.raises(ValueError, match="`k` must be from 1 to 20"):
        nearest(np.zeros((1, 2)), np.zeros((20, 2)), 21)
