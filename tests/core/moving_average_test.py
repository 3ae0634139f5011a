"""A moving average against the recursion in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core.moving_average import averaged_params, moving_average


def test_follows_the_weights():
    optimizer = optax.chain(optax.sgd(0.5), moving_average(0.5))
    params = {"x": jnp.arange(3.0)}
    state = optimizer.init(params)
    x = expected = np.arange(3.0)
    update = jax.jit(optimizer.update)
    for k in range(12):
        updates, state = update(params, state, params)  # the gradient of x^2 / 2
        params = optax.apply_updates(params, updates)
        x, d = 0.5 * x, min(0.5, (1 + k) / (10 + k))
        expected = d * expected + (1 - d) * x
    np.testing.assert_allclose(averaged_params(state, params)["x"], expected, rtol=1e-6)
    np.testing.assert_allclose(params["x"], x, rtol=1e-6)


def test_without_a_link_the_weights_are_their_average():
    params = jnp.ones(2)
    assert averaged_params(optax.sgd(0.1).init(params), params) is params


def test_the_mean_of_averages_is_the_average_of_means():
    optimizer = moving_average(0.9)
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    together, each = optimizer.init(rows.mean(0)), jax.vmap(optimizer.init)(rows)
    for _ in range(3):
        _, together = optimizer.update(-0.1 * rows.mean(0), together, rows.mean(0))
        _, each = jax.vmap(optimizer.update)(-0.1 * rows, each, rows)
        rows = 0.9 * rows
    # Means of four numbers of unit size.
    np.testing.assert_allclose(each.average.mean(0), together.average, rtol=0, atol=1e-6)


def test_refuses_what_it_cannot_average():
    with pytest.raises(ValueError, match=r"`decay` must be in \[0, 1\), got 1.0"):
        moving_average(1.0)
    optimizer = moving_average(0.9)
    with pytest.raises(ValueError, match="`params` must be given"):
        optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
