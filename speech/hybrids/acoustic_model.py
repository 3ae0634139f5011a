"""The acoustic model of a hybrid recognizer: probabilities of tied states for each frame.

    log p(s | x_1 .. x_T)_t = log softmax(W bottleneck(BLSTM(x)_t))

Bidirectional long short-term memory layers, a linear bottleneck, and a wide output layer, whose
products the bottleneck makes cheap.  What a decoder wants is a likelihood: by Bayes' rule, up to a
constant for each frame,

    log p(x_t | s) = log p(s | x)_t - log p(s),

with the prior p(s) from the share of frames that were aligned to s.

References:
    Bourlard and Morgan, Connectionist speech recognition: a hybrid approach, 1994.
    Fasoli et al., 4-bit quantization of LSTM-based speech recognition models, 2021,
    arXiv:2108.12074.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ...core.quantization import Policy
from .. import layers
from ..layers import Dense
from ..lstm import LSTM
from .acoustic_model_config import AcousticModelConfig


class AcousticModel(nn.Module):
    """Logits of tied states.

    Attributes:
        config: sizes and regularization.
        num_pdfs: number of tied states.
        policy: where activations are quantized, see `layers`; weights come as they are to be used.

    Example:
        >>> model = AcousticModel(acoustic_model_config.PRESETS["tiny"], num_pdfs=100)
        >>> features, paddings = jnp.zeros((1, 20, 240)), jnp.zeros((1, 20))
        >>> params = model.init(jax.random.key(0), features, paddings)
        >>> model.apply(params, features, paddings).shape
        (1, 20, 100)
    """

    config: AcousticModelConfig
    num_pdfs: int
    policy: Policy | None = None

    def setup(self):
        """See `flax.linen.Module.setup`."""
        config = self.config
        self.encoder_layers = [
            LSTM(
                config.size,
                bidirectional=True,
                dropconnect=config.dropconnect,
                policy=self.policy,
                returns_codes=layer < config.layers,
                name=f"encoder_{layer}",
            )
            for layer in range(1, config.layers + 1)
        ]
        self.bottleneck = Dense(config.bottleneck, self.policy)
        self.states = Dense(self.num_pdfs, self.policy)

    def __call__(
        self, features: jax.Array, paddings: jax.Array, *, deterministic: bool = True
    ) -> jax.Array:
        """Runs over recordings, or parts of them as if they were whole.

        Args:
            features: ``[batch, time, features]``.
            paddings: ``[batch, time]``, 1 at padded frames.
            deterministic: turns dropout and DropConnect off.

        Returns:
            ``[batch, time, num_pdfs]``.
        """
        hidden = features
        for lstm in self.encoder_layers:
            hidden, _ = lstm(hidden, paddings, deterministic=deterministic)
            hidden = layers.dropout(self, hidden, self.config.dropout, deterministic=deterministic)
        return self.states(self.bottleneck(hidden))

    def survey(self, features: jax.Array, paddings: jax.Array) -> None:
        """Visits every site of quantization, for calibration; arguments as in a call."""
        self(features, paddings)


def unroll(x: jax.Array, length: int) -> jax.Array:
    """Cuts sequences into parts that are read as if they were whole.

    Args:
        x: ``[batch, time, ...]``.
        length: of a part; the last one is filled with zeros.

    Returns:
        ``[batch * parts, length, ...]``.
    """
    missing = -x.shape[1] % length
    x = jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))
    return x.reshape(-1, length, *x.shape[2:])


def count_priors(targets: list[np.ndarray], num_pdfs: int) -> np.ndarray:
    """Log priors of tied states, ``[num_pdfs]``; each is taken to have been seen once more.

    Args:
        targets: tied states of the frames of each utterance; -1 is no state.
        num_pdfs: number of tied states.
    """
    counts = np.ones(num_pdfs)
    for frames in targets:
        counts += np.bincount(frames[frames >= 0], minlength=num_pdfs)
    return np.log(counts / counts.sum()).astype(np.float32)
