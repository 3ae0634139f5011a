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


@pytest.mark.parametrize("of", ["gradients", "updates"])
def test_a_linear_rule_does_not_care_what_is_compressed(of):
    gradients = jax.random.normal(jax.random.key(0), (3, 40, 64))
    moved = run_compressed(optax.sgd(0.5), of, gradients)
    expected = run_compressed(optax.identity(), of, gradients)
    np.testing.assert_array_equal(moved, -0.5 * expected)


def test_adam_moves_weights_as_far_by_compressed_updates_but_not_by_compressed_gradients():
    always_one = jnp.ones((3, 512, 64))
    rule = optax.adam(1.0, b2=0.98)
    far = run_compressed(rule, "updates", always_one)
    near = run_compressed(rule, "gradients", always_one)
    np.testing.assert_allclose(far, -512, atol=32)  # what waits in the residual is missing
    assert jnp.all(jnp.abs(near) < 128)


def run_compressed(rule, of, gradients):
    """How far weights move by gradients [learners, steps, size], of whose size one 32nd is sent."""
    learners = LearnersConfig(number=len(gradients), algorithm="ssgd")
    config = CompressionConfig("scalecom", rate=32.0, dense_steps=0.0, of=of)
    optimizer = distribute(
        optax.with_extra_args_support(rule), learners, config, num_steps=gradients.shape[1]
    )

    def train(gradients):
        def step(carry, gradient):
            params, state = carry
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = jnp.zeros(gradients.shape[1])
        return jax.lax.scan(step, (start, optimizer.init(start)), gradients)[0][0]

    return jax.vmap(train, axis_name="learner")(gradients)


def test_without_noise_the_loss_is_itself():
    def loss(params, batch, key):
        return jnp.sum(params), {}

    assert noisy_loss(loss, LearnersConfig()) is loss
    noisy = noisy_loss(loss, LearnersConfig(weight_noise=0.1))
    assert noisy(jnp.zeros(5), None, jax.random.key(0))[0] != 0
