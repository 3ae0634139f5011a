"""Quantizers against block-by-block numpy and best clips, and what holds of each of them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import calibration, quantizers
from gossamer.core.quantized import dequantize

from .quantizers_cases import (
    BLOCKS,
    FACTORIES,
    KINDS,
    POINTS,
    SHAPE,
    block_slices,
    spread,
    spread_scale,
    weights,
)

CONSTANT_SCALE = ("fixed", "calibrated", "pact", "pact_plus_symmetric", "pact_plus", "lsq")
CLASSES = ("sawb", "max_abs", "fixed", "calibrated", "pact_plus", "lsq")  # one of each


def clip_of_block(name, bits, block):
    """The clip that the statistics of a block give."""
    if name == "fixed":
        return np.float32(1.3)
    largest = np.abs(block).max()
    if name == "max_abs":
        return largest
    published = {2: (2.6, -1.71), 4: (12.035, -12.03)}
    c1, c2 = published.get(bits, quantizers.SAWB_COEFFICIENTS[bits])
    clip = c1 * np.sqrt(np.mean(np.square(block))) + c2 * np.abs(block).mean()
    return clip if 0 < clip <= largest else largest


def reference_scale(name, bits, kind, params, x):
    """The scale at each element."""
    if name == "pact_plus":
        low, high = (spread(kind, params[f"clip_{end}"]) for end in ("low", "high"))
        return (high - low) / np.float32(2**bits - 1)
    if name == "lsq":
        return spread(kind, params["step_size"])
    clips = params.get("clip")
    if clips is None:
        clips = [clip_of_block(name, bits, x[where]) for where in block_slices(kind)]
    return spread(kind, clips) / np.float32(2 ** (bits - 1) - 1)


def sums_error(name, bits, x):
    """By how much scales may differ where sums are added in another order: not, without sums."""
    if not name.startswith("sawb"):
        return 0.0
    # The clip is a difference of numbers below c1 max |x|, and keeps their rounding errors.
    c1, _ = quantizers.SAWB_COEFFICIENTS[bits]
    return 1e-6 * c1 * np.max(np.abs(x)) / (2 ** (bits - 1) - 1)


def reference_ends(name, bits, kind, params, scale):
    """The lowest and the highest code at each element."""
    levels = 2 ** (bits - 1) - 1
    if name == "pact_plus":
        lowest = np.round(spread(kind, params["clip_low"]) * (1 / scale))
        return lowest, lowest + 2**bits - 1
    return -levels - (name == "lsq"), levels


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_forward_is_that_of_a_loop_over_blocks(name, kind):
    x = weights()
    for bits in range(2, 7 if name.startswith("sawb") else 9):
        quantizer = FACTORIES[name](bits, BLOCKS[kind])
        params = quantizer.init(jnp.asarray(x))
        quantized = quantizer.codes(params, jnp.asarray(x))
        params = {key: np.asarray(value) for key, value in params.items()}

        _, per_block, scale_shape = KINDS[kind]
        assert {p.shape for p in params.values()} <= {per_block}
        assert quantized.scale.shape == (() if name == "fixed" else scale_shape)
        scale = spread_scale(kind, np.asarray(quantized.scale))
        expected = reference_scale(name, bits, kind, params, x)
        atol = sums_error(name, bits, x)
        np.testing.assert_allclose(scale, expected, rtol=1e-6, atol=atol)

        # A scale that differs in its last digit would move values halfway between two codes.
        low, high = reference_ends(name, bits, kind, params, scale)
        codes = np.clip(np.round(x * (1 / scale)), low, high)
        np.testing.assert_array_equal(quantized.codes, codes)
        np.testing.assert_array_equal(dequantize(quantized), codes * scale)
        assert (quantized.bits, quantized.max_abs_code) == (bits, quantizer.max_abs_code)
        if kind == "tensor" and name not in ("fixed", "lsq"):  # whose ranges may be wider
            assert len(np.unique(codes)) > 2 ** (bits - 2)


least_error_clip = partial(calibration.mse_clip, bits=4)
FIRST_PARAMETERS = (
    (partial(quantizers.pact, clip=1.5), "clip", lambda v: 1.5),
    (quantizers.pact, "clip", lambda v: np.percentile(np.abs(v), 99.9)),
    (partial(quantizers.calibrated, method="max"), "clip", lambda v: np.abs(v).max()),
    (partial(quantizers.calibrated, method="mse"), "clip", least_error_clip),
    (quantizers.pact_plus, "clip_low", lambda v: min(np.percentile(v, 0.1), 0.0)),
    (quantizers.pact_plus, "clip_high", lambda v: max(np.percentile(v, 99.9), 0.0)),
    (quantizers.lsq, "step_size", lambda v: 2 * np.abs(v).mean() / np.sqrt(7)),
)


@pytest.mark.parametrize("kind", ["tensor", "gate"])
@pytest.mark.parametrize(("factory", "key", "of_block"), FIRST_PARAMETERS)
def test_first_parameters(factory, key, of_block, kind):
    x = weights()
    found = factory(4, BLOCKS[kind]).init(jnp.asarray(x))[key]
    expected = [of_block(x[where]) for where in block_slices(kind)]
    # The rank of a percentile, up to 384 in float32, is off by up to 384 * 2^-23 or 5e-5 of the
    # distance of two neighbors, which is less than a tenth of them.
    np.testing.assert_allclose(np.ravel(found), expected, rtol=5e-6)


def squared_error(x, x_hat):
    return np.mean(np.square(x - x_hat), dtype=np.float64)


# Of numpy's generators; "uniform" lies on one side of zero, which is the same for symmetric codes.
@pytest.mark.parametrize("density", ["standard_normal", "laplace", "uniform", "logistic"])
def test_sawb_at_four_bits_is_close_to_the_best_clip(density):
    x = getattr(np.random.default_rng(0), density)(size=100_000).astype(np.float32)
    found = squared_error(x, quantizers.sawb(4).apply({}, jnp.asarray(x)))
    # The optimal clips are above a tenth of the largest value; these are 1.6% apart.
    scales = np.abs(x).max() / 7 * np.geomspace(0.1, 1.0, 150, dtype=np.float32)
    least = min(squared_error(x, s * np.clip(np.round(x / s), -7, 7)) for s in scales)
    assert found <= 1.05 * least
    if density == "standard_normal":
        assert found == pytest.approx(1.29e-2, rel=0.02)  # published coefficients, variance 1
        # The 2.9 times of 400,000 values, a bit less of fewer, whose largest is smaller.
        assert squared_error(x, quantizers.max_abs(4).apply({}, jnp.asarray(x))) > 2.0 * found


@pytest.mark.parametrize("factory", [quantizers.sawb, quantizers.sawb_plus])
@pytest.mark.parametrize("bits", [7, 8])
def test_sawb_is_refused_where_its_clip_is_bad(bits, factory):
    message = f"`bits` must be 2 to 6 for SAWB, got {bits}: its clip .* error .* use max_abs"
    with pytest.raises(ValueError, match=message):
        factory(bits)


@pytest.mark.parametrize("bits", range(2, 7))
def test_sawb_stays_in_the_range_of_any_data(bits):
    quantizer = quantizers.sawb(bits, BLOCKS["matrix"])
    generator = np.random.default_rng(0)
    heavy = generator.standard_t(1.5, (40, 50, 20)).astype(np.float32)
    few = generator.standard_t(1.5, (200, 2, 2)).astype(np.float32)
    few[0] = [[0.0, -2.0], [0.0, 0.0]]  # c1 s2 alone is more than the largest from 3 bits on
    few[1] = 0.5  # all alike: negative at 5 and 6 bits, whose c1 + c2 is
    c1, c2 = quantizers.SAWB_COEFFICIENTS[bits]
    levels = 2 ** (bits - 1) - 1
    for x in (heavy, few):
        clips = levels * np.ravel(quantizer.codes({}, jnp.asarray(x)).scale)
        tops = np.abs(x).max(axis=(1, 2))
        assert np.all(clips > 0)
        assert np.all(clips <= tops * (1 + 1e-6))
        plain = c1 * np.sqrt(np.mean(x**2, (1, 2))) + c2 * np.mean(np.abs(x), (1, 2))
        guarded = (plain <= 0) | (plain > tops)
        np.testing.assert_allclose(clips[guarded], tops[guarded], rtol=1e-6)
    assert guarded[0] == (bits > 2)
    assert guarded[1] == (bits > 4)


@pytest.mark.parametrize("name", FACTORIES)
def test_zeros_stay_zero_and_let_gradients_pass(name):
    cotangent = 1e-6  # must not vanish in products with a tiny scale
    quantizer = FACTORIES[name](4, BLOCKS["gate"])
    x = weights()
    x[0, :, 4:8] = 0.0
    gradients = jax.jit(lambda *a: jax.vjp(quantizer.apply, *a)[1](jnp.full(SHAPE, cotangent)))
    for zeros in (jnp.zeros(SHAPE), jnp.asarray(x)):
        params = quantizer.init(zeros)
        quantized = quantizer.codes(params, zeros)
        assert np.all(np.asarray(quantized.scale) > 0)
        np.testing.assert_array_equal(np.asarray(quantized.codes)[zeros == 0], 0.0)
        by_params, by_x = gradients(params, zeros)
        np.testing.assert_allclose(np.asarray(by_x)[zeros == 0], cotangent, rtol=1e-6)
        assert all(np.all(np.isfinite(value)) for value in (by_x, *by_params.values()))


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("name", ["fixed", "calibrated", "pact_plus", "lsq"])
def test_codes_do_not_depend_on_the_compiler(name):
    quantizer = FACTORIES[name](5)
    params = quantizer.init(jnp.asarray(weights()))
    scale = np.asarray(quantizer.codes(params, jnp.asarray(POINTS)).scale)
    largest = quantizer.max_abs_code
    halfway = (np.arange(-largest, largest) + 0.5).astype(np.float32) * scale
    neighbors = [np.nextafter(halfway, np.float32(end)) for end in (-np.inf, np.inf)]
    x = jnp.asarray(np.concatenate([halfway, *neighbors]))
    expected = quantizer.codes(params, x)
    many = jax.tree.map(lambda p: jnp.broadcast_to(p, x.shape), params)
    ways = {
        "compiled": jax.jit(quantizer.codes)(params, x),
        "of constants": jax.jit(lambda: quantizer.codes(params, x))(),
        "in a gradient": jax.jit(lambda p, x: jax.vjp(quantizer.codes, p, x)[0])(params, x),
        "one by one": jax.jit(jax.vmap(quantizer.codes))(many, x),
    }
    for way, found in ways.items():
        np.testing.assert_array_equal(found.codes, expected.codes, err_msg=way)
        assert np.all(found.scale == scale), way


@pytest.mark.parametrize("kind", ["gate", "group"])
@pytest.mark.parametrize("name", FACTORIES)
def test_battery(name, kind):
    quantizer = FACTORIES[name](4, BLOCKS[kind])
    assert dataclasses.replace(quantizer) == quantizer
    assert hash(dataclasses.replace(quantizer)) == hash(quantizer)
    assert dataclasses.replace(quantizer, bits=5) != quantizer

    params = quantizer.init(jnp.asarray(weights()))
    shapes = jax.eval_shape(quantizer.init, jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    assert shapes == jax.eval_shape(lambda: params)
    traces = []

    @jax.jit
    def run(params, x):
        traces.append(name)
        return quantizer.codes(params, x)

    for seed in (0, 1):
        x = jnp.asarray(weights(seed))
        quantized, compiled = quantizer.codes(params, x), run(params, x)
        np.testing.assert_array_equal(compiled.codes, quantized.codes)
        atol = sums_error(name, 4, x)
        np.testing.assert_allclose(compiled.scale, quantized.scale, rtol=0.0, atol=atol)
        np.testing.assert_array_equal(quantizer.apply(params, x), dequantize(quantized))
        np.testing.assert_array_equal(quantized.codes, np.round(quantized.codes))
        assert np.max(np.abs(quantized.codes)) <= quantizer.max_abs_code
    assert len(traces) == 1
    if name in CONSTANT_SCALE:
        again = quantizer.codes(params, dequantize(quantized))
        np.testing.assert_array_equal(again.codes, quantized.codes)


@pytest.mark.parametrize("name", CLASSES)
def test_maps_over_tensors(name):
    quantizer = FACTORIES[name](4, BLOCKS["gate"])
    x = jnp.asarray(np.stack([weights(seed) for seed in range(3)]))
    params = jax.vmap(quantizer.init)(x)
    mapped = jax.vmap(quantizer.codes)(params, x)
    for number, tensor in enumerate(x):
        alone = quantizer.codes({key: p[number] for key, p in params.items()}, tensor)
        np.testing.assert_array_equal(mapped.codes[number], alone.codes)
        atol = sums_error(name, 4, x)
        np.testing.assert_allclose(mapped.scale[number], alone.scale, rtol=0.0, atol=atol)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", CLASSES)
def test_keeps_dtypes_also_beside_float64(name, dtype, float64):
    quantizer, x = FACTORIES[name](4), jax.ShapeDtypeStruct(SHAPE, dtype)
    params = jax.eval_shape(quantizer.init, x)
    quantized = jax.eval_shape(quantizer.codes, params, x)
    values, pull_back = jax.eval_shape(partial(jax.vjp, quantizer.apply), params, x)
    by_params, by_x = jax.eval_shape(lambda f, y: f(y), pull_back, values)
    assert {quantized.codes.dtype, values.dtype, by_x.dtype} == {jnp.dtype(dtype)}
    wide = jax.tree.leaves((params, by_params, quantized.scale))
    assert {leaf.dtype for leaf in wide} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", CLASSES)
def test_calculates_in_float32(name):
    quantizer, x = FACTORIES[name](4), jnp.asarray(weights(), jnp.bfloat16)
    found, expected = (quantizer.codes(quantizer.init(x), x) for x in (x, x.astype(jnp.float32)))
    np.testing.assert_array_equal(found.codes.astype(jnp.float32), expected.codes)
    np.testing.assert_array_equal(found.scale, expected.scale)


@pytest.mark.parametrize("bits", range(2, 9))
def test_largest_code_is_reached(bits):
    one_sided = jnp.asarray([[-1.0, -0.5, 0.0]])
    for quantizer, largest in (
        (quantizers.pact(bits), 2 ** (bits - 1) - 1),
        (quantizers.max_abs(bits), 2 ** (bits - 1) - 1),
        (quantizers.lsq(bits), 2 ** (bits - 1)),
        (quantizers.pact_plus(bits), 2**bits - 1),
    ):
        params = quantizer.init(one_sided / 4 if quantizer.kind == "lsq" else one_sided)
        codes = quantizer.codes(params, 100 * one_sided).codes
        assert quantizer.max_abs_code == largest
        assert np.max(np.abs(codes)) == largest


@pytest.mark.parametrize("bits", [0, 1, 9, 32])
@pytest.mark.parametrize("name", FACTORIES)
def test_refuses_widths(name, bits):
    with pytest.raises(ValueError, match=f"`bits` must be 2 to 8, got {bits}; leave the tensor"):
        FACTORIES[name](bits)


@pytest.mark.parametrize("clip", [0.0, -1.0, np.nan])
def test_refuses_clips(clip):
    for name in ("fixed", "pact", "pact_plus_symmetric"):
        with pytest.raises(ValueError, match=f"`clip` must be positive.*, got {clip}"):
            FACTORIES[name](4, clip=clip)


def test_refuses_what_a_quantizer_does_not_have():
    with pytest.raises(ValueError, match="`clip` is for symmetric=True"):
        quantizers.pact_plus(4, clip=1.0)
    with pytest.raises(ValueError, match="`method` must be max, percentile or mse, got 'entropy'"):
        quantizers.calibrated(4, method="entropy")
