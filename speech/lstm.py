"""Long short-term memory layers over padded batches, in one direction or both.

The input product ``x W_x + b`` is one matrix product for all frames, outside the recursion (see
`recurrence`); both directions of a bidirectional layer run in the same scan as a batched product.

Inputs, weights and hidden states may be codes. The hidden state is quantized once, when it is
produced: the recursion and the next layer see the same codes.

References:
    Wan et al., Regularization of neural networks using DropConnect, 2013 (here on the recurrent
    weights).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ..core.quantization import Policy
from ..core.quantized import Quantized, Tensor, map_codes, matmul, select
from ..core.sites import calibrate_site, quantize_site, site_name, site_quantizer
from .layers import draw_mask, zero_padding
from .recurrence import LSTMState, lstm_scan, quantize_frames


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
        policy: rules for the sites "input" (unless codes come in) and "hidden".
        returns_codes: give the hidden states as codes, for a next layer to multiply, where "hidden"
            is quantized; the last layer of a stack gives numbers.
    """

    size: int
    bidirectional: bool = False
    dropconnect: float = 0.0
    policy: Policy | None = None
    returns_codes: bool = False

    def setup(self):
        """See `flax.linen.Module.setup`."""
        self.directions = 2 if self.bidirectional else 1

    @nn.compact
    def __call__(
        self,
        inputs: Tensor,
        paddings: jax.Array | None = None,
        *,
        state: LSTMState | None = None,
        deterministic: bool = True,
    ) -> tuple[Tensor, LSTMState]:
        """Runs the layer.

        Args:
            inputs: ``[batch, time, features]``, numbers or codes.
            paddings: ``[batch, time]``, 1 at padded frames (on the right); ``None`` means none.
            state: initial hidden and cell state ``[directions, batch, size]``; zeros by default.
            deterministic: turns DropConnect off; otherwise a ``dropout`` random key is needed.

        Returns:
            Outputs ``[batch, time, directions * size]``, zero at padded frames, and the state after
            the last frame of the array (meaningful when there is no padding), each ``[directions,
            batch, size]``.
        """
        batch, num_frames, num_features = inputs.shape
        kernel, recurrent, bias = self._parameters(num_features)
        if self.dropconnect > 0 and not deterministic:
            recurrent = self._drop_weights(recurrent)
        if paddings is None:
            paddings = jnp.zeros((batch, num_frames))
        inputs = quantize_site(self, self.policy, "input", inputs)
        projected = self._project(inputs, kernel, paddings) + bias[None, :, None, :]
        if state is None:
            zeros = jnp.zeros((self.directions, batch, self.size), projected.dtype)
            state = (zeros, zeros)
        quantizer, clips = site_quantizer(self, self.policy, "hidden", state[0])
        hidden, last = lstm_scan(
            projected, recurrent, state, clips, quantizer, site_name(self, "recurrent")
        )
        calibrate_site(self, self.policy, "hidden", _flatten_frames(hidden))
        if quantizer is None or not self.returns_codes:
            return zero_padding(self._merge(hidden, paddings), paddings), last
        quantized = quantize_frames(quantizer, clips, hidden)
        codes = zero_padding(self._merge(quantized.codes, paddings), paddings)
        scale = quantized.scale
        if scale.ndim:  # one for each direction, which are the halves of the outputs
            scale = jnp.broadcast_to(scale.reshape(-1), (self.directions,))
        return quantized.replace(codes, scale), last

    def _project(self, inputs: Tensor, kernel: Tensor, paddings: jax.Array) -> jax.Array:
        """``x W_x`` for all frames and directions, ``[time, directions, batch, 4 size]``."""
        name = site_name(self, "kernel")
        products = []
        for direction in range(self.directions):
            seen = inputs
            if direction == 1:
                seen = map_codes(lambda x: flip_sequences(x, paddings), inputs)
            seen = map_codes(lambda x: jnp.swapaxes(x, 0, 1), seen)
            products.append(matmul(seen, select(kernel, direction), name=name))
        return jnp.stack(products, axis=1)

    def _merge(self, hidden: jax.Array, paddings: jax.Array) -> jax.Array:
        """``[time, directions, batch, size] -> [batch, time, directions * size]``."""
        outputs = jnp.moveaxis(hidden, 0, 2)
        if not self.bidirectional:
            return outputs[0]
        return jnp.concatenate([outputs[0], flip_sequences(outputs[1], paddings)], axis=-1)

    def _drop_weights(self, recurrent: Tensor) -> Tensor:
        keep = draw_mask(self.make_rng("dropout"), 1 - self.dropconnect, recurrent.shape)
        if isinstance(recurrent, Quantized):
            return recurrent.masked(keep, 1 - self.dropconnect)
        return jnp.where(keep, recurrent / (1 - self.dropconnect), 0)

    def step(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Advances a unidirectional layer by one frame.

        Args:
            inputs: ``[batch, features]``.
            state: hidden and cell state, each ``[1, batch, size]``.

        Returns:
            The output ``[batch, size]`` and the next state.
        """
        outputs, state = self(map_codes(lambda x: x[:, None, :], inputs), state=state)
        return map_codes(lambda x: x[:, 0], outputs), state

    def _parameters(self, num_features: int) -> tuple[Tensor, Tensor, jax.Array]:
        def parameter(name: str, initializer: Callable, shape: tuple[int, ...]):
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


def _flatten_frames(hidden: jax.Array) -> jax.Array:
    """``[time, directions, batch, size] -> [directions, time * batch, size]``."""
    directions, size = hidden.shape[1], hidden.shape[-1]
    return jnp.moveaxis(hidden, 1, 0).reshape(directions, -1, size)


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
