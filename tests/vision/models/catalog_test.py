"""Every network counts what its definition counts, trains and evaluates."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.vision import models
from gossamer.vision.models.catalog import CATALOG

SIDES = {"cifar": 32, "imagenet": 224}


def variables_of(network, side, channels=3):
    images = jax.ShapeDtypeStruct((2, side, side, channels), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), images)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", CATALOG)
def test_number_of_parameters_is_that_of_the_definition(name):
    entry = CATALOG[name]
    network = models.create(name, 10 if entry.form == "cifar" else 1000)
    assert count(variables_of(network, SIDES[entry.form])["params"]) == entry.num_parameters


@pytest.mark.parametrize("name", CATALOG)
def test_a_narrow_network_trains_on_gray_images(name):
    network = models.create(name, 7, width=0.1, dtype="bfloat16")
    side = SIDES[CATALOG[name].form]
    variables = variables_of(network, side, channels=1)
    images = jax.ShapeDtypeStruct((3, side, side, 1), jnp.float32)

    def train(variables, images):
        rngs = {"dropout": jax.random.key(0)}
        return network.apply(variables, images, train=True, mutable=["batch_stats"], rngs=rngs)

    logits, found = jax.eval_shape(train, variables, images)
    assert (logits.shape, logits.dtype) == ((3, 7), jnp.float32)
    stats = {"batch_stats": variables["batch_stats"]} if "batch_stats" in variables else {}
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, stats)
    assert count(variables["params"]) < CATALOG[name].num_parameters / 10
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_training_reports_the_statistics_of_the_batch():
    network = models.create("shufflenet", 3, width=0.1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), jnp.float32)
    variables = jax.jit(network.init)(jax.random.key(0), images)

    @jax.jit
    def train(variables, images):
        return network.apply(variables, images, train=True, mutable=["batch_stats"])

    _, found = train(variables, images)
    outputs = np.einsum("nhwc,cd->nhwd", images, variables["params"]["conv1"]["kernel"][0, 0])
    first = found["batch_stats"]["bn1"]
    np.testing.assert_allclose(first["mean"], outputs.mean((0, 1, 2)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(first["var"], outputs.var((0, 1, 2)), rtol=1e-5)  # a sum of 256


def test_evaluation_is_the_same_for_each_image():
    network = models.create("resnet18", 3, width=0.1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), jnp.float32)
    variables = jax.jit(network.init)(jax.random.key(0), images)
    together = jax.jit(network.apply)(variables, images)
    alone = jax.jit(network.apply)(variables, images[:1])
    # The order of sums may depend on the number of images.
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_refuses_what_it_cannot_make():
    with pytest.raises(ValueError, match=r"`name` must be one of efficientnet_b0, .* got 'lenet'"):
        models.create("lenet")
    with pytest.raises(ValueError, match="`num_classes` must be at least 1, got 0"):
        models.create("resnet18", 0)
    with pytest.raises(ValueError, match="`width` must be positive"):
        models.create("resnet18", width=0.0)
    with pytest.raises(ValueError, match="`dtype` must be float32 or bfloat16"):
        models.create("resnet18", dtype="float16")
