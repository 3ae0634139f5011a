"""The whole search at 4 bits: recognizer, external and source language model in one program."""

import functools

import jax
import jax.numpy as jnp
import pytest

from gossamer.core.audit import audit
from gossamer.core.quantized import FLOAT
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import recognizer
from gossamer.speech.calibration import draw_variables
from gossamer.speech.fusion import FusedModels
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.policies import named_policy
from gossamer.speech.run_config import DataConfig
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

VOCABULARY = 11
LABELS = jax.ShapeDtypeStruct((1, 2), jnp.int32)
SOUND = jax.ShapeDtypeStruct((2, 4000), jnp.float32)
POLICY = named_policy("int4_paper")
TRANSDUCER = TransducerConfig(
    encoder_layers=1,
    encoder_size=6,
    reduce_after=(0,),
    embedding_size=4,
    predictor_size=5,
    joiner_size=7,
)
EXTERNAL = LanguageModelConfig(layers=2, size=9, embedding_size=3)
SOURCE = LanguageModelConfig(layers=1, size=8, embedding_size=3)


def shapes(model, *inputs):
    """The deployed variables of a network by their shapes."""

    def draw(key):
        return deploy_variables(model.policy, draw_variables(model, key, *inputs))

    return jax.eval_shape(draw, jax.random.key(0))


def audit_search(source_policy):
    """Audits a beam search with the density ratio of two language models."""
    model = Transducer(TRANSDUCER, VOCABULARY, POLICY)
    features = jax.ShapeDtypeStruct((1, 8, 240), jnp.float32)
    paddings = jax.ShapeDtypeStruct((1, 8), jnp.float32)
    variables = shapes(model, features, paddings, LABELS)
    models = (
        LanguageModel(EXTERNAL, VOCABULARY, POLICY),
        LanguageModel(SOURCE, VOCABULARY, source_policy),
    )
    language_models = tuple(shapes(model, LABELS) for model in models)
    fused = FusedModels(models, language_models, weights=(0.5, -0.3), length_reward=0.1)
    return audit(
        functools.partial(recognizer.decode, model, DataConfig(), 4, 2),
        variables,
        fused,
        SOUND,
        SOUND,
        policy=POLICY,
        params=variables["params"] | language_models[0]["params"],
    )


def test_every_product_of_the_search_is_of_codes():
    products = audit_search(POLICY).products
    # The features are computed in float: Fourier transform and mel filters.
    in_float = {product.shapes[1] for product in products if product.weight_bits == FLOAT}
    assert in_float == {(200, 256), (128, 40)}
    bits = {
        (product.name, product.shapes[0 if product.kind == "lookup" else 1][-2:]): (
            product.weight_bits,
            product.activation_bits,
        )
        for product in products
        if product.weight_bits < FLOAT
    }
    lookups = {("embedding/embedding", (VOCABULARY, size)) for size in (4, 3)}
    assert {name for name, found in bits.items() if found == (4, 0)} == lookups
    assert {name for name, found in bits.items() if found == (4, 4)} == {
        ("encoder_1/kernel", (2 * 240, 4 * 6)),
        ("encoder_1/recurrent", (6, 4 * 6)),
        ("encoder_projection/kernel", (2 * 6, 7)),
        ("predictor/kernel", (4, 4 * 5)),
        ("predictor/recurrent", (5, 4 * 5)),
        ("predictor_projection/kernel", (5, 7)),
        ("output/kernel", (7, VOCABULARY)),
        # The external language model, then the source.
        ("layer_1/kernel", (3, 4 * 9)),
        ("layer_1/recurrent", (9, 4 * 9)),
        ("layer_2/kernel", (9, 4 * 9)),
        ("layer_2/recurrent", (9, 4 * 9)),
        ("output/kernel", (9, VOCABULARY)),
        ("layer_1/kernel", (3, 4 * 8)),
        ("layer_1/recurrent", (8, 4 * 8)),
        ("output/kernel", (8, VOCABULARY)),
    }
    assert len(bits) == 17


def test_a_language_model_in_float_is_found():
    with pytest.raises(ValueError, match=r"layer_1/kernel \(float\)"):
        audit_search(None)
