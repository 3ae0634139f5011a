"""The recursion of a long short-term memory over time, with a gradient of its own.

With the gates stacked as ``[input, forget, candidate, output]``, P_t the projected inputs and Q the
quantizer of the hidden state (the identity in float),

    z_t = P_t + Q(h_{t-1}) W_h
    c_t = sigmoid(z^f_t) c_{t-1} + sigmoid(z^i_t) tanh(z^g_t)
    h_t = sigmoid(z^o_t) tanh(c_t)

Everything but the product stays in float, as does the carried cell. The backward recursion carries
only ``dh, dc`` and returns ``dz``; what needs no recursion is done once for all frames after it:
the weight gradient ``dW_h = sum_t Q(h_{t-1})^T dz_t``, where automatic differentiation would read
and write a matrix of the size of ``W_h`` at every step, and the gradient of the clips of Q.

References:
    Hochreiter and Schmidhuber, Long short-term memory, 1997.
    Fasoli et al., 4-bit quantization of LSTM-based speech recognition models, 2021,
    arXiv:2108.12074 (which tensors are quantized).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..core.quantized import Quantized, Tensor, dequantize, matmul, product_of_numbers
from ..core.quantizer import Params, Quantizer
from ..core.quantizers import DYNAMIC

LSTMState = tuple[jax.Array, jax.Array]  # hidden [..., batch, size], cell [..., batch, size]


def lstm_scan(
    projected: jax.Array,
    recurrent: Tensor,
    state: LSTMState,
    clips: Params,
    quantizer: Quantizer | None = None,
    name: str = "",
) -> tuple[jax.Array, LSTMState]:
    """Runs the recursion over all frames.

    Args:
        projected: ``x W_x + b``, ``[time, ..., batch, 4 size]``; the dots are directions, if any.
        recurrent: ``W_h``, ``[..., size, 4 size]``, in float or quantized; in bfloat16 only the
            products with it are.
        state: hidden and cell state before the first frame, each ``[..., batch, size]``.
        clips: parameters of the quantizer.
        quantizer: of the hidden state, before it meets ``W_h``; its scale must not depend on the
            values.
        name: of ``W_h``, for the audit.

    Returns:
        The hidden states ``[time, ..., batch, size]``, not quantized, and the state after the last
        frame.
    """
    outputs: Any = _scan(projected, recurrent, state, clips, quantizer, name)
    return outputs


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _scan(projected, recurrent, state, clips, quantizer, name):
    def step(carry, z):
        hidden, cell, *_ = _advance(carry, z, recurrent, quantizer, clips, name)
        return (hidden, cell), hidden

    recurrent = _in_float(recurrent)
    last, hidden = jax.lax.scan(step, state, projected)
    return hidden, last


def quantize_frames(quantizer: Quantizer, clips: Params, hidden: jax.Array) -> Quantized:
    """The codes of hidden states ``[time, ..., batch, size]``, as the recursion saw them.

    Raises:
        ValueError: if the quantizer's scale depends on the values, which differ between frames.
    """

    def quantize(frame):
        quantized = quantizer.codes(clips, frame)
        return quantized.codes, quantized.scale

    if isinstance(quantizer, DYNAMIC):
        raise ValueError(
            f"`policy` must give hidden states a quantizer with a scale of its own, got "
            f"{quantizer}; use fixed, calibrated, pact, pact_plus or lsq."
        )
    codes, scale = jax.vmap(quantize, out_axes=(0, None))(hidden)
    return Quantized(codes, scale, quantizer.bits, quantizer.max_abs_code)


def _in_float(recurrent: Tensor) -> Tensor:
    """Deployed codes are widened once, not at every frame."""
    if not isinstance(recurrent, Quantized):
        return recurrent
    return recurrent.replace(recurrent.codes.astype(jnp.float32))


def _advance(state, projected, recurrent, quantizer, clips, name):
    hidden, cell = state
    seen = hidden if quantizer is None else quantizer.codes(clips, hidden)
    z = projected + matmul(seen, recurrent, name=name)
    input_gate, forget_gate, candidate, output_gate = jnp.split(z, 4, axis=-1)
    gates = (
        _sigmoid(input_gate),
        _sigmoid(forget_gate),
        jnp.tanh(candidate),
        _sigmoid(output_gate),
    )
    cell = gates[1] * cell + gates[0] * gates[2]
    tanh_cell = jnp.tanh(cell)
    return gates[3] * tanh_cell, cell, tanh_cell, gates


def _sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function as a hyperbolic tangent, which XLA computes faster on a CPU."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _scan_forward(projected, recurrent, state, clips, quantizer, name):
    def step(carry, z):
        hidden, cell, tanh_cell, gates = _advance(carry, z, wide, quantizer, clips, name)
        return (hidden, cell), (hidden, cell, tanh_cell, gates)

    wide = _in_float(recurrent)
    last, (hidden, *frames) = jax.lax.scan(step, state, projected)
    return (hidden, last), (recurrent, state, clips, hidden, *frames)


def _scan_backward(quantizer, name, residuals, gradients):
    del name
    recurrent, state, clips, hidden, cell, tanh_cell, gates = residuals
    hidden_gradients, (last_hidden, last_cell) = gradients
    weights, weights_vjp = jax.vjp(dequantize, recurrent)
    transposed = jnp.swapaxes(weights, -1, -2)
    previous_cell = jnp.concatenate([state[1][None], cell[:-1]])
    previous_hidden = jnp.concatenate([state[0][None], hidden[:-1]])
    seen, slope, clips_vjp = _differentiate(quantizer, clips, previous_hidden)

    def step(carry, frame):
        dh, dc = carry
        dh_out, tanh_cell, previous_cell, (i, f, g, o), slope = frame
        dh = dh + dh_out
        dc = dc + dh * o * (1 - tanh_cell * tanh_cell)
        dz = jnp.concatenate(
            [
                dc * g * i * (1 - i),
                dc * previous_cell * f * (1 - f),
                dc * i * (1 - g * g),
                dh * tanh_cell * o * (1 - o),
            ],
            axis=-1,
        )
        dseen = product_of_numbers(dz, transposed)
        dh = dseen if slope is None else dseen * slope
        return (dh, dc * f), (dz, dseen if clips else None)

    (dh, dc), (dz, dseen) = jax.lax.scan(
        step,
        (last_hidden, last_cell),
        (hidden_gradients, tanh_cell, previous_cell, gates, slope),
        reverse=True,
    )
    dweights = jnp.einsum(
        "t...bh,t...bz->...hz", seen.astype(weights.dtype), dz.astype(weights.dtype)
    )
    (drecurrent,) = weights_vjp(dweights)
    return dz, drecurrent, (dh, dc), clips_vjp(dseen)


def _differentiate(quantizer, clips, hidden):
    """What the product saw, its slope with respect to the hidden state, and the clips' gradient."""
    if quantizer is None:
        return hidden, None, lambda _: clips

    def apply(clips, hidden):
        return dequantize(quantize_frames(quantizer, clips, hidden))

    seen, slope = jax.jvp(lambda x: apply(clips, x), (hidden,), (jnp.ones_like(hidden),))

    def clips_vjp(gradient):
        if not clips:
            return clips
        return jax.vjp(lambda clips: apply(clips, hidden), clips)[1](gradient)[0]

    return seen, slope, clips_vjp


_scan.defvjp(_scan_forward, _scan_backward)
