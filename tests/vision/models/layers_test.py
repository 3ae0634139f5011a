"""Pooling and dropout against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.vision.models.layers import Layers, Options, adaptive_mean, max_pool, mean_pool


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def windows(x, size, stride, padding, fill, reduce):
    edges = (padding, padding)
    x = np.pad(x, ((0, 0), edges, edges, (0, 0)), constant_values=fill)
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, x.shape[-1]), x.dtype)
    for i, j in np.ndindex(rows, columns):
        part = x[:, stride * i : stride * i + size, stride * j : stride * j + size]
        y[:, i, j] = reduce(part, axis=(1, 2))
    return y


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 2, 0)]
)
def test_pooling(size, stride, padding):
    x = draw(2, 7, 6, 3)
    largest = windows(x, size, stride, padding, -np.inf, np.max)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), size, stride, padding), largest)
    mean = windows(x, size, stride, padding, 0.0, np.mean)
    np.testing.assert_allclose(mean_pool(jnp.asarray(x), size, stride, padding), mean, atol=1e-6)


def test_gradient_of_the_largest_goes_to_its_place():
    x = draw(1, 4, 4, 1)
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x, 2, 2)))(jnp.asarray(x))
    largest = windows(x, 2, 2, 0, -np.inf, np.max).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(gradient, x == largest)


@pytest.mark.parametrize("side", [2, 7, 9])
def test_adaptive_mean(side):
    x = draw(2, side, side, 3)
    expected = np.zeros((2, 3, 7, 7))
    for i, j in np.ndindex(7, 7):
        rows = slice(i * side // 7, -(-(i + 1) * side // 7))
        columns = slice(j * side // 7, -(-(j + 1) * side // 7))
        expected[:, :, i, j] = x[:, rows, columns].mean((1, 2))
    found = adaptive_mean(jnp.asarray(x), 7)
    np.testing.assert_allclose(found, expected.reshape(2, -1), rtol=0, atol=1e-6)


class Drop(nn.Module):
    whole: bool
    train: bool = True

    @nn.compact
    def __call__(self, x):
        return Layers(Options(), self.train).drop(self, x, 0.25, whole=self.whole)


@pytest.mark.parametrize("whole", [False, True])
def test_dropout(whole):
    x = jnp.ones((400, 5, 1, 4))
    found = np.asarray(Drop(whole).apply({}, x, rngs={"dropout": jax.random.key(0)}))
    assert set(np.unique(found)) == {np.float32(0), np.float32(1 / 0.75)}
    kept = (found > 0).reshape(400, -1).mean(1)
    # Four standard deviations of a mean of 400, or of 8,000, draws of probability 3/4.
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / (400 if whole else 8000))
    assert (set(kept) <= {0.0, 1.0}) == whole
    assert Drop(whole, train=False).apply({}, x) is x
