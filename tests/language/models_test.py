"""The encoder against NumPy; padding does not matter; all layers can be tapped."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.models import Classifier, Encoder, pool

CONFIG = EncoderConfig(layers=1, size=6, heads=2, hidden=5, max_length=7, dropout=0.0)
IDS = np.array([[2, 5, 6, 3, 0, 0], [2, 4, 3, 0, 0, 0]])


def norm(x, p):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return x * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def encode(p, ids):
    """One text without padding, by the definition."""
    x = norm(p["tokens"][ids] + p["positions"][: len(ids)], p["norm"])
    layer = p["layer_0"]
    query, key, value = (
        dense(x, layer[name]).reshape(-1, 2, 3) for name in ("query", "key", "value")
    )
    mixed = np.zeros_like(query)
    for head in range(2):
        scores = query[:, head] @ key[:, head].T / np.sqrt(3)
        mixed[:, head] = special.softmax(scores, axis=-1) @ value[:, head]
    x = norm(x + dense(mixed.reshape(x.shape), layer["output"]), layer["attention_norm"])
    wide = dense(x, layer["expand"])
    wide = wide * special.ndtr(wide)
    return norm(x + dense(wide, layer["contract"]), layer["output_norm"])


def test_numpy_agrees(float64, key):
    model = Encoder(CONFIG, 9)
    params = jax.jit(model.init)(key, jnp.asarray(IDS))["params"]
    params = jax.tree.map(  # biases and scales must count
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size, dtype=float)).reshape(leaf.shape),
        params,
    )
    found = jax.jit(model.apply)({"params": params}, jnp.asarray(IDS))
    plain = jax.tree.map(np.asarray, params)
    for row, length in enumerate((4, 3)):
        expected = encode(plain, IDS[row, :length])
        np.testing.assert_allclose(found[row, :length], expected, rtol=1e-8, atol=1e-8)
        pooled = pool(found, jnp.asarray(IDS))[row]
        np.testing.assert_allclose(pooled, expected.mean(0), rtol=1e-8, atol=1e-8)


def test_padding_does_not_matter(key):
    model = Classifier(CONFIG, 9, 3)
    params = jax.jit(model.init)(key, jnp.asarray(IDS))["params"]
    apply = jax.jit(model.apply)
    whole, cut = (apply({"params": params}, jnp.asarray(x)) for x in (IDS, IDS[:, :4]))
    np.testing.assert_allclose(whole, cut, rtol=1e-5, atol=1e-6)
    single = apply({"params": params}, jnp.asarray(IDS[0]))
    np.testing.assert_allclose(single, whole[0], rtol=1e-5, atol=1e-6)
