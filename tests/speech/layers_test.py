import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.blocks import CHANNEL, MATRIX
from gossamer.core.quantization import Policy
from gossamer.core.quantized import Quantized, dequantize
from gossamer.core.quantizers import fixed, max_abs, pact_plus, sawb_plus
from gossamer.speech.layers import Dense, Embedding, dropout, zero_padding

POLICY = Policy(activations=(("input", pact_plus(4)),))


@pytest.fixture
def inputs(key):
    return jax.random.normal(key, (105,)).reshape(3, 7, 5)


@pytest.fixture
def codes(key):
    """An activation ``[3, 7, 5]`` in 4 bits."""
    return Quantized(
        jax.random.randint(key, (105,), -7, 8).reshape(3, 7, 5).astype(jnp.float32),
        jnp.float32(0.3),
        4,
        7,
    )


def fake_quantized(x, low, high):
    """Asymmetric 4 bits, one value at a time."""
    scale = (high - low) / 15
    lowest = round(low / scale)
    values = [min(max(round(value / scale), lowest), lowest + 15) for value in x.ravel().tolist()]
    return scale * np.reshape(values, x.shape)


def test_dense_without_policy_is_that_of_flax(key, inputs):
    layer, twin = Dense(4), nn.Dense(4)
    variables = layer.init(key, inputs)
    chex.assert_trees_all_equal(variables, twin.init(key, inputs))
    variables["params"]["bias"] += jnp.arange(4.0)
    np.testing.assert_allclose(
        layer.apply(variables, inputs), twin.apply(variables, inputs), rtol=1e-6, atol=1e-6
    )


def test_embedding_without_policy_is_that_of_flax(key):
    indices = jnp.array([[0, 3, 3], [8, 1, 0]])
    layer, twin = Embedding(9, 4), nn.Embed(9, 4)
    variables = layer.init(key, indices)
    chex.assert_trees_all_equal(variables, twin.init(key, indices))
    np.testing.assert_array_equal(layer.apply(variables, indices), twin.apply(variables, indices))


def test_embedding_gives_codes_where_it_holds_codes(key):
    table = jax.random.normal(key, (9, 4))
    quantized = max_abs(4, MATRIX).codes({}, table)
    found = Embedding(9, 4).apply({"params": {"embedding": quantized}}, jnp.array([[2, 8, 2]]))
    assert isinstance(found, Quantized)
    np.testing.assert_allclose(
        dequantize(found)[0], dequantize(quantized)[np.array([2, 8, 2])], rtol=1e-6
    )


@pytest.mark.parametrize("blocks", [MATRIX, CHANNEL], ids=["matrix", "channel"])
def test_dense_with_codes_equals_its_fake_quantized_twin(key, inputs, blocks):
    layer = Dense(4, POLICY)
    variables = layer.init(key, inputs)
    chex.assert_trees_all_equal(variables["clips"], {"input": pact_plus(4).init(inputs)})
    kernel = sawb_plus(4, blocks).codes({}, variables["params"]["kernel"])
    bias = jnp.arange(4.0)
    clips = {"input": {"clip_low": jnp.float32(-0.9), "clip_high": jnp.float32(1.7)}}
    outputs = layer.apply({"params": {"kernel": kernel, "bias": bias}, "clips": clips}, inputs)
    seen = fake_quantized(np.asarray(inputs, np.float64), -0.9, 1.7)
    twin = nn.Dense(4, dtype=jnp.float32, param_dtype=jnp.float32)
    expected = twin.apply({"params": {"kernel": dequantize(kernel), "bias": bias}}, seen)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)


def test_a_bounded_site_needs_no_clips(key, inputs):
    layer = Dense(4, Policy(activations=(("input", fixed(4)),)))
    variables = layer.init(key, inputs)
    assert set(variables) == {"params"}
    seen = np.clip(np.round(np.asarray(inputs) * 7), -7, 7) / 7
    np.testing.assert_allclose(
        layer.apply({"params": variables["params"]}, inputs),
        seen @ np.asarray(variables["params"]["kernel"]),
        rtol=1e-6,
        atol=1e-6,
    )


def test_rules_go_by_the_path_of_the_layer(key, inputs):
    policy = Policy(activations=(("layers_0/input", None), (".*/input", fixed(2, 0.5))))
    network = nn.Sequential([Dense(4, policy), Dense(4, policy)])  # layers_0 and layers_1
    params = {"params": network.init(key, inputs)["params"]}
    first, second = (params["params"][f"layers_{index}"]["kernel"] for index in range(2))
    hidden = np.asarray(inputs @ first)
    seen = 0.5 * np.clip(np.round(hidden / 0.5), -1, 1)
    np.testing.assert_allclose(
        network.apply(params, inputs), seen @ np.asarray(second), rtol=1e-6, atol=1e-6
    )


def test_calibration_leaves_numbers_and_notes_clips(key, inputs):
    layer = Dense(4, POLICY)
    variables = {name: layer.init(key, inputs)[name] for name in ("params", "clips")}
    outputs, noted = layer.apply(variables, 3 * inputs, mutable=["calibration"])
    plain = nn.Dense(4).apply({"params": variables["params"]}, 3 * inputs)
    np.testing.assert_allclose(outputs, plain, rtol=1e-6, atol=1e-6)
    (found,) = noted["calibration"]["input"]
    low, high = np.percentile(3 * np.asarray(inputs, np.float64), [0.1, 99.9])
    np.testing.assert_allclose(found["clip_low"], low, rtol=1e-6)
    np.testing.assert_allclose(found["clip_high"], high, rtol=1e-6)


def test_codes_pass_as_they_are(key, codes):
    layer, plain = Dense(4, POLICY), Dense(4)
    variables = layer.init(key, codes)
    assert set(variables) == {"params"}  # no clips: nothing was quantized here
    kernel = sawb_plus(4).codes({}, variables["params"]["kernel"])
    variables = {"params": variables["params"] | {"kernel": kernel}}
    outputs, noted = layer.apply(variables, codes, mutable=["calibration"])
    assert not noted
    np.testing.assert_array_equal(outputs, plain.apply(variables, codes))
    exact = np.asarray(codes.codes, np.int64) @ np.asarray(kernel.codes, np.int64)
    expected = exact * np.float64(codes.scale) * np.float64(kernel.scale)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


class Dropout(nn.Module):
    rate: float
    deterministic: bool = False

    @nn.compact
    def __call__(self, x):
        return dropout(self, x, self.rate, deterministic=self.deterministic)


def test_dropout_keeps_whole_numbers_and_the_expectation(codes):
    number, rate = 4000, 0.25
    keys = jax.random.split(jax.random.key(1), number)
    dropped = jax.vmap(lambda key: Dropout(rate).apply({}, codes, rngs={"dropout": key}))(keys)
    assert isinstance(dropped, Quantized)
    found = np.asarray(dropped.codes)
    assert np.all((found == np.asarray(codes.codes)) | (found == 0))
    assert (dropped.bits, dropped.max_abs_code) == (4, 7)
    values = np.asarray(jax.vmap(dequantize)(dropped), np.float64)
    exact = np.asarray(dequantize(codes), np.float64)
    # A mean of N draws, x / (1 - r) with probability 1 - r, else 0, deviates by
    # x sqrt(r / (1 - r) / N); five times that for 105 elements fails once in 10,000 keys.
    bound = 5 * np.abs(exact) * np.sqrt(rate / (1 - rate) / number)
    assert np.all(np.abs(values.mean(0) - exact) <= bound + 1e-9)
    assert np.any(found[0] != found[1])


def test_dropout_on_codes_drops_what_it_drops_from_numbers(key, codes):
    layer, rngs = Dropout(0.25), {"dropout": key}
    np.testing.assert_allclose(
        dequantize(layer.apply({}, codes, rngs=rngs)),
        layer.apply({}, dequantize(codes), rngs=rngs),
        rtol=1e-6,
    )


@pytest.mark.parametrize("layer", [Dropout(0.0), Dropout(0.25, deterministic=True)])
def test_no_dropout_needs_no_key(codes, layer):
    assert layer.apply({}, codes) is codes


def test_padding_becomes_zero_in_any_dtype(inputs):
    paddings = jnp.zeros((3, 7)).at[1, 4:].set(1)
    for x in (inputs, jnp.ones((3, 7, 5), jnp.int8), jnp.ones((3, 7))):
        found = zero_padding(x, paddings)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found[1, :4], x[1, :4])
        assert not np.any(found[1, 4:])
