"""The decoder against NumPy, parameters against a formula, the cache against whole texts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from gossamer.language.translation.byte_pairs import START
from gossamer.language.translation.transformer import Transformer, empty_cache, sinusoids
from gossamer.language.translation.transformer_config import PRESETS, TransformerConfig

CONFIG = TransformerConfig(layers=2, size=8, heads=2, hidden=5, dropout=0.0)
SOURCE = np.array([[5, 6, 2, 0], [7, 5, 8, 2]])
TARGET = np.array([[6, 7, 8, 2], [5, 2, 0, 0]])
MODEL = Transformer(CONFIG, 9)


@pytest.fixture
def params(key):
    @jax.jit
    def draw(key):
        drawn = MODEL.init(key, SOURCE, TARGET)["params"]
        return jax.tree.map(  # biases and scales must count
            lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size, dtype=float)).reshape(x.shape), drawn
        )

    return draw(key)


def norm(x, p):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def attend(x, y, p, *, causal=False):
    query, key, value = (
        dense(z, p[name]).reshape(-1, 2, 4) for z, name in ((x, "query"), (y, "key"), (y, "value"))
    )
    mixed = np.zeros_like(query)
    for head in range(2):
        scores = query[:, head] @ key[:, head].T / 2
        if causal:
            scores[np.triu_indices(len(x), 1)] = -np.inf
        mixed[:, head] = special.softmax(scores, axis=-1) @ value[:, head]
    return dense(mixed.reshape(x.shape), p["output"])


def feed(x, p):
    return dense(np.maximum(dense(x, p["expand"]), 0), p["contract"])


def embed(ids, p):
    angles = np.arange(len(ids))[:, None] * 10_000.0 ** (-np.arange(0, 8, 2) / 8)
    return p["tokens"][ids] * np.sqrt(8) + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def translate(p, source, target):
    """Logits of one pair without padding, by the definition."""
    memory = embed(source, p)
    for number in range(2):
        layer = p[f"encoder_{number}"]
        memory = norm(memory + attend(memory, memory, layer), layer["attention_norm"])
        memory = norm(memory + feed(memory, layer), layer["output_norm"])
    x = embed(np.array([START, *target[:-1]]), p)
    for number in range(2):
        layer = p[f"decoder_{number}"]
        x = norm(x + attend(x, x, layer["attention"], causal=True), layer["attention_norm"])
        x = norm(x + attend(x, memory, layer["source_attention"]), layer["source_norm"])
        x = norm(x + feed(x, layer["feed_forward"]), layer["output_norm"])
    return x @ p["tokens"].T


def test_numpy_agrees(float64, params):
    found = jax.jit(MODEL.apply)({"params": params}, SOURCE, TARGET)
    plain = jax.tree.map(np.asarray, params)
    for row, (lengths) in enumerate(((3, 4), (4, 2))):
        expected = translate(plain, SOURCE[row, : lengths[0]], TARGET[row, : lengths[1]])
        # Wavelengths of positions are float32.
        np.testing.assert_allclose(found[row, : lengths[1]], expected, rtol=1e-5, atol=1e-6)


def test_the_cache_changes_nothing(params):
    whole = jax.jit(MODEL.apply)({"params": params}, SOURCE, TARGET)
    variables = {"params": params}
    memory = jax.jit(lambda ids: MODEL.apply(variables, ids, method=Transformer.read))(SOURCE)
    cache = empty_cache(CONFIG, 2, 6)
    step = jax.jit(
        lambda ids, cache, position: MODEL.apply(
            variables, ids, memory, cache, position, method=Transformer.write
        )
    )
    earlier = np.concatenate([np.full((2, 1), START), TARGET[:, :-1]], axis=1)
    for position in range(4):
        logits, cache = step(earlier[:, position, None], cache, position)
        np.testing.assert_allclose(logits[:, 0], whole[:, position], rtol=1e-4, atol=1e-5)


def test_no_token_sees_a_later_one(params):
    apply = jax.jit(MODEL.apply)
    first = apply({"params": params}, SOURCE, TARGET)
    later = TARGET.copy()
    later[:, 2] = 4
    second = apply({"params": params}, SOURCE, later)
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    assert np.abs(first[:, 3] - second[:, 3]).max() > 1e-3


def count_parameters(config, vocabulary):
    """By hand: four matrices of each attention, two of each feed-forward network, norms."""
    d, h = config.size, config.hidden
    attention = 4 * (d * d + d)
    feed_forward = d * h + h + h * d + d
    encoder = attention + feed_forward + 2 * 2 * d
    decoder = 2 * attention + feed_forward + 3 * 2 * d
    return vocabulary * d + config.layers * (encoder + decoder)


@pytest.mark.parametrize(("name", "vocabulary"), [("tiny", 100), ("small", 800), ("base", 37000)])
def test_parameters_are_as_many_as_the_formula_says(name, vocabulary):
    model = Transformer(PRESETS[name], vocabulary)
    ids = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), ids, ids)["params"]
    found = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert found == count_parameters(PRESETS[name], vocabulary)
    if name == "base":
        assert found == 63_082_496  # the paper rounds its own to 65 million


def test_dropout_needs_a_key_and_changes_logits(key, params):
    model = Transformer(dataclasses.replace(CONFIG, dropout=0.5), 9)

    def run(key):
        return model.apply(
            {"params": params}, SOURCE, TARGET, deterministic=False, rngs={"dropout": key}
        )

    first, second = (jax.jit(run)(each) for each in jax.random.split(key))
    assert np.abs(first - second).max() > 0.1
    without = (jax.jit(each.apply)({"params": params}, SOURCE, TARGET) for each in (model, MODEL))
    np.testing.assert_array_equal(*without)


def test_positions_are_sines_and_cosines():
    found = sinusoids(jnp.array([0, 3]), 4)
    expected = [[0, 0, 1, 1], [np.sin(3), np.sin(0.03), np.cos(3), np.cos(0.03)]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
