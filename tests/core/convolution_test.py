"""Convolutions against explicit loops, and codes against sums of integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import audit, quantization
from gossamer.core.blocks import CHANNEL, FILTER, TENSOR
from gossamer.core.convolution import convolve
from gossamer.core.quantization import Policy
from gossamer.core.quantized import Quantized, dequantize
from gossamer.core.quantizers import max_abs

# kernel size, stride, padding, groups, channels in and out
SHAPES = {
    "plain": (3, 1, 1, 1, 4, 6),
    "strided": (3, 2, 1, 1, 4, 6),
    "pointwise": (1, 2, 0, 1, 4, 6),
    "no padding": (3, 1, 0, 1, 4, 6),
    "two groups": (3, 1, 1, 2, 4, 6),
    "many groups": (1, 1, 0, 6, 12, 6),
    "depthwise": (3, 2, 1, 4, 4, 4),
    "wide depthwise": (5, 1, 2, 4, 4, 4),
}


def loops(x, kernel, stride, padding, groups):
    """The sum of the module's docstring, element by element."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width, inner, outputs = kernel.shape
    rows, columns = ((side - height) // stride + 1 for side in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, outputs), np.result_type(x, kernel))
    for n, i, j, o in np.ndindex(*y.shape):
        first = o // (outputs // groups) * inner
        window = x[n, stride * i :, stride * j :, first : first + inner][:height, :width]
        y[n, i, j, o] = np.sum(window * kernel[..., o])
    return y


def draw(name, generate):
    size, stride, padding, groups, inputs, outputs = SHAPES[name]
    x, kernel = generate((2, 6, 5, inputs)), generate((size, size, inputs // groups, outputs))
    return x, kernel, {"stride": stride, "padding": padding, "groups": groups}


@pytest.mark.parametrize("name", SHAPES)
def test_of_numbers(name):
    x, kernel, options = draw(name, np.random.default_rng(0).standard_normal)
    found = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), **options)
    # Sums of up to 36 products of unit size in float32.
    np.testing.assert_allclose(found, loops(x, kernel, *options.values()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_of_codes_is_exact(name):
    generator = np.random.default_rng(1)
    x, kernel, options = draw(name, lambda shape: generator.integers(-7, 8, shape))
    scale = np.float32(generator.uniform(0.5, 2.0, (1, 1, 1, kernel.shape[-1])))
    found = convolve(
        Quantized(jnp.asarray(x, jnp.float32), jnp.float32(0.5), 4, 7),
        Quantized(jnp.asarray(kernel, jnp.float32), jnp.asarray(scale), 4, 7),
        **options,
    )
    sums = loops(x, kernel, *options.values()).astype(np.float32)
    np.testing.assert_array_equal(found, sums * (np.float32(0.5) * scale))


def test_long_sums_of_eight_bits_are_cut_into_exact_ones():
    x = np.full((1, 3, 3, 512), 127)
    kernel = np.full((3, 3, 512, 1), 127)
    codes = (Quantized(jnp.asarray(t, jnp.float32), jnp.float32(1.0), 8, 127) for t in (x, kernel))
    assert 9 * 512 * 127**2 > 2**24
    assert convolve(*codes).item() == np.float32(9 * 512 * 127**2)


@pytest.mark.parametrize("name", ["plain", "two groups", "depthwise"])
def test_gradient_of_codes_is_that_of_numbers(name):
    x, kernel, options = draw(name, np.random.default_rng(2).standard_normal)
    quantizer = max_abs(4, FILTER)

    def of_codes(x, kernel):
        codes = max_abs(4, TENSOR).codes({}, x), quantizer.codes({}, kernel)
        return jnp.sum(jnp.sin(convolve(*codes, **options)))

    def of_numbers(x, kernel):
        values = max_abs(4, TENSOR).apply({}, x), quantizer.apply({}, kernel)
        return jnp.sum(jnp.sin(convolve(*values, **options)))

    operands = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    found, expected = (jax.jit(jax.grad(f, (0, 1)))(*operands) for f in (of_codes, of_numbers))
    for a, b in zip(found, expected, strict=True):
        # Both sum up to 60 products of unit size in float32, of scales that differ in a last bit.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_one_operand_of_codes_is_turned_back():
    x, kernel, options = draw("plain", np.random.default_rng(3).standard_normal)
    x, kernel = jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    codes = max_abs(4, FILTER).codes({}, kernel)
    expected = convolve(x, dequantize(codes), **options)
    np.testing.assert_array_equal(convolve(x, codes, **options), expected)


def test_learners_have_kernels_of_their_own():
    x, kernel, options = draw("depthwise", np.random.default_rng(4).standard_normal)
    kernels = jnp.asarray(np.stack([kernel, -kernel]), jnp.float32)
    found = jax.vmap(lambda w: convolve(jnp.asarray(x, jnp.float32), w, **options))(kernels)
    np.testing.assert_array_equal(found[0], -found[1])


@pytest.mark.parametrize("name", ["plain", "depthwise", "two groups"])
def test_audit_counts_every_product(name):
    x, kernel, options = draw(name, lambda shape: np.ones(shape, np.float32))
    policy = Policy(weights=(("conv/kernel", max_abs(4, FILTER)),), activations=())
    params = {"conv": {"kernel": jnp.asarray(kernel)}}
    codes = quantization.fake_quantize(policy).codes(params, {})

    def network(params):
        images = max_abs(4).codes({}, jnp.asarray(x))
        return convolve(images, params["conv"]["kernel"], name="conv/kernel", **options)

    found = audit.audit(network, codes, policy=policy, params=params)
    outputs = jax.eval_shape(network, codes).size
    assert {(p.name, p.weight_bits, p.activation_bits) for p in found.products} == {
        ("conv/kernel", 4, 4)
    }
    assert sum(p.macs for p in found.products) == outputs * kernel[..., 0].size


def test_refuses_what_does_not_fit():
    images = jnp.ones((1, 4, 4, 6))
    with pytest.raises(ValueError, match=r"`kernel` must be .* in 2 groups for images of 6"):
        convolve(images, jnp.ones((3, 3, 4, 8)), groups=2)
    codes = max_abs(4).codes({}, images)
    kernel = max_abs(4, CHANNEL).codes({}, jnp.ones((3, 3, 6, 2)))
    with pytest.raises(ValueError, match="one for each output, got scales"):
        convolve(codes, kernel)
    rows = max_abs(4, CHANNEL).codes({}, images)
    with pytest.raises(ValueError, match="`x` must have one scale"):
        convolve(rows, max_abs(4).codes({}, jnp.ones((3, 3, 6, 2))))
    wide = max_abs(8).codes({}, jnp.ones((1, 40, 40, 4)))
    with pytest.raises(ValueError, match="at most 1040 weights"):
        convolve(wide, max_abs(8).codes({}, jnp.ones((40, 40, 1, 4))), groups=4)
