"""The LSTM recurrent neural network transducer: encoder, predictor and joiner.

    h = encoder(features)                one vector a frame
    g_u = predictor(blank, y_1 .. y_u)   one vector a label prefix; the blank is the start
    logits[t, u] = W_o tanh(J(A h_t, B g_u))

with ``J`` the sum (additive) or the element-wise product (multiplicative integration, the default
of Saon et al.).  ``encode`` and ``predict`` return their vectors already projected to the joiner's
size, so that the loss, which visits every pair (t, u), repeats only ``join``.  A small linear layer
on the encoder, ``connect``, gives the logits of an auxiliary connectionist temporal classification
loss.

References:
    Graves, Sequence transduction with recurrent neural networks, 2012, arXiv:1211.3711.
    Saon, Tueske, Bolanos, Kingsbury, Advancing RNN transducer technology for speech recognition,
    2021, arXiv:2103.09935.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ..core.quantization import Policy
from ..core.quantized import Quantized, Tensor, dequantize, map_codes
from . import layers
from .layers import Dense, Embedding
from .lstm import LSTM
from .recurrence import LSTMState
from .transducer_config import TransducerConfig


class EncoderState(NamedTuple):
    """What an encoder in one direction keeps between two parts of a recording."""

    layers: tuple[LSTMState, ...]  # of each layer, both parts [1, batch, encoder_size]
    waiting: tuple[jax.Array, ...]  # of each layer, [batch, 0 or lookahead, encoder_size]


class Transducer(nn.Module):
    """Encoder, predictor and joiner as one parameter tree; call its parts through ``method=``.

    Attributes:
        config: sizes and regularization.
        vocabulary_size: number of labels, the blank (index 0) included.
        policy: where activations are quantized, see `layers`; weights come as they are to be used.

    Example:
        >>> model = Transducer(transducer_config.PRESETS["tiny"], vocabulary_size=29)
        >>> features, paddings = jnp.zeros((1, 20, 240)), jnp.zeros((1, 20))
        >>> params = model.init(jax.random.key(0), features, paddings, jnp.zeros((1, 5), jnp.int32))
        >>> encoded, _ = model.apply(params, features, paddings, method="encode")
        >>> encoded.shape
        (1, 10, 128)
    """

    config: TransducerConfig
    vocabulary_size: int
    policy: Policy | None = None

    def setup(self):
        """See `flax.linen.Module.setup`."""
        config = self.config
        self.encoder_layers = [
            LSTM(
                config.encoder_size,
                bidirectional=config.bidirectional,
                dropconnect=config.dropconnect,
                policy=self.policy,
                returns_codes=layer < config.encoder_layers and not config.lookahead,
                name=f"encoder_{layer}",
            )
            for layer in range(1, config.encoder_layers + 1)
        ]
        self.lookaheads = [
            layers.LookAhead(config.lookahead, name=f"lookahead_{layer}")
            for layer in range(1, config.encoder_layers + 1)
            if config.lookahead
        ]
        self.encoder_projection = Dense(config.joiner_size, self.policy)
        self.embedding = Embedding(self.vocabulary_size, config.embedding_size)
        self.predictor = LSTM(
            config.predictor_size, dropconnect=config.dropconnect, policy=self.policy
        )
        self.predictor_projection = Dense(config.joiner_size, self.policy)
        self.output = Dense(self.vocabulary_size, self.policy)
        self.ctc_output = Dense(self.vocabulary_size, self.policy)

    def __call__(
        self, features: jax.Array, paddings: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits at every lattice node, all held at once: for initialization and small cases.

        Args:
            features: ``[batch, time, features]``.
            paddings: ``[batch, time]``.
            labels: ``[batch, U]``.

        Returns:
            Logits ``[batch, frames, U + 1, vocabulary]``, their paddings ``[batch, frames]``, and
            the logits of the auxiliary loss ``[batch, frames, vocabulary]``.
        """
        encoded, encoded_paddings = self.encode(features, paddings)
        predicted = self.predict(labels)
        logits = self.join(encoded[:, :, None, :], predicted[:, None, :, :])
        return logits, encoded_paddings, self.connect(encoded)

    def survey(self, features: jax.Array, paddings: jax.Array, labels: jax.Array) -> None:
        """Visits every site of quantization, with a thinned lattice, for calibration.

        Args:
            features: ``[batch, time, features]``.
            paddings: ``[batch, time]``.
            labels: ``[batch, U]``.
        """
        encoded, _ = self.encode(features, paddings)
        predicted = self.predict(labels)
        self.join(encoded[:, ::8, None, :], predicted[:, None, ::4, :])
        self.connect(encoded)

    def encode(
        self, features: jax.Array, paddings: jax.Array, *, deterministic: bool = True
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the encoder.

        Args:
            features: ``[batch, time, features]``.
            paddings: ``[batch, time]``, 1 at padded frames.
            deterministic: turns dropout and DropConnect off.

        Returns:
            Encoded frames ``[batch, ceil(time / reduction), joiner]`` and their paddings.
        """
        encoded, paddings, _ = self.encode_part(
            features, paddings, None, is_last=True, deterministic=deterministic
        )
        return encoded, paddings

    def encode_part(
        self,
        features: jax.Array,
        paddings: jax.Array,
        state: EncoderState | None,
        *,
        is_last: bool,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array, EncoderState]:
        """Runs the encoder over the next part of a recording; together the parts give the whole.

        Args:
            features: ``[batch, time, features]``.
            paddings: ``[batch, time]``, 1 at padded frames; only the last part has such.
            state: what the call for the part before returned; None for the first part.
            is_last: whether the recording ends here; else frames of look-ahead are kept waiting.
            deterministic: turns dropout and DropConnect off.

        Returns:
            The encoded frames that are ready, their paddings, and the state.

        Raises:
            ValueError: if the encoder is bidirectional and this is not the whole, or a pair of
                frames is cut in two.
        """
        if self.config.bidirectional and not (state is None and is_last):
            raise ValueError(
                "`features` must be whole recordings for an encoder that is bidirectional."
            )

        def reduce(hidden, paddings):
            if not is_last and hidden.shape[1] % 2:
                raise ValueError(
                    "`features` must not end within a pair of frames of the encoder, got "
                    f"{features.shape[1]} frames, {hidden.shape[1]} where they are joined."
                )
            return join_pairs(hidden, paddings)

        hidden, last_states, waiting = features, [], []
        if 0 in self.config.reduce_after:
            hidden, paddings = reduce(hidden, paddings)
        for layer, lstm in enumerate(self.encoder_layers):
            before = None if state is None else state.layers[layer]
            hidden, last = lstm(hidden, paddings, state=before, deterministic=deterministic)
            last_states.append(last)
            if self.lookaheads:
                frames = dequantize(hidden)
                past = frames[:, :0] if state is None else state.waiting[layer]
                hidden, kept = self.lookaheads[layer](frames, past, is_last=is_last)
                paddings = jnp.pad(paddings, ((0, 0), (past.shape[1], 0)))[:, : hidden.shape[1]]
                waiting.append(kept)
            if layer + 1 in self.config.reduce_after:
                hidden, paddings = reduce(hidden, paddings)
            hidden = self._dropout(hidden, deterministic)
        state = EncoderState(tuple(last_states), tuple(waiting))
        return self.encoder_projection(hidden), paddings, state

    def predict(self, labels: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """Runs the predictor over whole label sequences.

        Args:
            labels: ``[batch, U]``, without the start symbol.
            deterministic: turns dropout and DropConnect off.

        Returns:
            ``[batch, U + 1, joiner]``: entry u has seen u labels.
        """
        tokens = jnp.pad(labels, ((0, 0), (1, 0)))  # the blank starts the sequence
        embedded = self.embedding(tokens)
        if self.config.embedding_dropout > 0 and not deterministic:
            keep = 1 - self.config.embedding_dropout
            mask = jax.random.bernoulli(self.make_rng("dropout"), keep, tokens.shape)[:, :, None]
            if isinstance(embedded, Quantized):
                embedded = embedded.masked(mask, keep)
            else:
                embedded = jnp.where(mask, embedded / keep, 0)
        hidden, _ = self.predictor(embedded, deterministic=deterministic)
        return self.predictor_projection(self._dropout(hidden, deterministic))

    def _dropout(self, x: Tensor, deterministic: bool) -> Tensor:
        return layers.dropout(self, x, self.config.dropout, deterministic=deterministic)

    def predict_step(self, tokens: jax.Array, state: LSTMState) -> tuple[jax.Array, LSTMState]:
        """Advances the predictor by one label.

        Args:
            tokens: ``[batch]``, the last label of each sequence, the blank at the start.
            state: ``initial_state`` or what the previous step returned.

        Returns:
            ``[batch, joiner]`` and the next state.
        """
        # States carry the batch in front, so that a decoder may select rows; the layer wants it
        # second.
        state = (state[0][None], state[1][None])
        hidden, state = self.predictor.step(self.embedding(tokens), state)
        return self.predictor_projection(hidden), (state[0][0], state[1][0])

    def initial_state(self, batch: int) -> LSTMState:
        """The predictor's state before the start symbol, each ``[batch, predictor_size]``."""
        zeros = jnp.zeros((batch, self.config.predictor_size))
        return zeros, zeros

    def join(self, encoded: jax.Array, predicted: jax.Array) -> jax.Array:
        """Logits of encoder and predictor vectors.

        Args:
            encoded: ``[..., joiner]``.
            predicted: ``[..., joiner]``, broadcastable against ``encoded``.

        Returns:
            ``[..., vocabulary]``.
        """
        if self.config.joiner == "multiplicative":
            joint = encoded * predicted
        else:
            joint = encoded + predicted
        return self.output(jnp.tanh(joint))

    def connect(self, encoded: jax.Array) -> jax.Array:
        """Logits of the auxiliary frame-wise loss, ``[..., joiner] -> [..., vocabulary]``."""
        return self.ctc_output(jnp.tanh(encoded))


def join_pairs(frames: Tensor, paddings: jax.Array) -> tuple[Tensor, jax.Array]:
    """Concatenates neighboring frames in pairs.

    Args:
        frames: ``[batch, time, size]``, numbers or codes, zero at padded frames.
        paddings: ``[batch, time]``.

    Returns:
        ``[batch, ceil(time / 2), 2 size]`` and paddings; a pair is valid when its first frame is.
    """
    batch, num_frames, size = frames.shape
    odd = num_frames % 2

    def join(x):
        x = jnp.pad(x, ((0, 0), (0, odd), (0, 0)))
        return x.reshape(batch, (num_frames + odd) // 2, 2 * size)

    joined = map_codes(join, frames)
    if isinstance(joined, Quantized) and joined.scale.ndim:  # one scale for each part of a frame
        joined = joined.replace(joined.codes, jnp.tile(joined.scale, 2))
    return joined, paddings[:, ::2]
