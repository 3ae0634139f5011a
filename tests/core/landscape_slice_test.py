"""Slices through a quadratic, whose values are known."""

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.core.landscape_slice import filter_direction, slice_loss


def test_filters_keep_their_lengths(key):
    params = {
        "kernel": 3.0 * jax.random.normal(key, (3 * 3 * 4 * 5,)).reshape(3, 3, 4, 5),
        "matrix": jnp.zeros((4, 2)),
        "bias": jnp.ones(5),
    }
    found = filter_direction(key, params)
    lengths = [
        np.linalg.norm(np.asarray(x).reshape(-1, 5), axis=0)
        for x in (found["kernel"], params["kernel"])
    ]
    np.testing.assert_allclose(*lengths, rtol=1e-5)  # roots of sums of 36 squares
    assert not np.any(found["bias"])
    assert not np.any(found["matrix"])


def test_slice_of_a_quadratic():
    w, d = {"x": jnp.array([1.0, 2.0])}, {"x": jnp.array([2.0, 0.0])}
    found = slice_loss(lambda p: float(jnp.sum(p["x"] ** 2)), w, d, [-1.0, 0.0, 0.5])
    np.testing.assert_allclose(found, [1 + 4, 1 + 4, 4 + 4], rtol=1e-6)
