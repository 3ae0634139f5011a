"""Quantized values and products in ONNX graphs, in one of three arithmetics.

    integer     codes in bytes, products of integers: the sums of `core.quantized.matmul`, exactly
    blockwise   weights stay in 4 bits (ONNX Runtime's MatMulNBits), whose kernel rounds the other
                operand to 8 bits, block by block
    float       codes as whole numbers in float32, exact as long as sums stay below 2^24

A product is scaled once, by the product of both scales, in all of them.  Codes travel between
layers as they are: ``value = scale (code - zero_point)``.
"""

import math
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...core.quantized import Quantized, dequantize
from ...core.quantizer import Params, Quantizer
from ...core.quantizers import DYNAMIC
from .graph import CONTRIB, Graph

Arithmetic = Literal["integer", "blockwise", "float"]
BLOCK = 128  # inputs of a block of MatMulNBits; few, so that scales cost little
ACCURACY = 4  # of MatMulNBits: products of 8-bit integers
HUGE = 1e30  # saturates every quantizer
# Weights with a sign are faster, but processors without VNNI instructions sum pairs of products of
# bytes in 16 bits and saturate there; 2 * 255 * 64 is the most that fits.
EXACT_BITS = 7


class Codes(NamedTuple):
    """Codes in a graph."""

    name: str  # uint8 with the zero point added if integer, else float32
    scale: np.ndarray  # float32, [] or [parts], of equal parts of the last axis
    zero_point: int  # 0 unless integer


Value = str | Codes  # numbers or codes


class Site(NamedTuple):
    """Where activations become codes, with one scale: x -> clip(round(x / scale), low, high)."""

    scale: np.ndarray  # [] float32
    low: int
    high: int
    zero_point: int  # makes all codes positive, -low at least


def sites_of(quantizer: Quantizer, clips: Params, shape: tuple[int, ...]) -> list[Site]:
    """The quantizer of an activation as plain numbers.

    Args:
        quantizer: that of a policy.
        clips: its parameters.
        shape: of an activation ``[..., rows, size]``; there is a site for each leading index.

    Returns:
        The sites.

    Raises:
        ValueError: if scales depend on the values.
    """
    if isinstance(quantizer, DYNAMIC):
        raise ValueError(
            f"`quantizer` must have a scale of its own to be exported, got {quantizer}; use fixed, "
            "calibrated, pact, pact_plus or lsq."
        )
    *leading, _, size = shape
    ends = jnp.broadcast_to(jnp.array([[-HUGE], [HUGE]], jnp.float32), (*leading, 2, size))
    found = quantizer.codes(clips, ends)
    codes = np.asarray(found.codes).reshape(-1, 2, size)[:, :, 0].astype(int)
    scales = np.broadcast_to(np.asarray(found.scale, np.float32).reshape(-1), (len(codes),))
    return [
        Site(scale, int(low), int(high), found.max_abs_code)
        for scale, (low, high) in zip(scales, codes, strict=True)
    ]


def quantize(
    graph: Graph, arithmetic: Arithmetic, site: Site, x: str, *, bound: float = math.inf
) -> Codes:
    """Codes of numbers ``[..., size]``.

    As `core.quantizers` does it: x times the inverse of the scale, ties to even.

    Args:
        graph: where nodes go.
        arithmetic: see the module.
        site: how.
        x: the numbers.
        bound: of their magnitudes, where it is known; what cannot saturate is not clipped.
    """
    inverse = np.float32(1) / site.scale
    scaled = graph.add("Mul", x, graph.constant(inverse))
    if bound * inverse > min(-site.low, site.high):
        bounds = [graph.constant(np.float32(end)) for end in (site.low, site.high)]
        scaled = graph.add("Clip", scaled, *bounds)
    if arithmetic != "integer":
        return Codes(graph.add("Round", scaled), site.scale, 0)
    # By a scale of one: a division by the scale would break ties otherwise.
    one, zero_point = graph.constant(np.float32(1)), graph.constant(np.uint8(site.zero_point))
    name = graph.add("QuantizeLinear", scaled, one, zero_point)
    return Codes(name, site.scale, site.zero_point)


def numbers(graph: Graph, x: Value) -> str:
    """What codes stand for, float32; numbers as they are."""
    if isinstance(x, str):
        return x
    name = x.name
    if x.zero_point:
        name = graph.add("Cast", name, to=1)  # FLOAT
        name = graph.add("Sub", name, graph.constant(np.float32(x.zero_point)))
    if x.scale.ndim == 0:
        return graph.add("Mul", name, graph.constant(x.scale))
    parts = graph.add_all("Split", name, outputs=len(x.scale), axis=-1, num_outputs=len(x.scale))
    scaled = [
        graph.add("Mul", part, graph.constant(scale))
        for part, scale in zip(parts, x.scale, strict=True)
    ]
    return graph.add("Concat", *scaled, axis=-1)


def table(graph: Graph, arithmetic: Arithmetic, weight: Any) -> Value:
    """All rows of an embedding ``[number, size]``, numbers or codes with one scale."""
    if not isinstance(weight, Quantized):
        return graph.constant(np.asarray(weight, np.float32))
    codes = np.asarray(weight.codes).astype(np.int16)
    scale = np.asarray(weight.scale, np.float32).reshape(())
    if arithmetic != "integer":
        return Codes(graph.constant(codes.astype(np.float32)), scale, 0)
    zero_point = 8 if weight.bits <= 4 else 128
    name = graph.bytes_constant((codes + zero_point).astype(np.uint8), bits=weight.bits)
    return Codes(name, scale, zero_point)


def product(
    graph: Graph, arithmetic: Arithmetic, x: Value, weight: Any, bias: np.ndarray | None = None
) -> str:
    """``x W + b``, numbers ``[..., out]``.

    Args:
        graph: where nodes go.
        arithmetic: see the module.
        x: ``[rows, in]``.
        weight: ``[in, out]``, an array or `Quantized` with a scale for each output.
        bias: ``[out]``.

    Raises:
        ValueError: if the weight has scales for groups of inputs, or more bits than blockwise
            products take.
    """
    if isinstance(weight, Quantized):
        if weight.scale.ndim >= 2 and weight.scale.shape[-2] > 1:
            raise ValueError(
                "`weight` must have one scale for all inputs of an output to be exported, got "
                f"scales {weight.scale.shape}; quantize by gate, matrix, channel or tensor."
            )
        if isinstance(x, Codes):
            return _product_of_codes(graph, arithmetic, x, weight, bias)
        if arithmetic == "blockwise":
            codes, scale = _columns(weight)
            return _blockwise(graph, x, codes, scale, weight.bits, bias)
    kernel = graph.constant(np.asarray(dequantize(weight), np.float32))
    result = graph.add("MatMul", numbers(graph, x), kernel)
    return result if bias is None else graph.add("Add", result, graph.constant(bias))


def _product_of_codes(
    graph: Graph, arithmetic: Arithmetic, x: Codes, weight: Quantized, bias: np.ndarray | None
) -> str:
    codes, scale = _columns(weight)
    scales = x.scale.reshape(-1)
    names = [x.name]
    if len(scales) > 1:
        names = graph.add_all(
            "Split", x.name, outputs=len(scales), axis=-1, num_outputs=len(scales)
        )
    total = None
    for part, name, scale_x in zip(np.split(codes, len(scales)), names, scales, strict=True):
        last = bias if len(scales) == 1 else None
        if arithmetic == "integer":
            found = _integer(graph, x._replace(name=name), part, scale_x, scale, weight.bits, last)
        elif arithmetic == "blockwise":
            found = _blockwise(graph, name, part, scale_x * scale, weight.bits, last)
        else:
            found = graph.add("MatMul", name, graph.constant(part.astype(np.float32)))
            found = graph.add("Mul", found, graph.constant(scale_x * scale))
            if last is not None:
                found = graph.add("Add", found, graph.constant(last))
        total = found if total is None else graph.add("Add", total, found)
    assert total is not None
    if bias is not None and len(scales) > 1:
        total = graph.add("Add", total, graph.constant(bias))
    return total


def _integer(graph, x, codes, scale_x, scale, bits, bias):
    """An exact product; bytes of x without a sign, since ONNX Runtime is slow on those with one."""
    zero_point = 0
    if bits > EXACT_BITS:
        zero_point = 128
        codes = (codes.astype(np.int16) + zero_point).astype(np.uint8)
    inputs = [
        x.name,
        graph.bytes_constant(codes, bits=bits),
        graph.constant(scale_x),
        graph.constant(scale),
        graph.constant(np.uint8(x.zero_point)),
        graph.constant(np.uint8(zero_point)) if zero_point else "",
    ]
    if bias is not None:
        inputs.append(graph.constant(bias))
    return graph.add("MatMulIntegerToFloat", *inputs, domain=CONTRIB)


def _blockwise(graph, x, codes, scale, bits, bias):
    if bits > 4:
        raise ValueError(
            f"`arithmetic` blockwise takes weights of at most 4 bits, got {bits}; use integer."
        )
    inputs, outputs = codes.shape
    block = min(BLOCK, max(16, 1 << (inputs - 1).bit_length()))
    blocks = -(-inputs // block)
    padded = np.zeros((blocks * block, outputs), np.uint8)
    padded[:] = 8  # the code of zero
    padded[:inputs] = codes.astype(np.int16) + 8
    padded = padded.T.reshape(outputs, blocks, block)
    packed = padded[:, :, 0::2] | (padded[:, :, 1::2] << 4)
    result = graph.add(
        "MatMulNBits",
        x,
        graph.constant(packed),
        graph.constant(np.repeat(scale, blocks)),
        domain=CONTRIB,
        K=inputs,
        N=outputs,
        bits=4,
        block_size=block,
        accuracy_level=ACCURACY,
    )
    return result if bias is None else graph.add("Add", result, graph.constant(bias))


def _columns(weight: Quantized) -> tuple[np.ndarray, np.ndarray]:
    """Codes ``[in, out]`` int8 and a scale for each output."""
    codes = np.asarray(weight.codes).astype(np.int8)
    scale = np.asarray(weight.scale, np.float32).reshape(-1)
    return codes, np.ascontiguousarray(np.broadcast_to(scale, (codes.shape[1],)))
