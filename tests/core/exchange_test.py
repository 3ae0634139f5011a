"""What is configured is what learners exchange."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core.exchange import distribute, noisy_loss
from gossamer.core.learners_config import CompressionConfig, LearnersConfig
from gossamer.core.topology import ring

GRADIENTS = jnp.array([[1.0], [2.0], [6.0]])
START = jnp.array([[0.0], [3.0], [6.0]])
RULE = optax.with_extra_args_support(optax.sgd(1.0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"algorithm": "ssgd"}, START - GRADIENTS.mean()),
        ({"algorithm": "dpsgd"}, ring(3).matrix(0) @ START - GRADIENTS),
        ({"algorithm": "dpsgd", "order": "atc"}, ring(3).matrix(0) @ (START - GRADIENTS)),
        ({"algorithm": "delay_by_one"}, START.mean() - GRADIENTS),
    ],
)
def test_one_step_of_each_algorithm(options, expected):
    learners = LearnersConfig(number=3, **options)
    optimizer = distribute(RULE, learners, CompressionConfig(), num_steps=10)

    def step(params, gradients):
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    found = jax.vmap(step, axis_name="learner")(START, GRADIENTS)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_without_noise_the_loss_is_itself():
    def loss(params, batch, key):
        return jnp.sum(params), {}

    assert noisy_loss(loss, LearnersConfig()) is loss
    noisy = noisy_loss(loss, LearnersConfig(weight_noise=0.1))
    assert noisy(jnp.zeros(5), None, jax.random.key(0))[0] != 0
