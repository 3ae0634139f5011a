"""Variants stay near, differ, and follow the training step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import training
from gossamer.core.attribution import continued_variants, noisy_variants


def test_noise_is_in_proportion(key):
    params = {"large": 100 * jnp.ones((50, 50)), "small": jnp.ones((50, 50)), "none": jnp.zeros(3)}
    found = noisy_variants(params, key, number=2, scale=0.1)
    assert len(found) == 2
    for variant in found:
        for name, size in (("large", 10.0), ("small", 0.1)):
            deviation = np.std(variant[name] - params[name])
            # The deviation of 2,500 draws is known to one part in 70.
            np.testing.assert_allclose(deviation, size, rtol=0.06)
        np.testing.assert_array_equal(variant["none"], 0)
    assert np.abs(found[0]["small"] - found[1]["small"]).max() > 0


def test_training_goes_on(key):
    def loss(params, batch, key):
        return jnp.sum((params - batch) ** 2) / 2, {}

    step = jax.jit(training.train_step(loss, optax.sgd(0.5)))
    state = training.init_state(jnp.zeros(1), optax.sgd(0.5), key)
    found = continued_variants(step, state, iter([jnp.ones(1)] * 4), number=2, spacing=2)
    np.testing.assert_allclose(np.concatenate(found), [0.75, 0.9375], rtol=1e-6)


def test_bad_numbers_are_refused(key):
    with pytest.raises(ValueError, match="`number` must be at least 1 and `scale`"):
        noisy_variants(jnp.ones(1), key, scale=0.0)
    with pytest.raises(ValueError, match="`number` and `spacing`"):
        continued_variants(lambda state, batch: (state, {}), None, iter([]), spacing=0)
