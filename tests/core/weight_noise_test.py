"""Noisy weights against the moments of the normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, training, weight_noise


def reveal(params, batch, key):
    """The weights that the loss is taken at, as the gradient; the key as a metric."""
    del batch
    return 0.5 * jnp.sum(jnp.square(params["x"])), {"key": jax.random.uniform(key)}


def test_gradient_is_taken_at_weights_with_fresh_normal_noise(key):
    size, scale = 100_000, 0.01
    gradient = jax.grad(weight_noise.perturb(reveal, scale), has_aux=True)
    params = {"x": jnp.full(size, 2.0)}
    first, second = (gradient(params, None, k)[0]["x"] - 2.0 for k in jax.random.split(key))
    for noise in (first, second):
        # Four standard errors of the mean, and of the standard deviation s / sqrt(2 size).
        np.testing.assert_allclose(noise.mean(), 0.0, atol=4.0 * scale / np.sqrt(size))
        np.testing.assert_allclose(noise.std(), scale, rtol=4.0 / np.sqrt(2.0 * size))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4.0 / np.sqrt(size)


def test_zero_noise_is_the_loss_itself(key):
    params = {"x": jnp.arange(3.0)}
    assert weight_noise.perturb(reveal, 0.0)(params, None, key)[0] == 2.5


def test_noise_keeps_dtypes_and_differs_between_steps_and_learners(key):
    optimizer = optax.sgd(0.0)
    loss = weight_noise.perturb(reveal, 0.1)
    step = learners.spread(training.train_step(loss, optimizer), 2)
    params = {"x": jnp.ones(4), "y": jnp.ones(2, jnp.bfloat16)}
    state = training.init_state(params, optimizer, key, num_learners=2)
    values = []
    for _ in range(2):
        state, report = step(state, jnp.zeros(2))
        values += np.asarray(report["loss"]).tolist()
    assert len(set(values)) == 4
    assert state.params["y"].dtype == jnp.bfloat16


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match="`scale` must be at least 0, got -1"):
        weight_noise.perturb(reveal, -1.0)
