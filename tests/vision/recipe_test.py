"""The loss against NumPy, the schedule and the optimizer against their formulas."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core.learners_config import CompressionConfig, LearnersConfig
from gossamer.core.moving_average import averaged_params
from gossamer.vision import models, recipe
from gossamer.vision.run_config import NetworkConfig, OptimizerConfig, VisionConfig

CONFIG = VisionConfig(
    network=NetworkConfig("resnet18", width=0.1),
    optimizer=OptimizerConfig(steps=100, learning_rate=0.4, warmup=0.1),
    learners=LearnersConfig(number=1),
)


pytestmark = pytest.mark.usefixtures("short_resnet")


@pytest.fixture(scope="module")
def network(short_resnet):
    return models.create("resnet18", 3, width=0.1)


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    return {
        "images": jnp.asarray(generator.normal(size=(6, 8, 8, 1)), jnp.float32),
        "targets": jnp.asarray(np.eye(3)[generator.integers(3, size=6)], jnp.float32),
    }


def test_loss_is_the_cross_entropy_of_smoothed_targets(network, batch, key):
    config = replace(CONFIG, optimizer=replace(CONFIG.optimizer, label_smoothing=0.3))
    variables = jax.jit(network.init)(key, batch["images"])

    @jax.jit
    def run(params):
        value, (metrics, found) = recipe.loss_function(config, network)(
            {"params": params}, batch, key
        )
        logits, expected = network.apply(
            variables, batch["images"], train=True, mutable=["batch_stats"]
        )
        return value, metrics, found, logits, expected["batch_stats"]

    value, metrics, found, logits, expected = run(variables["params"])
    logits, targets = np.asarray(logits, np.float64), np.asarray(batch["targets"], np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    smoothed = 0.7 * targets + 0.1
    np.testing.assert_allclose(value, -np.mean(np.sum(smoothed * log_p, -1)), rtol=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(
        np.mean(logits.argmax(-1) == targets.argmax(-1))
    )

    def close(a, b):  # means of a few hundred numbers, in two programs
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    jax.tree.map(close, found, expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("steps", {0: 0.04, 9: 0.4, 10: 0.4, 49: 0.4, 51: 0.04, 74: 0.04, 76: 0.004, 99: 0.004}),
        ("constant", {0: 0.04, 4: 0.2, 9: 0.4, 99: 0.4}),
        ("cosine", {9: 0.4, 10: 0.4, 55: 0.2, 100: 0.0}),
    ],
)
def test_schedules(name, expected):
    found = recipe.schedule(replace(CONFIG.optimizer, schedule=name))
    for step, rate in expected.items():
        assert float(found(step)) == pytest.approx(rate, rel=1e-5, abs=1e-7)
    without = recipe.schedule(replace(CONFIG.optimizer, schedule=name, warmup=0.0))
    assert float(without(0)) == pytest.approx(0.4)


def test_update_is_momentum_with_decay_of_kernels_alone():
    options = OptimizerConfig(
        steps=10, learning_rate=0.5, schedule="constant", warmup=0.0, weight_decay=0.1, average=0.5
    )
    optimizer = recipe.optimizer(replace(CONFIG, optimizer=options), axis_name=None)
    params = {"params": {"kernel": jnp.full((1, 2), 2.0), "bias": jnp.full((2,), 2.0)}}
    state = optimizer.init(params)
    momentum = {"kernel": 0.0, "bias": 0.0}
    x = {"kernel": 2.0, "bias": 2.0}
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
        for name, decay in (("kernel", 0.1), ("bias", 0.0)):
            momentum[name] = 0.9 * momentum[name] + 1.0 + decay * x[name]
            x[name] -= 0.5 * momentum[name]
            np.testing.assert_allclose(params["params"][name], x[name], rtol=1e-5)
    average = averaged_params(state, params)["params"]["bias"]
    assert not np.array_equal(average, params["params"]["bias"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learners": LearnersConfig(engine="threads")}, "`learners.engine` must be auto"),
        ({"learners": LearnersConfig(number=3)}, "divisible by the number of learners, got 128"),
        ({"optimizer": OptimizerConfig(microbatches=3)}, "`optimizer.microbatches` must be"),
        ({"optimizer": OptimizerConfig(warmup=1.0)}, r"`optimizer.warmup` must be in \[0, 1\)"),
        ({"optimizer": OptimizerConfig(label_smoothing=1.0)}, "`optimizer.label_smoothing`"),
        ({"compression": CompressionConfig(scheme="scalecom")}, "`compression.scheme` scalecom"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes).check()
    CONFIG.check()
