"""Convolutions of images, of numbers or of codes, for one learner or many.

    y[n, i, j, o] = sum_{a, b, c} x[n, s i + a - p, s j + b - p, c] w[a, b, c, o]

As in `quantized`, codes meet codes in sums of integers, which do not round, and are scaled once.
Zeros around the image are codes like any others: zero is a level of every quantizer.

A depthwise convolution, in which each channel meets only itself, is computed tap by tap, as
elementwise products of shifted images: these fuse, forward and backward, also when learners with
weights of their own are simulated on one device.  Few groups are computed one after the other, for
the same reason; on a CPU both are several times faster than XLA's grouped convolution.  A window of
one pixel is a product of two matrices: with its gradients, on a CPU, two to ten times faster.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .integers import max_contraction
from .quantized import TAPS, Quantized, Tensor, dequantize, mark

FEW_GROUPS = 4  # groups that are computed one by one


def convolve(
    x: Tensor,
    kernel: Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    name: str = "",
) -> jax.Array:
    """The convolution of images with a kernel, in integers where both are quantized.

    Args:
        x: ``[batch, height, width, in]``; codes must have one scale.
        kernel: ``[height, width, in / groups, out]``; codes must have one scale, or one for each
            output, see `blocks.FILTER`.
        stride: s, of the window, in both directions.
        padding: p, zeros on each side of the image.
        groups: of channels that do not meet; must divide `in` and `out`.
        name: path of the kernel, for the audit.

    Returns:
        ``[batch, height', width', out]`` in float32, or the dtype of two plain arrays.

    Raises:
        ValueError: if channels and groups do not fit, scales vary along the sum, or sums of codes
            may exceed the integers that float32 holds.

    Example:
        >>> images, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
        >>> convolve(images, kernel, padding=1).shape
        (1, 4, 4, 5)
    """
    channels, outputs = x.shape[-1], kernel.shape[-1]
    if channels % groups or outputs % groups or kernel.shape[2] * groups != channels:
        raise ValueError(
            f"`kernel` must be [height, width, in / groups, out] with `groups` that divide in and "
            f"out, got {kernel.shape} in {groups} groups for images of {channels} channels."
        )
    run = functools.partial(_convolve, stride=stride, padding=padding, groups=groups)
    with mark(name, kernel, x):
        if not (isinstance(x, Quantized) and isinstance(kernel, Quantized)):
            return run(dequantize(x), dequantize(kernel))
        _check_scales(x, kernel, groups)
        return _exact(x, kernel, run)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _exact(x: Quantized, kernel: Quantized, run: Callable[..., jax.Array]) -> jax.Array:
    # As in `quantized.matmul`, kept for the gradient are the operands, not the sums.
    codes_x, codes_w = x.codes.astype(jnp.float32), kernel.codes.astype(jnp.float32)
    height, width, channels, _ = kernel.shape
    longest = max_contraction(x.max_abs_code, kernel.max_abs_code, jnp.float32)
    step = max(longest // (height * width), 1)
    # Where sums could become too long there are several, each of them exact, added in this order.
    slices = [slice(start, start + step) for start in range(0, channels, step)]
    if len(slices) == 1:
        sums = run(codes_x, codes_w)
    else:
        parts = (run(codes_x[..., part], codes_w[:, :, part]) for part in slices)
        sums = functools.reduce(jnp.add, parts)
    scale = x.scale.reshape(()) * kernel.scale.reshape(-1)
    return sums * scale.reshape(1, 1, 1, -1)


def _exact_forward(x: Quantized, kernel: Quantized, run: Callable[..., jax.Array]):
    return _exact(x, kernel, run), (x, kernel)


def _exact_backward(run: Callable[..., jax.Array], operands: Any, gradient: jax.Array):
    def of_numbers(x: Quantized, kernel: Quantized) -> jax.Array:
        return run(dequantize(x), dequantize(kernel))

    return jax.vjp(of_numbers, *operands)[1](gradient)


_exact.defvjp(_exact_forward, _exact_backward)


def _convolve(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int, groups: int):
    channels = x.shape[-1]
    if groups == channels == kernel.shape[-1] > 1:
        return _depthwise(x, kernel, stride, padding)
    if 1 < groups <= FEW_GROUPS:
        pairs = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
        parts = [_dense(*pair, stride, padding, 1) for pair in pairs]
        return jnp.concatenate(parts, axis=-1)
    return _dense(x, kernel, stride, padding, groups)


def _dense(x: jax.Array, kernel: jax.Array, stride: int, padding: int, groups: int) -> jax.Array:
    if kernel.shape[:2] == (1, 1) and padding == 0 and groups == 1:
        x = x[:, ::stride, ::stride]
        sums = x.reshape(-1, x.shape[-1]) @ kernel[0, 0]
        return sums.reshape(*x.shape[:-1], -1)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    height, width, _, channels = kernel.shape
    edges = (padding, padding)
    x = jnp.pad(x, ((0, 0), edges, edges, (0, 0)))
    rows, columns = ((x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1)
    total = jnp.zeros((len(x), rows, columns, channels), jnp.float32)
    for i in range(height):
        for j in range(width):
            part = x[
                :,
                i : i + stride * (rows - 1) + 1 : stride,
                j : j + stride * (columns - 1) + 1 : stride,
            ]
            with jax.named_scope(TAPS):
                product = part * kernel[i, j].reshape(1, 1, 1, channels)
            total = total + product.astype(jnp.float32)
    return total.astype(x.dtype)


def _check_scales(x: Quantized, kernel: Quantized, groups: int) -> None:
    if x.scale.size != 1:
        raise ValueError(
            f"`x` must have one scale for the whole image, got scales {x.scale.shape}; quantize "
            "activations of convolutions with blocks of kind tensor."
        )
    shape = kernel.scale.shape
    if kernel.scale.size != 1 and shape != (1, 1, 1, kernel.shape[-1]):
        raise ValueError(
            f"`kernel` must have one scale, or one for each output, got scales {shape}; quantize "
            "kernels with blocks of kind tensor or filter."
        )
    terms = kernel.shape[0] * kernel.shape[1] * (1 if groups == 1 else kernel.shape[2])
    longest = max_contraction(x.max_abs_code, kernel.max_abs_code, jnp.float32)
    if terms > longest:
        raise ValueError(
            f"`kernel` must have at most {longest} weights for each output of a group, whose sum "
            f"float32 holds exactly at {kernel.bits} and {x.bits} bits, got {terms}; use fewer "
            "bits, or leave this layer in float."
        )
