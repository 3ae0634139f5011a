"""Networks of this package: a Transformer encoder with a classifier on it.

The encoder is that of BERT: embeddings of tokens and positions, then layers of self-attention and
a feed-forward network, each followed by a residual sum and layer normalization.  A text is the mean
of its hidden states, and its logits are a linear function of that.  The same module is the small
model that is trained from scratch and the MiniLM family, whose weights `pretrained` reads.

Every dense layer can be tapped, see `layers`.

References:
    A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    J. Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding", 2018, arXiv:1810.04805.
    W. Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
        Pre-Trained Transformers", 2020, arXiv:2002.10957.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .encoder_config import EncoderConfig
from .layers import EPSILON, Dense, EncoderLayer


class Encoder(nn.Module):
    """Hidden states of texts."""

    config: EncoderConfig
    vocabulary_size: int

    @nn.compact
    def __call__(self, ids: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """Runs over texts.

        Args:
            ids: [..., T] int, 0 where a text is over.
            deterministic: turns dropout off; otherwise a ``dropout`` random key is needed.

        Returns:
            [..., T, size].
        """
        config, initial = self.config, nn.initializers.normal(0.05)
        tokens = self.param("tokens", initial, (self.vocabulary_size, config.size))[ids]
        positions = self.param("positions", initial, (config.max_length, config.size))
        x = tokens + jnp.broadcast_to(positions[: ids.shape[-1]], tokens.shape)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm")(x)
        x = nn.Dropout(config.dropout, deterministic=deterministic)(x)
        for number in range(config.layers):
            layer = EncoderLayer(
                config.size, config.heads, config.hidden, config.dropout, name=f"layer_{number}"
            )
            x = layer(x, ids > 0, deterministic=deterministic)
        return x


class Classifier(nn.Module):
    """Logits of classes, from the mean hidden state of a text.

    Attributes:
        config: sizes and regularization of the encoder.
        vocabulary_size: number of tokens, [PAD] (0) included.
        num_classes: number of classes.

    Example:
        >>> model = Classifier(EncoderConfig(layers=1, size=8, heads=2), 100, 2)
        >>> params = model.init(jax.random.key(0), jnp.ones((3, 5), jnp.int32))["params"]
        >>> model.apply({"params": params}, jnp.ones((3, 5), jnp.int32)).shape
        (3, 2)
    """

    config: EncoderConfig
    vocabulary_size: int
    num_classes: int

    def setup(self):
        """See `flax.linen.Module.setup`."""
        self.encoder = Encoder(self.config, self.vocabulary_size)
        self.head = Dense(self.num_classes)

    def __call__(self, ids: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """[..., T] int, 0 where a text is over, to logits [..., num_classes]."""
        return self.head(self.features(ids, deterministic=deterministic))

    def features(self, ids: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """What goes into the last layer, [..., size]."""
        return pool(self.encoder(ids, deterministic=deterministic), ids)


def pool(states: jax.Array, ids: jax.Array) -> jax.Array:
    """The mean of hidden states [..., T, size] over the tokens of a text, [..., size]."""
    valid = jnp.broadcast_to((ids > 0)[..., None], states.shape)
    total = jnp.maximum(jnp.sum(ids > 0, -1, keepdims=True), 1)
    summed = jnp.sum(states, -2, where=valid)
    return summed / jnp.broadcast_to(total, summed.shape)
