"""A language model of labels: an embedding, long short-term memory layers, a linear output.

    log P(y_1 ... y_U) = sum_u log softmax(logits_{u-1})[y_u],    logits_u = lm(blank, y_1 .. y_u)

The blank of the transducer (index 0) starts a sequence, and its logit is there to keep the indices;
nothing asks for its probability. Two such models make a density ratio: one of the transcripts that
a recognizer was trained on, one of more text.

References:
    Saon, Tueske, Bolanos, Kingsbury, Advancing RNN transducer technology for speech recognition,
    2021, arXiv:2103.09935.
    Fasoli et al., Accelerating inference and language model fusion of recurrent neural network
    transducers via end-to-end 4-bit quantization, 2022, arXiv:2206.07882.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ..core.quantization import Policy
from . import layers
from .language_model_config import LanguageModelConfig
from .layers import Dense, Embedding
from .lstm import LSTM
from .recurrence import LSTMState

State = tuple[LSTMState, ...]  # of each layer, both parts [batch, size]


class LanguageModel(nn.Module):
    """Logits of the next label after each prefix.

    Attributes:
        config: sizes and regularization.
        vocabulary_size: number of labels, the blank (index 0) included.
        policy: where activations are quantized, see `layers`; weights come as they are to be used.

    Example:
        >>> model = LanguageModel(LanguageModelConfig(size=16, embedding_size=8), 29)
        >>> labels = jnp.zeros((2, 5), jnp.int32)
        >>> params = model.init(jax.random.key(0), labels)
        >>> model.apply(params, labels).shape
        (2, 6, 29)
    """

    config: LanguageModelConfig
    vocabulary_size: int
    policy: Policy | None = None

    def setup(self):
        """See `flax.linen.Module.setup`."""
        config = self.config
        self.embedding = Embedding(self.vocabulary_size, config.embedding_size)
        self.lstm_layers = [
            LSTM(
                config.size,
                policy=self.policy,
                returns_codes=layer < config.layers,
                name=f"layer_{layer}",
            )
            for layer in range(1, config.layers + 1)
        ]
        self.output = Dense(self.vocabulary_size, self.policy)

    def __call__(self, labels: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """Runs over whole sequences.

        Args:
            labels: ``[batch, U]``, without the start symbol.
            deterministic: turns dropout off; otherwise a ``dropout`` random key is needed.

        Returns:
            Logits ``[batch, U + 1, vocabulary]``: entry u has seen u labels.
        """
        hidden = self.embedding(jnp.pad(labels, ((0, 0), (1, 0))))
        for lstm in self.lstm_layers:
            hidden, _ = lstm(hidden)
            hidden = layers.dropout(self, hidden, self.config.dropout, deterministic=deterministic)
        return self.output(hidden)

    def survey(self, labels: jax.Array) -> None:
        """Visits every site of quantization, for calibration; `labels` as in a call."""
        self(labels)

    def step(self, tokens: jax.Array, state: State) -> tuple[jax.Array, State]:
        """Advances by one label.

        Args:
            tokens: ``[batch]``, the last label of each sequence, the blank at the start.
            state: ``initial_state`` or what the previous step returned.

        Returns:
            Logits of the next label ``[batch, vocabulary]`` and the next state.
        """
        hidden = self.embedding(tokens)
        states = []
        for lstm, (h, c) in zip(self.lstm_layers, state, strict=True):
            # States carry the batch in front, so that a decoder may select rows; layers want it
            # second.
            hidden, (h, c) = lstm.step(hidden, (h[None], c[None]))
            states.append((h[0], c[0]))
        return self.output(hidden), tuple(states)

    def initial_state(self, batch: int) -> State:
        """The state before the start symbol."""
        zeros = jnp.zeros((batch, self.config.size))
        return ((zeros, zeros),) * self.config.layers
