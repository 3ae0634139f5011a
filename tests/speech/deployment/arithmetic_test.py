"""Products in ONNX Runtime against those of `core.quantized`, to the last bit where exact."""

import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from gossamer.core.blocks import MATRIX, TENSOR, gates, groups
from gossamer.core.quantized import Quantized, dequantize, matmul
from gossamer.core.quantizers import calibrated, fixed, lsq, max_abs, pact_plus, sawb_plus
from gossamer.speech.deployment import arithmetic
from gossamer.speech.deployment.arithmetic import Codes
from gossamer.speech.deployment.graph import Graph

ROWS, INPUTS, OUTPUTS = 5, 36, 8
ACTIVATIONS = {
    "fixed": (fixed(4, 1.0), {}),
    "asymmetric": (pact_plus(4), {"clip_low": jnp.float32(-0.7), "clip_high": jnp.float32(1.9)}),
    "one-sided": (pact_plus(4), {"clip_low": jnp.float32(0.0), "clip_high": jnp.float32(1.3)}),
    "step": (lsq(4), {"step_size": jnp.float32(0.13)}),
    "8 bits": (calibrated(8), {"clip": jnp.float32(2.1)}),
}


def run(graph, **inputs):
    session = onnxruntime.InferenceSession(
        graph.to_model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)[0]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def quantized_weight(quantizer, shape=(INPUTS, OUTPUTS)):
    found = quantizer.codes({}, jnp.asarray(draw(*shape, seed=1)))
    return found.replace(found.codes.astype(jnp.int8))


def multiply(kind, x, weight, quantizer, clips, bias=None):
    """The product in ONNX Runtime."""
    graph = Graph("product")
    (site,) = arithmetic.sites_of(quantizer, clips, (1, x.shape[1]))
    codes = arithmetic.quantize(graph, kind, site, graph.input("x", list(x.shape)))
    product = arithmetic.product(graph, kind, codes, weight, bias)
    graph.output("y", product, [len(x), weight.shape[1]])
    return run(graph, x=x)


@pytest.mark.parametrize("kind", ["integer", "float"])
@pytest.mark.parametrize("blocks", [TENSOR, MATRIX, gates(4)], ids=lambda blocks: blocks.kind)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_products_equal_those_of_jax_to_the_last_bit(name, blocks, kind):
    quantizer, clips = ACTIVATIONS[name]
    weight, x = quantized_weight(sawb_plus(4, blocks)), 2 * draw(ROWS, INPUTS)
    expected = matmul(quantizer.codes(clips, jnp.asarray(x)), weight)
    found = multiply(kind, x, weight, quantizer, clips)
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("clip", [0.5, 1.0, 2.0])
def test_what_cannot_saturate_is_not_clipped(clip):
    quantizer, x = fixed(4, clip), np.clip(draw(ROWS, INPUTS), -1, 1)
    graph = Graph("bounded")
    (site,) = arithmetic.sites_of(quantizer, {}, (1, INPUTS))
    codes = arithmetic.quantize(graph, "float", site, graph.input("x", list(x.shape)), bound=1.0)
    graph.output("y", codes.name, list(x.shape))
    has_clip = any(node.op_type == "Clip" for node in graph.to_proto().node)
    assert has_clip == (clip < 1)
    np.testing.assert_array_equal(run(graph, x=x), quantizer.codes({}, jnp.asarray(x)).codes)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_other_widths_of_weights(bits):
    weight, x = quantized_weight(max_abs(bits)), draw(ROWS, INPUTS)
    quantizer, clips = ACTIVATIONS["fixed"]
    expected = matmul(quantizer.codes(clips, jnp.asarray(x)), weight)
    found = multiply("integer", x, weight, quantizer, clips)
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("bits", [7, 8])
def test_the_largest_codes_do_not_saturate(bits):
    largest = 2 ** (bits - 1) - 1
    codes = np.full((INPUTS, OUTPUTS), largest, np.int8)
    codes[:, ::2] *= -1
    weight = Quantized(jnp.asarray(codes), jnp.full((OUTPUTS,), 0.5, jnp.float32), bits, largest)
    graph = Graph("extremes")
    x = Codes(graph.input("x", [ROWS, INPUTS], np.uint8), np.asarray(0.25, np.float32), 127)
    graph.output("y", arithmetic.product(graph, "integer", x, weight), [ROWS, OUTPUTS])
    found = run(graph, x=np.full((ROWS, INPUTS), 255, np.uint8))
    expected = 0.125 * 128 * codes.astype(float).sum(axis=0)
    np.testing.assert_array_equal(found, np.broadcast_to(expected, (ROWS, OUTPUTS)))
    # Processors with VNNI instructions are exact anyway, so the bytes are looked at too.
    types = {constant.name: constant.data_type for constant in graph.to_proto().initializer}
    (node,) = (node for node in graph.to_proto().node if node.op_type == "MatMulIntegerToFloat")
    expected = onnx.TensorProto.INT8 if bits == 7 else onnx.TensorProto.UINT8
    assert types[node.input[1]] == expected


@pytest.mark.parametrize("kind", ["integer", "float", "blockwise"])
def test_a_bias_is_added(kind):
    weight, x, bias = quantized_weight(sawb_plus(4)), draw(ROWS, INPUTS), draw(OUTPUTS, seed=3)
    without = multiply(kind, x, weight, *ACTIVATIONS["fixed"])
    found = multiply(kind, x, weight, *ACTIVATIONS["fixed"], bias=bias)
    np.testing.assert_allclose(found, without + bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("inputs", [10, 36, 300])
def test_blockwise_products_round_one_operand_to_8_bits(inputs):
    weight = quantized_weight(sawb_plus(4, gates(4)), (inputs, OUTPUTS))
    quantizer, clips = ACTIVATIONS["asymmetric"]
    x = draw(ROWS, inputs)
    codes = quantizer.codes(clips, jnp.asarray(x))
    found = multiply("blockwise", x, weight, quantizer, clips)
    # A step of 8 bits is the largest magnitude by 127; half of it is lost at most.
    seen = np.asarray(dequantize(codes))
    bound = np.abs(seen).max() / 254 * np.abs(np.asarray(dequantize(weight))).sum(axis=0)
    error = np.abs(found - np.asarray(matmul(codes, weight)))
    assert (error <= bound[None] * (1 + 1e-5)).all()
    assert (error > 0).any()


def test_parts_with_scales_of_their_own():
    weight = quantized_weight(sawb_plus(4, gates(4)))
    codes = np.random.default_rng(2).integers(-7, 8, (ROWS, INPUTS))
    scale = np.array([0.1, 0.3], np.float32)
    expected = matmul(Quantized(jnp.asarray(codes, jnp.float32), jnp.asarray(scale), 4, 7), weight)
    graph = Graph("parts")
    x = Codes(graph.input("x", [ROWS, INPUTS], np.uint8), scale, 7)
    graph.output("y", arithmetic.product(graph, "integer", x, weight), [ROWS, OUTPUTS])
    found = run(graph, x=(codes + 7).astype(np.uint8))
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-6, atol=1e-6)
    graph = Graph("numbers")
    x = Codes(graph.input("x", [ROWS, INPUTS], np.uint8), scale, 7)
    graph.output("y", arithmetic.numbers(graph, x), [ROWS, INPUTS])
    found = run(graph, x=(codes + 7).astype(np.uint8))
    np.testing.assert_array_equal(found, codes.astype(np.float32) * np.repeat(scale, INPUTS // 2))


@pytest.mark.parametrize("kind", ["integer", "blockwise", "float"])
def test_numbers_meet_quantized_weights(kind):
    weight, x = quantized_weight(sawb_plus(4)), draw(ROWS, INPUTS)
    graph = Graph("numbers")
    product = arithmetic.product(graph, kind, graph.input("x", list(x.shape)), weight)
    graph.output("y", product, [ROWS, OUTPUTS])
    tolerance = 0.02 if kind == "blockwise" else 1e-6  # 8 bits of the largest of 36 numbers
    expected = np.asarray(matmul(jnp.asarray(x), weight))
    np.testing.assert_allclose(run(graph, x=x), expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["integer", "float"])
def test_rows_of_an_embedding(kind, bits):
    weight = quantized_weight(max_abs(bits))
    graph = Graph("rows")
    found = arithmetic.table(graph, kind, weight)
    graph.output("y", arithmetic.numbers(graph, found), list(weight.shape))
    np.testing.assert_array_equal(run(graph), np.asarray(dequantize(weight)))


def test_refusals():
    graph = Graph("refused")
    x = graph.input("x", [ROWS, INPUTS])
    with pytest.raises(ValueError, match="scale of its own"):
        arithmetic.sites_of(max_abs(4), {}, (1, INPUTS))
    with pytest.raises(ValueError, match="one scale for all inputs"):
        arithmetic.product(graph, "integer", x, quantized_weight(sawb_plus(4, groups(12))))
    with pytest.raises(ValueError, match="at most 4 bits"):
        arithmetic.product(graph, "blockwise", x, quantized_weight(max_abs(8)))
