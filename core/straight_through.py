"""Rounding as differentiation is to see it: the straight-through estimator.

With u = x / s, codes q = clip(round(u), low, high) and x_hat = s q, the derivatives of q are chosen
so that those of x_hat are

    dx_hat/dx = 1 for low <= u <= high, else 0
    dx_hat/ds = q - u inside (LSQ, PACT+) or 0 (PACT), low or high outside,

and the ends, where they are arrays, have those of x_hat = s low and s high. The quotient is always
x * (1 / s), so that programs agree on ties.

References:
    Y. Bengio, N. Leonard, A. Courville, "Estimating or Propagating Gradients Through Stochastic
        Neurons for Conditional Computation", 2013, arXiv:1308.3432.
    S. Esser et al., "Learned Step Size Quantization", 2020, arXiv:1902.08153.
"""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def round_clip(x, scale, low, high, passes: bool, residual: bool):
    """The codes clip(round(x / scale), low, high), to be multiplied by `scale`.

    Args:
        x: numbers, any shape.
        scale: positive, broadcastable to `x`.
        low: lowest code, an integer or an array like `scale`.
        high: highest code.
        passes: gradients reach `x` beyond the ends too, and nothing else.
        residual: inside, rounding errors move the scale.

    Returns:
        Whole numbers of the shape and dtype of `x`.
    """
    del passes, residual
    return jnp.clip(jnp.round(_quotient(x, scale)), low, high)


@round_clip.defjvp
def _round_clip_jvp(passes, residual, primals, tangents):
    x, scale, low, high = primals
    dx, dscale, dlow, dhigh = map(_dense, tangents)
    u = _quotient(x, scale)
    codes = jnp.clip(jnp.round(u), low, high)
    by_x = _quotient(dx, scale)
    if passes:
        return codes, by_x
    by_x = jnp.where((u >= low) & (u <= high), by_x, 0)
    inside = (u > low) & (u < high)
    # x_hat = s q: a derivative -u / s of q leaves q - u for x_hat, one of -q / s leaves nothing.
    by_scale = jnp.where(inside, -(u if residual else codes) / scale, 0) * dscale
    by_ends = jnp.where(u >= high, dhigh, jnp.where(u <= low, dlow, 0))
    return codes, by_x + by_scale + by_ends


@jax.custom_jvp
def round_through(x: jax.Array) -> jax.Array:
    """The nearest integer, with the derivative of the identity."""
    return jnp.round(x)


@round_through.defjvp
def _round_through_jvp(primals, tangents):
    return jnp.round(primals[0]), tangents[0]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def scale_gradient(x, factor: float):
    """The identity, with gradients multiplied by `factor`."""
    del factor
    return x


@scale_gradient.defjvp
def _scale_gradient_jvp(factor, primals, tangents):
    return primals[0], factor * tangents[0]


@jax.custom_jvp
def positive(scale: jax.Array) -> jax.Array:
    """The scale, but at least one whose square neither underflows nor overflows.

    Of a block of zeros that is the least; a learned scale that training pushed to zero or below
    still has the derivative of the identity, which brings it back.
    """
    return jnp.maximum(scale, 2.0**-60)


@positive.defjvp
def _positive_jvp(primals, tangents):
    return positive(primals[0]), tangents[0]


def _dense(tangent):
    """Integer bounds have no tangent; zero, of any dtype, stands in for it."""
    return 0.0 if tangent.dtype == jax.dtypes.float0 else tangent


def _quotient(x, scale):
    """The ratio x / scale, rounded as x * (1 / scale).

    XLA makes this product of a quotient by a broadcast scale, but not always (jax 0.10.2); then
    values halfway between two codes would be rounded one way here and another way there.
    """
    return x * (1 / scale)
