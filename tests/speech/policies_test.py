import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import learners, training
from gossamer.core.audit import audit
from gossamer.core.paths import join, named_leaves
from gossamer.core.quantization import fake_quantize, is_quantized
from gossamer.core.quantized_variables import deploy_variables, quantize_variables
from gossamer.speech import recipe
from gossamer.speech.policies import named_policy
from gossamer.speech.run_config import (
    AugmentationConfig,
    LearnersConfig,
    OptimizerConfig,
    SpeechConfig,
)
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

VOCABULARY = 9
BITS = {  # of weights and of activations
    "int4_paper": (4, 4),
    "int4_max": (4, 4),
    "int4_weights": (4, 8),
    "int8": (8, 8),
    "int3": (3, 3),
    "int2": (2, 2),
}
MODEL = TransducerConfig(
    encoder_layers=2,
    encoder_size=6,
    reduce_after=(1,),
    embedding_size=4,
    predictor_size=5,
    joiner_size=7,
    dropout=0.0,
    embedding_dropout=0.0,
    dropconnect=0.0,
)
CONFIG = SpeechConfig(
    model=MODEL,
    augmentation=AugmentationConfig(num_time_masks=0, num_frequency_masks=0),
    optimizer=OptimizerConfig(steps=20, peak_learning_rate=3e-2, warmup=0.2),
    learners=LearnersConfig(number=2, topology="complete", order="atc"),
    quantize="int4_paper",
)


def network(name, model=MODEL):
    return Transducer(model, VOCABULARY, named_policy(name))


def arguments(features=3, frames=9):
    """Features, paddings and labels of two recordings."""
    x = np.random.default_rng(0).normal(size=(2, frames, features)).astype(np.float32)
    return x, np.zeros((2, frames), np.float32), np.array([[1, 2, 3], [4, 5, 0]], np.int32)


def shapes(name, features=3, model=MODEL):
    """The variables of a transducer by their shapes, with clips also of weights."""
    model = network(name, model)

    def init(key):
        variables = model.init(key, *arguments(features))
        weights = fake_quantize(model.policy).init(variables["params"])
        clips = variables["clips"] | {"weights": weights}
        return {"params": variables["params"], "clips": clips}

    return jax.eval_shape(init, jax.random.key(0))


def draw(variables):
    """Random weights of the usual size, and clips around one, without compiling anything."""
    generator = np.random.default_rng(0)

    def fill(path, leaf):
        name = join(path)
        if name.startswith("clips/"):
            return np.full(leaf.shape, -1.2 if name.endswith("low") else 0.9, np.float32)
        size = 0.1 if name.endswith("bias") else leaf.shape[-2] ** -0.5
        return generator.normal(scale=size, size=leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(fill, variables)


@pytest.mark.parametrize("name", BITS)
def test_every_weight_but_the_auxiliary_head_has_the_bits_of_the_name(name):
    policy, (weight_bits, activation_bits) = named_policy(name), BITS[name]
    variables = shapes(name)
    deployed = jax.eval_shape(lambda x: deploy_variables(policy, x), variables)
    found = audit(
        network(name).apply, deployed, *arguments(), policy=policy, params=variables["params"]
    )
    bits = {x.name: (x.weight_bits, x.activation_bits) for x in found.products}
    matrices = {
        path for path, leaf in named_leaves(variables["params"]) if not path.endswith("/bias")
    }
    assert set(bits) == matrices
    assert bits.pop("ctc_output/kernel") == (32, 32)
    assert bits.pop("embedding/embedding") == (weight_bits, 0)
    layers = {path.split("/")[0] for path in bits}
    assert layers == {
        "encoder_1",
        "encoder_2",
        "encoder_projection",
        "predictor",
        "predictor_projection",
        "output",
    }
    # The predictor's first product is of the embedding's codes.
    assert bits.pop("predictor/kernel") == (weight_bits, weight_bits)
    assert set(bits.values()) == {(weight_bits, activation_bits)}


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"`quantize` must be one of int4_paper.*got 'int5'"):
        named_policy("int5")
    assert named_policy(None) is None


def test_without_policy_variables_stay_as_they_are():
    variables = {"params": {"output": {"kernel": jnp.ones((2, 2))}}}
    assert quantize_variables(None, variables) is variables
    assert deploy_variables(None, variables) is variables


@pytest.mark.usefixtures("optimized_code")
def test_deployed_codes_give_the_same_bits():
    policy, model, inputs = named_policy("int4_paper"), network("int4_paper"), arguments()
    variables = draw(shapes("int4_paper"))

    @jax.jit
    def trained(variables):  # codes are computed in the program, as in training
        return model.apply(quantize_variables(policy, variables), *inputs)

    deployed = deploy_variables(policy, variables)
    chex.assert_trees_all_equal(jax.jit(model.apply)(deployed, *inputs), trained(variables))
    codes = {
        path: leaf
        for path, leaf in named_leaves(deployed["params"], is_leaf=is_quantized)
        if is_quantized(leaf)
    }
    assert "ctc_output/kernel" not in codes
    assert len(codes) == 10
    for leaf in codes.values():
        assert leaf.codes.dtype == jnp.int8
        assert np.abs(leaf.codes).max() == 7
    assert "weights" in variables["clips"]
    assert set(deployed["clips"]) == set(variables["clips"]) - {"weights"}


def make_batch(seed, rows=2, samples=2400):
    generator = np.random.default_rng(seed)
    return {
        "waveform": generator.normal(scale=0.1, size=(rows, samples)).astype(np.float32),
        "waveform_paddings": np.zeros((rows, samples), np.float32),
        "labels": generator.integers(1, VOCABULARY, size=(rows, 3)).astype(np.int32),
        "label_paddings": np.zeros((rows, 3), np.float32),
    }


def test_quantized_learners_learn():
    small = dataclasses.replace(MODEL, encoder_layers=1)
    model = network(CONFIG.quantize, small)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), make_batch(0), make_batch(1))
    variables = draw(shapes(CONFIG.quantize, recipe.NUM_FEATURES, small))
    optimizer = recipe.optimizer(CONFIG)
    state = training.init_state(variables, optimizer, jax.random.key(1), num_learners=2)
    first = jax.device_get(state.params)
    step = learners.spread(
        training.train_step(recipe.loss_function(CONFIG, model), optimizer, axis_name="learner"), 2
    )
    losses = []
    for _ in range(CONFIG.optimizer.steps):
        state, metrics = step(state, batch)
        assert float(metrics["finite"][0]) == 1
        losses.append(float(metrics["loss"][0]))
    assert losses[-1] < 0.7 * losses[0]
    last = jax.device_get(state.params)
    moved = jax.tree.map(lambda new, old: float(np.max(np.abs(new - old))), last, first)
    for path, distance in named_leaves(moved):
        assert distance > 0, path
    assert moved["clips"]["encoder_1"]["input"]["clip_low"] > 0
    # Each has seen its own recordings; adapting, then averaging with all, makes them agree.
    # In ulps: the two terms of a mean may be added in either order.
    for leaf in jax.tree.leaves(last):
        np.testing.assert_allclose(leaf[0], leaf[1], rtol=1e-6, atol=1e-7)
    assert float(metrics["consensus_distance"][0]) < 1e-6
