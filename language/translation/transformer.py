"""The Transformer with encoder and decoder.

    encoder layer    x <- norm(x + attention(x)),   x <- norm(x + feed_forward(x))
    decoder layer    the same with attention to what was written so far, and between the two
                     x <- norm(x + attention(memory))
    logits           x E^T, with E the embeddings of both sides, which the inputs take
                     times sqrt(size), plus sines and cosines of the position

The decoder's layers run over whole texts in training, and in decoding over one token at a time,
with the keys and values of earlier tokens in a cache: the same code, so that both give the same.

References:
    A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762 (sections 3.1 to 3.5).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ..layers import EPSILON, Attention, EncoderLayer, FeedForward, KeysValues
from .byte_pairs import PAD, START
from .transformer_config import TransformerConfig


class Memory(NamedTuple):
    """What the decoder reads of a source text."""

    layers: tuple[KeysValues, ...]  # of each decoder layer, [batch, S, heads, size / heads]
    valid: jax.Array  # [batch, S] bool


Cache = tuple[KeysValues, ...]  # of each decoder layer, [batch, T, heads, size / heads]


class DecoderLayer(nn.Module):
    """Attention to what is written, attention to the source, and a feed-forward network."""

    config: TransformerConfig

    def setup(self):
        """See `flax.linen.Module.setup`."""
        config = self.config
        self.attention = Attention(config.size, config.heads)
        self.source_attention = Attention(config.size, config.heads)
        self.feed_forward = FeedForward(config.size, config.hidden, nn.relu)
        self.attention_norm, self.source_norm, self.output_norm = (
            nn.LayerNorm(epsilon=EPSILON) for _ in range(3)
        )
        self.drop = nn.Dropout(config.dropout)

    def project(self, memory: jax.Array) -> KeysValues:
        """Keys and values of the source, [..., S, size]."""
        return self.source_attention.project(memory)

    def __call__(
        self,
        x: jax.Array,
        source: KeysValues,
        valid: jax.Array,
        cache: KeysValues | None = None,
        position: jax.Array | int = 0,
        *,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KeysValues]:
        """Runs over texts from their beginning, or goes on with a cache.

        Args:
            x: [batch, Q, size].
            source: what `project` gave.
            valid: [batch, S] bool, the positions of the source that are there.
            cache: keys and values of T positions, of which those before `position` count.
            position: that of the first of `x`.
            deterministic: turns dropout off.

        Returns:
            [batch, Q, size], and the cache with the new positions in it.
        """

        def drop(y):
            return self.drop(y, deterministic=deterministic)

        own = self.attention.project(x)
        if cache is not None:
            own = jax.tree.map(
                lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=1),
                cache,
                own,
            )
        written = position + jnp.arange(x.shape[1])[:, None]
        visible = jnp.arange(own.keys.shape[1])[None] <= written
        x = self.attention_norm(x + drop(self.attention(x, own, visible[None])))
        x = self.source_norm(x + drop(self.source_attention(x, source, valid[:, None])))
        return self.output_norm(x + drop(self.feed_forward(x))), own


class Transformer(nn.Module):
    """Logits of each token of a translation, from the source and the tokens before it.

    Attributes:
        config: sizes and regularization.
        vocabulary_size: number of tokens of both languages together.

    Example:
        >>> model = Transformer(TransformerConfig(layers=1, size=8, heads=2), 100)
        >>> source, target = jnp.ones((3, 5), jnp.int32), jnp.ones((3, 7), jnp.int32)
        >>> params = model.init(jax.random.key(0), source, target)
        >>> model.apply(params, source, target).shape
        (3, 7, 100)
    """

    config: TransformerConfig
    vocabulary_size: int

    def setup(self):
        """See `flax.linen.Module.setup`."""
        config = self.config
        initial = nn.initializers.normal(config.size**-0.5)
        self.tokens = self.param("tokens", initial, (self.vocabulary_size, config.size))
        self.encoder = [
            EncoderLayer(config.size, config.heads, config.hidden, config.dropout, nn.relu)
            for _ in range(config.layers)
        ]
        self.decoder = [DecoderLayer(config) for _ in range(config.layers)]
        self.drop = nn.Dropout(config.dropout)

    def __call__(
        self, source: jax.Array, target: jax.Array, *, deterministic: bool = True
    ) -> jax.Array:
        """Logits of whole translations.

        Args:
            source: [batch, S] int, `PAD` where a text is over.
            target: [batch, T] int, likewise.
            deterministic: turns dropout off; otherwise a ``dropout`` random key is needed.

        Returns:
            [batch, T, vocabulary_size], at ``t`` those of ``target[:, t]``, of which only earlier
            tokens were seen.
        """
        memory = self.read(source, deterministic=deterministic)
        earlier = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START)
        return self.write(earlier, memory, deterministic=deterministic)[0]

    def read(self, source: jax.Array, *, deterministic: bool = True) -> Memory:
        """Runs the encoder over source texts [batch, S]."""
        valid = source != PAD
        x = self._embed(source, 0, deterministic)
        for layer in self.encoder:
            x = layer(x, valid, deterministic=deterministic)
        return Memory(tuple(layer.project(x) for layer in self.decoder), valid)

    def write(
        self,
        tokens: jax.Array,
        memory: Memory,
        cache: Cache | None = None,
        position: jax.Array | int = 0,
        *,
        deterministic: bool = True,
    ) -> tuple[jax.Array, Cache]:
        """Runs the decoder over tokens, each of which sees those before it.

        Args:
            tokens: [batch, Q] int, `START` the first of a text.
            memory: what `read` gave.
            cache: what was written before, see `empty_cache`; none at the beginning of a text.
            position: that of the first token.
            deterministic: turns dropout off.

        Returns:
            Logits of the tokens that follow, [batch, Q, vocabulary_size], and the cache.
        """
        x = self._embed(tokens, position, deterministic)
        caches = []
        for number, layer in enumerate(self.decoder):
            old = None if cache is None else cache[number]
            x, new = layer(
                x, memory.layers[number], memory.valid, old, position, deterministic=deterministic
            )
            caches.append(new)
        return x @ self.tokens.T, tuple(caches)

    def _embed(
        self, tokens: jax.Array, position: jax.Array | int, deterministic: bool
    ) -> jax.Array:
        size = self.config.size
        x = self.tokens[tokens] * size**0.5
        places = sinusoids(position + jnp.arange(tokens.shape[-1]), size)
        return self.drop(x + jnp.broadcast_to(places, x.shape), deterministic=deterministic)


def sinusoids(positions: jax.Array, size: int) -> jax.Array:
    """Sines, then cosines of positions, at wavelengths from 2 pi to 10,000 times that.

    The paper interleaves them, which only numbers the elements in another way.

    Args:
        positions: [T].
        size: even.

    Returns:
        [T, size].
    """
    rates = 10_000.0 ** (-np.arange(0, size, 2) / size)
    angles = positions[:, None] * jnp.asarray(rates, jnp.float32)[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def empty_cache(config: TransformerConfig, batch: int, length: int) -> Cache:
    """Room for `length` tokens of `batch` translations."""
    zeros = jnp.zeros((batch, length, config.heads, config.size // config.heads))
    return tuple(KeysValues(zeros, zeros) for _ in range(config.layers))
