"""A tensor as integer codes and scales, and the products that are exact in the codes.

    x_hat = codes * scale,      x_hat . w_hat = (codes_x . codes_w) * (scale_x scale_w)

`matmul` always computes the right-hand side: sums of integers do not round, so that training,
evaluation and integer deployment agree bit for bit on one back end (with groups, up to the rounding
of the sum over them, which programs may contract). Where only one operand is quantized, it is
turned back into numbers first. Gradients are those of the product of numbers. Each product carries
a named scope with the name of its weight and the bits of both operands, which `audit` reads from
the traced program.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .integers import integer_matmul, max_contraction

MARK = "quantized"  # head of the scope names, see `audit`
TAPS = "taps"  # scope of the elementwise products that make up a depthwise convolution
FLOAT = 32  # bits of a tensor that is not quantized


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["codes", "scale"],
    meta_fields=["bits", "max_abs_code"],
)
@dataclass(frozen=True)
class Quantized:
    """A tensor as codes and scales, x_hat = codes * scale.

    The scale has one of these shapes: [] for one scale; [..., 1, n] for a weight [..., in, out]
    whose scale is constant along `in` (n is 1 or `out`), or an activation [..., rows, in] (n is
    1); [..., groups, n] for one scale for each of equal groups along `in`; [groups] for an
    activation [..., in] with equal groups.
    """

    codes: jax.Array
    """Whole numbers: floating-point in training, int8 when deployed."""
    scale: jax.Array
    """float32"""
    bits: int = 8
    """Width of a code in memory."""
    max_abs_code: int = 128
    """Bound of the magnitudes of the codes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """Number of axes of the tensor."""
        return self.codes.ndim

    def masked(self, keep: jax.Array, probability: float) -> "Quantized":
        """Dropout without leaving the integers: codes become zero, the scale grows.

        Args:
            keep: boolean, broadcastable to the codes.
            probability: of keeping, by which the scale is divided.
        """
        codes = jnp.where(keep, self.codes, jnp.zeros([], self.codes.dtype))
        return self.replace(codes, self.scale / probability)

    def replace(self, codes: jax.Array, scale: jax.Array | None = None) -> "Quantized":
        """The same kind of tensor with other codes and, where given, another scale."""
        return Quantized(
            codes, self.scale if scale is None else scale, self.bits, self.max_abs_code
        )


Tensor = jax.Array | Quantized


def dequantize(tensor: Tensor) -> jax.Array:
    """The numbers codes * scale, in the dtype of the scale; an array is returned as it is."""
    if not isinstance(tensor, Quantized):
        return tensor
    codes, scale = tensor.codes.astype(tensor.scale.dtype), tensor.scale
    if scale.ndim == 0:
        return codes * scale
    if scale.ndim == 1:  # groups along the last axis of an activation
        wide = jnp.repeat(scale, codes.shape[-1] // len(scale))
        return codes * wide.reshape((1,) * (codes.ndim - 1) + (-1,))
    groups = scale.shape[-2]
    if groups not in (1, codes.shape[-2]):
        scale = jnp.repeat(scale, codes.shape[-2] // groups, axis=-2)
    return codes * _per_output(scale, codes.ndim)


def map_codes(function: Callable[[jax.Array], jax.Array], tensor: Tensor) -> Tensor:
    """Moves elements: applies a function, such as a transposition, to the codes or the numbers."""
    if not isinstance(tensor, Quantized):
        return function(tensor)
    return tensor.replace(function(tensor.codes))


def select(tensor: Tensor, index: int) -> Tensor:
    """One matrix of a stack ``[number, ...]``."""
    if not isinstance(tensor, Quantized):
        return tensor[index]
    scale = tensor.scale if tensor.scale.ndim < tensor.ndim else tensor.scale[index]
    return tensor.replace(tensor.codes[index], scale)


def take(weight: Tensor, indices: jax.Array, *, name: str = "") -> Tensor:
    """Rows of an embedding.

    Args:
        weight: [number, size]; if quantized, with one scale for all rows.
        indices: [...] integers.
        name: of the weight, for the audit.

    Returns:
        [..., size], quantized if `weight` is.

    Raises:
        ValueError: if rows have scales of their own.
    """
    if not isinstance(weight, Quantized):
        return weight[indices]
    if weight.scale.size != 1:
        raise ValueError(
            f"`weight` must have one scale for all rows, got scales {weight.scale.shape}; "
            "quantize embeddings with blocks of kind tensor or matrix."
        )
    with mark(name, weight, None):
        return weight.replace(weight.codes[indices], weight.scale.reshape(()))


def matmul(x: Tensor, weight: Tensor, *, name: str = "") -> jax.Array:
    """The product x . weight, in integers where both are quantized.

    Args:
        x: [..., in]; leading axes as for ``jnp.matmul``.
        weight: [..., in, out].
        name: of the weight, for the audit.

    Returns:
        [..., out] in float32 (or the dtype of two plain arrays).  Numbers of float32 meet a weight
        in bfloat16 in its precision, and sums are in float32.
    """
    with mark(name, weight, x):
        if isinstance(x, Quantized) and isinstance(weight, Quantized):
            return _exact_product(x, weight)
        return product_of_numbers(x, weight)


def product_of_numbers(x: Tensor, weight: Tensor) -> jax.Array:
    """`matmul` of what the codes stand for, unknown to the audit."""
    x, weight = dequantize(x), dequantize(weight)
    if weight.dtype == jnp.bfloat16 and x.dtype == jnp.float32:
        return _half_product(x, weight)
    return jnp.matmul(x, weight)


@jax.custom_vjp
def _half_product(x: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.matmul(x.astype(weight.dtype), weight, preferred_element_type=jnp.float32)


def _half_product_forward(x: jax.Array, weight: jax.Array):
    return _half_product(x, weight), (x.astype(weight.dtype), weight)


def _half_product_backward(operands, gradient: jax.Array):
    # Differentiated as it stands, the gradient would keep these products in float32.
    dx, dweight = jax.vjp(jnp.matmul, *operands)[1](gradient.astype(jnp.bfloat16))
    return dx.astype(jnp.float32), dweight


_half_product.defvjp(_half_product_forward, _half_product_backward)


# Differentiated as it stands, it would keep the sums, as large as the result, for the gradients of
# the scales, and multiply group by group once more.
@jax.custom_vjp
def _exact_product(x: Quantized, weight: Quantized) -> jax.Array:
    groups_x = len(x.scale) if x.scale.ndim == 1 else 1
    groups = max(groups_x, weight.scale.shape[-2] if weight.scale.ndim >= 2 else 1)
    product = functools.partial(_sums, max_abs_x=x.max_abs_code, max_abs_w=weight.max_abs_code)
    if groups == 1:
        sums = product(x.codes, weight.codes)
        scale_w = weight.scale[..., 0, :] if x.ndim == 1 < weight.scale.ndim else weight.scale
        return sums * (_per_output(x.scale, sums.ndim) * _per_output(scale_w, sums.ndim))
    return _grouped(x, weight, groups, product)


def _exact_product_forward(x: Quantized, weight: Quantized):
    return _exact_product(x, weight), (x, weight)


def _exact_product_backward(operands, gradient: jax.Array):
    return jax.vjp(product_of_numbers, *operands)[1](gradient)


_exact_product.defvjp(_exact_product_forward, _exact_product_backward)


def _sums(x: jax.Array, w: jax.Array, *, max_abs_x: int, max_abs_w: int) -> jax.Array:
    """The product of codes: one exact product or, where sums could become too long, several.

    Each of these is exact, and they are added in a fixed order: 8-bit codes lose the last bits of
    sums beyond 2^24, but lose the same ones in every program.
    """
    longest = max_contraction(max_abs_x, max_abs_w, jnp.float32)
    slices = [slice(start, start + longest) for start in range(0, x.shape[-1], longest)]
    products = (
        integer_matmul(x[..., part], w[..., part, :], max_abs_x=max_abs_x, max_abs_w=max_abs_w)
        for part in slices
    )
    return functools.reduce(jnp.add, products)


def _grouped(x: Quantized, weight: Quantized, groups: int, product) -> jax.Array:
    """Sum over groups of the inputs, each an exact product with scales of its own."""
    if weight.ndim != 2:
        raise ValueError(
            f"`weight` must be one matrix where inputs come in groups, got shape {weight.shape}; "
            "map over the others with jax.vmap."
        )
    *rows, inputs = x.shape
    outputs = weight.shape[-1]
    codes_x = jnp.moveaxis(x.codes.reshape(-1, groups, inputs // groups), 1, 0)
    codes_w = weight.codes.reshape(groups, inputs // groups, outputs)
    scale_x = jnp.broadcast_to(x.scale, (*rows, groups)).reshape(-1, groups)
    scale_x = scale_x.T[..., None]  # [groups, rows, 1]
    scale_w = weight.scale.reshape((-1, 1, weight.scale.shape[-1] if weight.scale.ndim else 1))
    scale_w = jnp.broadcast_to(scale_w, (groups, *scale_w.shape[1:]))

    def add(total, group):
        codes_x, codes_w, scale_x, scale_w = group
        return total + product(codes_x, codes_w) * (scale_x * scale_w), None

    zeros = jnp.zeros((codes_x.shape[1], outputs))
    total, _ = jax.lax.scan(add, zeros, (codes_x, codes_w, scale_x, scale_w))
    return total.reshape(*rows, outputs)


def _per_output(scale: jax.Array, ndim: int) -> jax.Array:
    """A scale as an array of `ndim` axes, broadcastable against [..., rows, out]."""
    return scale.reshape((1,) * (ndim - scale.ndim) + scale.shape)


def mark(name: str, weight: Tensor, x: Tensor | None) -> AbstractContextManager[Any]:
    """The named scope of a product, for the audit.

    Args:
        name: path of the weight.
        weight: the weight.
        x: what it is multiplied with; None for a lookup.
    """
    bits_w, bits_x = (
        0 if tensor is None else tensor.bits if isinstance(tensor, Quantized) else FLOAT
        for tensor in (weight, x)
    )
    # Slashes separate scopes in the name stack.
    return jax.named_scope(f"{MARK}[{name.replace('/', '.')}|w{bits_w}|x{bits_x}]")
