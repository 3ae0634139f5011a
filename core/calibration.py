"""Clips from data: where a quantizer's range ends.

A clip a bounds the values that a quantizer represents. Three ways to choose it from a sample x:

    max         a = max |x|                                   nothing saturates, outliers rule
    percentile  a = quantile of |x|, or of x at both ends     a few values saturate
    mse         a minimizes mean (x - x_hat(a))^2             by search over a grid of clips

All work along given axes and keep them with size one, so that blocks of a tensor have clips of
their own.
"""

import jax
import jax.numpy as jnp

from .straight_through import positive

PERCENTILE = 99.9  # of arXiv:2108.12074's authors' library, per batch, averaged over batches
_NUM_CLIPS = 64  # of the grid search, from 1/64 of the maximum to the maximum

Axes = tuple[int, ...] | None


def max_clip(x: jax.Array, axes: Axes = None) -> jax.Array:
    """The largest magnitude along the axes, kept with size one; [] without axes."""
    return jnp.max(jnp.abs(x), axis=axes, keepdims=axes is not None)


def percentile_clip(
    x: jax.Array, axes: Axes = None, *, percentile: float = PERCENTILE
) -> jax.Array:
    """The magnitude below which `percentile` percent of the values lie."""
    _check_percentile(percentile)
    return jnp.percentile(jnp.abs(x), percentile, axis=axes, keepdims=axes is not None)


def percentile_range(
    x: jax.Array, axes: Axes = None, *, percentile: float = PERCENTILE
) -> tuple[jax.Array, jax.Array]:
    """The values that leave ``100 - percentile`` percent outside at either end.

    Args:
        x: a sample.
        axes: axes to reduce, kept with size one; None reduces all to [].
        percentile: of the upper end, above 50 and at most 100.

    Returns:
        The lower and the upper end; the range includes zero.
    """
    _check_percentile(percentile)
    low, high = (
        jnp.percentile(x, q, axis=axes, keepdims=axes is not None)
        for q in (100 - percentile, percentile)
    )
    return jnp.minimum(low, 0), jnp.maximum(high, 0)


def mse_clip(x: jax.Array, axes: Axes = None, *, bits: int) -> jax.Array:
    """The symmetric clip of least mean squared error among 64 fractions of the maximum.

    Args:
        x: a sample.
        axes: axes to reduce, kept with size one; None reduces all to [].
        bits: width of the codes, which are -(2^(bits-1) - 1) to 2^(bits-1) - 1.

    Returns:
        The clip of each block.
    """
    levels = 2 ** (bits - 1) - 1
    top = max_clip(x, axes)

    def error(fraction):
        scale = positive(fraction * top * (1 / levels))
        restored = jnp.clip(jnp.round(x * (1 / scale)), -levels, levels) * scale
        return jnp.mean(jnp.square(x - restored), axis=axes, keepdims=axes is not None)

    fractions = jnp.arange(1, _NUM_CLIPS + 1, dtype=x.dtype) / _NUM_CLIPS
    errors = jax.lax.map(error, fractions)  # one clip at a time: the tensor may be large
    return fractions[jnp.argmin(errors, axis=0)] * top


def _check_percentile(percentile: float) -> None:
    if not 50 < percentile <= 100:
        raise ValueError(f"`percentile` must be above 50 and at most 100, got {percentile}.")
