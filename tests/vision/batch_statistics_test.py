"""Estimated statistics are those of all images together."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.vision import batch_statistics, classifier, data, experiment
from gossamer.vision.run_config import DataConfig, NetworkConfig, OptimizerConfig, VisionConfig

CONFIG = VisionConfig(
    data=DataConfig(size=8, batch_size=8),
    network=NetworkConfig("resnet18", width=0.1),
    optimizer=OptimizerConfig(steps=1),
)

pytestmark = pytest.mark.usefixtures("short_resnet")


@pytest.fixture(scope="module")
def model(short_resnet):
    images = data.fashion()
    state = experiment.initial_state(CONFIG, images)
    return images, experiment.averaged(replace(CONFIG, statistics_images=20), images, state)


def test_the_first_layer_has_the_moments_of_all_images(model):
    images, found = model
    batches = experiment.training_batches(CONFIG, images)
    rows = np.concatenate([next(batches)["images"].reshape(-1, 8, 8, 1) for _ in range(3)])
    kernel = found.variables["params"]["conv1"]["kernel"]
    outputs = jax.lax.conv_general_dilated(
        jnp.asarray(rows), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert len(rows) == 24
    statistics = found.variables["batch_stats"]["bn1"]
    np.testing.assert_allclose(
        statistics["mean"], np.mean(outputs, (0, 1, 2)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(statistics["var"], np.var(outputs, (0, 1, 2)), rtol=1e-4)


def test_the_statistics_of_one_batch_normalize_it(model):
    images, found = model
    batch = next(experiment.training_batches(CONFIG, images))
    statistics = batch_statistics.estimate(CONFIG, 10, found.variables, iter([batch]), number=1)
    rows = batch["images"].reshape(-1, 8, 8, 1)
    network = classifier.create_network(CONFIG.network, 10)
    variables = {"params": found.variables["params"]}
    expected, _ = network.apply(
        variables, rows, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)}
    )
    logits = network.apply(variables | {"batch_stats": statistics}, rows)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
