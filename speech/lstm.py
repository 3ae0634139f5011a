"""Long short-term memory over padded batches, in one direction or both.

One layer computes, with the gates stacked as ``[input, forget, candidate, output]``,

    z_t = x_t W_x + b + h_{t-1} W_h
    c_t = sigmoid(z^f_t) c_{t-1} + sigmoid(z^i_t) tanh(z^g_t)
    h_t = sigmoid(z^o_t) tanh(c_t)

The input product ``x W_x + b`` is one matrix product for all frames, outside the scan. The scan has
its own gradient: the backward recursion carries only ``dh, dc`` and returns ``dz``; the weight
gradient ``dW_h = sum_t h_{t-1}^T dz_t`` is again one matrix product, where automatic
differentiation would read and write a matrix of the size of ``W_h`` at every step. Both directions
of a bidirectional layer run in the same scan as a batched product.

References:
    Hochreiter and Schmidhuber, Long short-term memory, 1997.
    Wan et al., Regularization of neural networks using DropConnect, 2013 (here on the recurrent
    weights).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

LSTMState = tuple[jax.Array, jax.Array]  # hidden [..., batch, size], cell [..., batch, size]


def lstm_step(state: LSTMState, projected: jax.Array, recurrent: jax.Array) -> LSTMState:
    """Advances one frame.

    Args:
        state: hidden and cell state, each ``[..., batch, size]``.
        projected: ``x_t W_x + b``, ``[..., batch, 4 size]``.
        recurrent: ``W_h``, ``[..., size, 4 size]``.

    Returns:
        The next hidden and cell state.
    """
    hidden, cell, *_ = _advance(state, projected, recurrent)
    return hidden, cell


def _advance(state: LSTMState, projected: jax.Array, recurrent: jax.Array):
    hidden, cell = state
    z = projected + hidden @ recurrent
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


@jax.custom_vjp
def lstm_scan(
    projected: jax.Array, recurrent: jax.Array, state: LSTMState
) -> tuple[jax.Array, LSTMState]:
    """Runs the recursion over all frames.

    Args:
        projected: ``x W_x + b``, ``[time, ..., batch, 4 size]``; the dots are directions, if any.
        recurrent: ``W_h``, ``[..., size, 4 size]``.
        state: hidden and cell state before the first frame, each ``[..., batch, size]``.

    Returns:
        The hidden states ``[time, ..., batch, size]`` and the state after the last frame.
    """

    def step(carry, z):
        carry = lstm_step(carry, z, recurrent)
        return carry, carry[0]

    last, hidden = jax.lax.scan(step, state, projected)
    return hidden, last


def _scan_forward(projected, recurrent, state):
    def step(carry, z):
        hidden, cell, tanh_cell, gates = _advance(carry, z, recurrent)
        return (hidden, cell), (hidden, cell, tanh_cell, gates)

    last, (hidden, *frames) = jax.lax.scan(step, state, projected)
    return (hidden, last), (recurrent, state, hidden, *frames)


def _scan_backward(residuals, gradients):
    recurrent, state, hidden, cell, tanh_cell, gates = residuals
    hidden_gradients, (last_hidden, last_cell) = gradients
    transposed = jnp.swapaxes(recurrent, -1, -2)
    previous_cell = jnp.concatenate([state[1][None], cell[:-1]])

    def step(carry, frame):
        dh, dc = carry
        dh_out, tanh_cell, previous_cell, (i, f, g, o) = frame
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
        return (dz @ transposed, dc * f), dz

    (dh, dc), dz = jax.lax.scan(
        step,
        (last_hidden, last_cell),
        (hidden_gradients, tanh_cell, previous_cell, gates),
        reverse=True,
    )
    previous_hidden = jnp.concatenate([state[0][None], hidden[:-1]])
    recurrent_gradient = jnp.einsum("t...bh,t...bz->...hz", previous_hidden, dz)
    return dz, recurrent_gradient, (dh, dc)


lstm_scan.defvjp(_scan_forward, _scan_backward)


def flip_sequences(inputs: jax.Array, paddings: jax.Array) -> jax.Array:
    """Reverses the valid frames of each row and leaves the padding where it is.

    Args:
        inputs: ``[batch, time, ...]``.
        paddings: ``[batch, time]``, 1 at padded frames, which stand on the right.

    Returns:
        ``[batch, time, ...]``; applying it twice gives the input back.
    """
    num_frames = inputs.shape[1]
    lengths = jnp.sum(1 - paddings, axis=1).astype(jnp.int32)[:, None]
    time = jnp.arange(num_frames, dtype=jnp.int32)[None, :]
    index = jnp.where(time < lengths, lengths - 1 - time, time)
    return jnp.take_along_axis(
        inputs, index.reshape(index.shape + (1,) * (inputs.ndim - 2)), axis=1
    )


class LSTM(nn.Module):
    """One LSTM layer over a padded batch.

    Attributes:
        size: cells per direction.
        bidirectional: also run backward over the valid frames, exactly, whatever the padding.
        dropconnect: probability of dropping each recurrent weight, drawn once per call, in
            training.
    """

    size: int
    bidirectional: bool = False
    dropconnect: float = 0.0

    def setup(self):
        """See `flax.linen.Module.setup`."""
        self.directions = 2 if self.bidirectional else 1

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        paddings: jax.Array | None = None,
        *,
        state: LSTMState | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, LSTMState]:
        """Runs the layer.

        Args:
            inputs: ``[batch, time, features]``.
            paddings: ``[batch, time]``, 1 at padded frames (on the right); ``None`` means none.
            state: initial hidden and cell state ``[directions, batch, size]``; zeros by default.
            deterministic: turns DropConnect off; otherwise a ``dropout`` random key is needed.

        Returns:
            Outputs ``[batch, time, directions * size]``, zero at padded frames, and the state after
            the last frame of the array (meaningful when there is no padding), each ``[directions,
            batch, size]``.
        """
        kernel, recurrent, bias = self._parameters(inputs.shape[-1])
        if self.dropconnect > 0 and not deterministic:
            keep = jax.random.bernoulli(
                self.make_rng("dropout"), 1 - self.dropconnect, recurrent.shape
            )
            recurrent = jnp.where(keep, recurrent / (1 - self.dropconnect), 0)
        batch, num_frames, _ = inputs.shape
        if paddings is None:
            paddings = jnp.zeros((batch, num_frames), inputs.dtype)
        both = inputs[None]
        if self.bidirectional:
            both = jnp.stack([inputs, flip_sequences(inputs, paddings)])
        projected = jnp.einsum("dbtf,dfz->tdbz", both, kernel) + bias[None, :, None, :]
        if state is None:
            zeros = jnp.zeros((self.directions, batch, self.size), projected.dtype)
            state = (zeros, zeros)
        hidden, last = lstm_scan(projected, recurrent, state)
        outputs = jnp.moveaxis(hidden, 0, 2)  # [directions, batch, time, size]
        if self.bidirectional:
            outputs = jnp.concatenate([outputs[0], flip_sequences(outputs[1], paddings)], axis=-1)
        else:
            outputs = outputs[0]
        return outputs * (1 - paddings)[:, :, None].astype(outputs.dtype), last

    def step(self, inputs: jax.Array, state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Advances a unidirectional layer by one frame.

        Args:
            inputs: ``[batch, features]``.
            state: hidden and cell state, each ``[1, batch, size]``.

        Returns:
            The output ``[batch, size]`` and the next state.
        """
        outputs, state = self(inputs[:, None, :], state=state)
        return outputs[:, 0], state

    def _parameters(self, num_features: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        def parameter(name: str, initializer: Callable, shape: tuple[int, ...]) -> jax.Array:
            return self.param(name, initializer, (self.directions, *shape))

        per_direction = nn.initializers.variance_scaling(
            1.0, "fan_in", "uniform", in_axis=-2, out_axis=-1, batch_axis=(0,)
        )
        orthogonal_gates = _per_gate(nn.initializers.orthogonal())
        return (
            parameter("kernel", per_direction, (num_features, 4 * self.size)),
            parameter("recurrent", orthogonal_gates, (self.size, 4 * self.size)),
            parameter("bias", _forget_bias, (4 * self.size,)),
        )


def _per_gate(initializer: Callable) -> Callable:
    """Initializes ``[directions, size, 4 size]`` gate by gate."""

    def initialize(key, shape, dtype=jnp.float32):
        directions, size, _ = shape
        keys = jax.random.split(key, (directions, 4))
        gates = jax.vmap(jax.vmap(lambda key: initializer(key, (size, size), dtype)))(keys)
        return jnp.moveaxis(gates, 1, 2).reshape(shape)

    return initialize


def _forget_bias(key, shape, dtype=jnp.float32):
    """Zeros, and ones for the forget gate, so that cells remember at the start."""
    del key
    size = shape[-1] // 4
    return jnp.zeros(shape, dtype).at[..., size : 2 * size].set(1)
