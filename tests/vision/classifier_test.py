"""Scores against NumPy, and packed files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.vision import classifier
from gossamer.vision.classifier import Classifier
from gossamer.vision.data import ImageData, Images, Scale
from gossamer.vision.run_config import DataConfig, NetworkConfig, VisionConfig

CONFIG = VisionConfig(data=DataConfig(size=8), network=NetworkConfig("resnet18", width=0.1))


pytestmark = pytest.mark.usefixtures("short_resnet")


@pytest.fixture(scope="module")
def numbers():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (7, 8, 8, 1), np.uint8)
    images = Images(pixels.__getitem__, generator.integers(0, 6, 7).astype(np.int32))
    names = tuple("abcdef")
    return pixels, ImageData("noise", images, images, names, Scale((0.5,), (0.25,)))


@pytest.fixture(scope="module")
def model(numbers, short_resnet):
    _, data = numbers
    network = classifier.create_network(CONFIG.network, 6)
    variables = jax.jit(network.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 1)))
    return Classifier(CONFIG, data.class_names, data.scale, variables)


def test_score(numbers, model):
    pixels, data = numbers
    images = (pixels / 255 - 0.5) / 0.25
    logits = jax.jit(model.network.apply)(model.variables, jnp.asarray(images, jnp.float32))
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = data.test.labels
    score = classifier.evaluate(model, data, batch_size=3)
    assert score.number == 7
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(score.loss, -np.mean(log_p[np.arange(7), labels]), rtol=1e-4)
    assert score.accuracy == np.mean(logits.argmax(-1) == labels)
    assert score.top5 == np.mean(logits.argmin(-1) != labels)


def test_a_network_that_diverged_is_never_right(numbers, model):
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), model.variables)
    score = classifier.evaluate(model._replace(variables=broken), numbers[1])
    assert np.isnan(score.loss)
    assert (score.accuracy, score.top5) == (0, 0)


def test_round_trip_of_a_packed_file(model, tmp_path):
    classifier.save(tmp_path / "model.safetensors", model)
    found = classifier.load(tmp_path / "model.safetensors")
    assert found[:3] == model[:3]

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=2**-10, atol=2**-24)  # half precision

    jax.tree.map(close, found.variables, model.variables)
    (tmp_path / "other").write_text("text")
    with pytest.raises(ValueError, match="not a packed classifier"):
        classifier.load(tmp_path / "other")


def test_other_classes_are_refused(numbers, model):
    _, data = numbers
    with pytest.raises(ValueError, match="`data` must have the classes of the model"):
        classifier.evaluate(model._replace(class_names=("x",) * 6), data)
