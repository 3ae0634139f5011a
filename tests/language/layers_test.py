"""Attention against NumPy; layers that share a scope keep the names of BERT."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from gossamer.language.layers import Attention, EncoderLayer, FeedForward


def test_attention_is_that_of_the_paper(float64, key):
    x, y = jax.random.normal(key, (2, 3, 6)), jax.random.normal(key, (2, 4, 6))
    visible = jnp.array([[[True, True, False, True]], [[True, False, False, False]]])
    model = Attention(6, 2)

    def run(module, x, y):
        return module(x, module.project(y), visible)

    found, variables = model.init_with_output(key, x, y, method=run)
    p = jax.tree.map(np.asarray, variables["params"])
    for row in range(2):
        keys = np.asarray(visible)[row, 0]
        query, keys_, values = (
            (np.asarray(z)[row] @ p[name]["kernel"] + p[name]["bias"]).reshape(-1, 2, 3)
            for z, name in ((x, "query"), (y, "key"), (y, "value"))
        )
        mixed = np.zeros((3, 2, 3))
        for head in range(2):
            scores = query[:, head] @ keys_[keys, head].T / np.sqrt(3)
            mixed[:, head] = special.softmax(scores, axis=-1) @ values[keys, head]
        expected = mixed.reshape(3, 6) @ p["output"]["kernel"] + p["output"]["bias"]
        np.testing.assert_allclose(found[row], expected, rtol=1e-10)


def test_a_layer_has_its_parts_beside_each_other(key):
    x, valid = jnp.ones((1, 3, 4)), jnp.ones((1, 3), bool)
    params = EncoderLayer(4, 2, 5).init(key, x, valid)["params"]
    dense = {"query", "key", "value", "output", "expand", "contract"}
    assert set(params) == dense | {"attention_norm", "output_norm"}


def test_activations_are_as_asked(key):
    x = jnp.array([[-1.0, 2.0]])
    model = FeedForward(2, 3, jax.nn.relu)
    params = model.init(key, x)["params"]
    wide = np.maximum(x @ params["expand"]["kernel"], 0)
    expected = wide @ params["contract"]["kernel"]
    np.testing.assert_allclose(model.apply({"params": params}, x), expected, rtol=1e-6)
