"""Exported networks against the modules that they were written from."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech.deployment import networks
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.policies import named_policy

# Sums of few numbers in another order, and the nonlinearities of another library.
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


def session(model):
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("frames", [1, 12, 13])
@pytest.mark.parametrize("kind", ["integer", "float"])
@pytest.mark.parametrize("quantize", [None, "int4_paper", "int8"])
@pytest.mark.parametrize("reduce_after", [(0,), (), (1, 2)])
def test_encoder(make_recognizer, quantize, kind, reduce_after, frames):
    made = make_recognizer(quantize, reduce_after=reduce_after)
    x = draw(frames, 240)
    expected, _ = made.model.apply(made.params, x[None], jnp.zeros((1, frames)), method="encode")
    run = session(networks.encoder(made.model, made.params, kind)).run
    (found,) = run(None, {"frames": x})
    np.testing.assert_allclose(found, np.asarray(expected)[0], **CLOSE)


@pytest.mark.parametrize("quantize", [None, "int4_paper"])
@pytest.mark.parametrize("lookahead", [0, 3])
def test_encoder_in_parts(make_recognizer, quantize, lookahead):
    made = make_recognizer(quantize, bidirectional=False, lookahead=lookahead)
    x = draw(30, 240)
    expected, _ = made.model.apply(made.params, x[None], jnp.zeros((1, 30)), method="encode")
    network = session(networks.encoder(made.model, made.params, "integer"))
    states = {
        node.name: np.zeros((0 if "waiting" in node.name else 1, node.shape[1]), np.float32)
        for node in network.get_inputs()
        if node.name not in ("frames", "padding")
    }
    names = [node.name for node in network.get_outputs()]
    parts = []
    for part in np.split(x, [14, 18]):
        inputs = {"frames": part, **states}
        if lookahead:
            is_last = len(part) == 12
            inputs["padding"] = np.array([lookahead if is_last else 0])
        found = dict(zip(names, network.run(None, inputs), strict=True))
        parts.append(found["encoded"])
        states = {name: found[f"next_{name}"] for name in states}
    np.testing.assert_allclose(np.concatenate(parts), np.asarray(expected)[0], **CLOSE)


def test_blockwise_encoder_is_near(make_recognizer):
    made = make_recognizer("int4_paper")
    x = draw(12, 240)
    expected, _ = made.model.apply(made.params, x[None], jnp.zeros((1, 12)), method="encode")
    run = session(networks.encoder(made.model, made.params, "blockwise")).run
    (found,) = run(None, {"frames": x})
    error = np.sqrt(np.mean((found - np.asarray(expected)[0]) ** 2) / np.mean(expected**2))
    assert 0 < error < 0.5  # 8 bits where there were none, which turns some codes of 4


@pytest.mark.parametrize("kind", ["integer", "float"])
@pytest.mark.parametrize("quantize", [None, "int4_paper"])
def test_predictor(make_recognizer, quantize, kind):
    made = make_recognizer(quantize)
    tokens, state = np.array([0, 3, 5]), (np.tanh(draw(3, 8)), draw(3, 8, seed=1))
    expected, last = made.model.apply(made.params, tokens, state, method="predict_step")
    run = session(networks.predictor(made.model, made.params, kind)).run
    found = run(None, {"tokens": tokens, "hidden": state[0], "cell": state[1]})
    for ours, theirs in zip(found, (expected, *last), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), **CLOSE)


@pytest.mark.parametrize("joiner", ["additive", "multiplicative"])
@pytest.mark.parametrize("quantize", [None, "int4_paper"])
def test_joiner(make_recognizer, quantize, joiner):
    made = make_recognizer(quantize, joiner=joiner)
    encoded, predicted = draw(4, 8), draw(4, 8, seed=1)
    logits = made.model.apply(made.params, encoded, predicted, method="join")
    run = session(networks.joiner(made.model, made.params, "integer")).run
    (found,) = run(None, {"encoded": encoded, "predicted": predicted})
    np.testing.assert_allclose(found, np.asarray(jax.nn.log_softmax(logits)), **CLOSE)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("quantize", [None, "int4_paper"])
def test_language_model(quantize, layers):
    config = LanguageModelConfig(layers=layers, size=12, embedding_size=6)
    model = LanguageModel(config, 9, named_policy(quantize))
    labels = jnp.zeros((1, 3), jnp.int32)
    variables = model.copy(policy=None).init(jax.random.key(0), labels)
    if quantize is not None:
        clips = jax.tree.map(
            lambda clip: jnp.full_like(clip, 0.8),
            model.init(jax.random.key(0), labels).get("clips", {}),
        )
        variables = deploy_variables(
            model.policy, {"params": variables["params"], "clips": clips | {"weights": {}}}
        )
    tokens, states = np.array([0, 8, 2, 2]), {}
    pairs = []
    for layer in range(1, layers + 1):
        pair = (np.tanh(draw(4, 12, seed=layer)), draw(4, 12, seed=-layer % 7))
        pairs.append(pair)
        states |= {f"hidden_{layer}": pair[0], f"cell_{layer}": pair[1]}
    logits, last = model.apply(variables, tokens, tuple(pairs), method="step")
    run = session(networks.language_model(model, variables, "integer")).run
    found, *rest = run(None, {"tokens": tokens, **states})
    np.testing.assert_allclose(found, np.asarray(jax.nn.log_softmax(logits)), **CLOSE)
    for ours, theirs in zip(rest, jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), **CLOSE)
