"""Schedule, loss and optimizer against their definitions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, training
from gossamer.core.learners_config import CompressionConfig, LearnersConfig
from gossamer.language.translation import recipe
from gossamer.language.translation.run_config import OptimizerConfig, TranslationConfig
from gossamer.language.translation.transformer import Transformer
from gossamer.language.translation.transformer_config import TransformerConfig

MODEL = Transformer(TransformerConfig(layers=1, size=8, heads=2, hidden=8, dropout=0.0), 9)
BATCH = {
    "source": jnp.array([[4, 5, 2, 0], [5, 2, 0, 0], [4, 4, 5, 2], [6, 2, 0, 0]]),
    "target": jnp.array([[5, 2, 0, 0], [7, 8, 4, 2], [6, 7, 2, 0], [4, 2, 0, 0]]),
}


@pytest.fixture
def params(key):
    source, target = BATCH["source"], BATCH["target"]
    return jax.jit(lambda key: MODEL.init(key, source, target)["params"])(key)


def test_the_rate_is_that_of_the_paper():
    size, warmup = 512, 4000
    rate = recipe.schedule(OptimizerConfig(learning_rate=(size * warmup) ** -0.5, warmup=warmup))
    for step in (1, 100, 4000, 4001, 100_000):
        expected = size**-0.5 * min(step**-0.5, step * warmup**-1.5)
        np.testing.assert_allclose(rate(step - 1), expected, rtol=1e-6)


def test_the_loss_is_that_of_smoothed_targets(key, params):
    value, metrics = jax.jit(recipe.loss_function(MODEL, 0.1))(params, BATCH, key)
    logits = jax.jit(MODEL.apply)({"params": params}, BATCH["source"], BATCH["target"])
    targets = optax.smooth_labels(jax.nn.one_hot(BATCH["target"], 9), 0.1)
    valid = BATCH["target"] != 0
    losses = optax.softmax_cross_entropy(logits, targets)
    np.testing.assert_allclose(value, jnp.mean(losses, where=valid), rtol=1e-5)
    plain = optax.softmax_cross_entropy_with_integer_labels(logits, BATCH["target"])
    np.testing.assert_allclose(metrics["nats"], jnp.mean(plain, where=valid), rtol=1e-5)
    right = jnp.mean(logits.argmax(-1) == BATCH["target"], where=valid)
    np.testing.assert_allclose(metrics["accuracy"], right, rtol=1e-6)


@pytest.mark.parametrize("scheme", ["none", "scalecom"])
def test_learners_that_average_gradients_stay_equal(key, params, scheme):
    config = TranslationConfig(
        optimizer=OptimizerConfig(steps=4, warmup=2),
        learners=LearnersConfig(number=2, algorithm="ssgd"),
        compression=CompressionConfig(scheme=scheme, rate=8.0, dense_steps=0.25),
    )
    optimizer = recipe.optimizer(config)
    loss = recipe.loss_function(MODEL, 0.1)
    step = learners.spread(training.train_step(loss, optimizer, axis_name="learner"), 2)
    state = training.init_state(params, optimizer, key, num_learners=2)
    batch = jax.tree.map(lambda x: x.reshape(2, 2, -1), BATCH)
    first = None
    for _ in range(4):
        state, metrics = step(state, batch)
        first = metrics["loss"][0] if first is None else first
    for leaf in jax.tree.leaves(state.params):
        np.testing.assert_array_equal(leaf[0], leaf[1])
    assert metrics["loss"][0] < first


def test_a_moving_average_is_kept():
    config = TranslationConfig(
        optimizer=OptimizerConfig(average=0.9), learners=LearnersConfig(number=1)
    )
    params = {"x": jnp.ones(3)}
    state = recipe.optimizer(config, None).init(params)
    assert "AverageState" in str(jax.tree.structure(state))
    plain = dataclasses.replace(config, optimizer=OptimizerConfig())
    assert "AverageState" not in str(jax.tree.structure(recipe.optimizer(plain, None).init(params)))
