"""The language model: prefixes only, the same in one run and step by step, in float and codes."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.audit import audit, float_share
from gossamer.core.quantized_variables import deploy_variables, quantize_variables
from gossamer.speech import language_model_run
from gossamer.speech.calibration import calibrate, draw_variables
from gossamer.speech.corpora.sentences import pad
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.policies import named_policy
from gossamer.speech.text import Vocabulary

CONFIG = LanguageModelConfig(layers=2, size=12, embedding_size=6, dropout=0.5)
VOCABULARY = 7
LABELS = jnp.asarray([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])


@functools.cache
def build(policy=None):
    model = LanguageModel(CONFIG, VOCABULARY, policy)
    variables = jax.jit(model.init)(jax.random.key(0), LABELS)
    if policy is not None:
        # Clips of this order of magnitude: the first ones came from a pass over one batch.
        variables["clips"]["weights"] = {}
        variables = jax.jit(functools.partial(quantize_variables, policy))(variables)
    return model, variables


@pytest.mark.parametrize("name", [None, "int4_paper"])
def test_steps_give_what_a_run_gives(name):
    model, variables = build(named_policy(name))
    expected = jax.jit(model.apply)(variables, LABELS)
    chex.assert_shape(expected, (2, 6, VOCABULARY))
    state = model.initial_state(2)
    step = jax.jit(functools.partial(model.apply, method="step"))
    for position in range(6):
        tokens = jnp.zeros(2, jnp.int32) if position == 0 else LABELS[:, position - 1]
        logits, state = step(variables, tokens, state)
        np.testing.assert_allclose(logits, expected[:, position], rtol=1e-5, atol=1e-6)


def test_a_logit_depends_on_the_prefix_alone():
    model, variables = build()
    apply = jax.jit(model.apply)
    changed, expected = apply(variables, LABELS.at[:, 3].set(1)), apply(variables, LABELS)
    np.testing.assert_array_equal(changed[:, :4], expected[:, :4])
    assert not np.allclose(changed[:, 4:], expected[:, 4:])


def test_dropout_is_drawn_in_training_only():
    model, variables = build()
    train = jax.jit(functools.partial(model.apply, deterministic=False))
    draws = [train(variables, LABELS, rngs={"dropout": jax.random.key(i)}) for i in range(2)]
    assert not np.allclose(*draws)


def test_every_product_is_quantized():
    policy = named_policy("int4_paper")
    model = LanguageModel(CONFIG, VOCABULARY, policy)
    shapes = jax.eval_shape(model.init, jax.random.key(0), LABELS)["params"]
    found = audit(model.apply, build(policy)[1], LABELS, policy=policy, params=shapes)
    assert float_share(found) == 0
    assert len(found.products) == 6  # the embedding, two products a layer, the output


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("name", ["int4_paper", "int4_max", "int8"])
def test_packed_codes_give_the_bits_of_training(name, tmp_path):
    policy, characters = named_policy(name), Vocabulary.of(["abcdef"])
    model = LanguageModel(CONFIG, VOCABULARY, policy)
    variables = draw_variables(model, jax.random.key(0), jax.ShapeDtypeStruct((1, 2), jnp.int32))
    params = variables["params"]
    generator = np.random.default_rng(0)
    texts = [generator.integers(1, VOCABULARY, size=size) for size in (3, 40, 17, 64)]
    batches = [pad(texts[:1] * 4), pad(texts)]
    clips = calibrate(model, params, iter(batches), lambda batch: (batch["labels"],))
    variables = {"params": params, "clips": clips}

    @jax.jit
    def train_forward(variables, labels):  # codes are computed in the program
        return model.apply(quantize_variables(policy, variables), labels)

    deployed = deploy_variables(policy, variables)
    path = tmp_path / "lm.safetensors"
    language_model_run.save(path, TrainedLanguageModel(CONFIG, characters, deployed, name))
    loaded = language_model_run.load(path)
    assert loaded.model == model
    evaluate = jax.jit(loaded.model.apply)
    for batch in batches:  # as `measure_perplexity` pads them
        expected = train_forward(variables, batch["labels"])
        np.testing.assert_array_equal(evaluate(loaded.params, batch["labels"]), expected)
