"""Layers of Transformers: what the encoder of texts and the translation model share.

    Attention(x, k, v) = softmax(Q K^T / sqrt(d)) V, by heads, then a linear layer

A layer is a residual sum followed by layer normalization, as in the paper.  Every dense layer can
be tapped (see `gossamer.core.attribution.kronecker`): its inputs are sown into the collection
"inputs", and the collection "taps" is added to its outputs.

References:
    A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-12  # of layer normalization, as in BERT


class KeysValues(NamedTuple):
    """What is attended to, by heads."""

    keys: jax.Array  # [..., K, heads, size / heads]
    values: jax.Array  # [..., K, heads, size / heads]


class Dense(nn.Module):
    """A linear layer that can be tapped."""

    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] -> [..., size]."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.size))
        bias = self.param("bias", nn.initializers.zeros, (self.size,))
        self.sow("inputs", "x", x)
        outputs = x @ kernel
        outputs = outputs + jnp.broadcast_to(bias, outputs.shape)
        if self.has_variable("taps", "y"):
            outputs = outputs + self.get_variable("taps", "y")
        return outputs


class Attention(nn.Module):
    """Attention by heads; keys and values are projected apart, so that they can be kept.

    Attributes:
        size: of inputs and outputs, a multiple of `heads`.
        heads: attention heads.
    """

    size: int
    heads: int

    def setup(self):
        """See `flax.linen.Module.setup`."""
        self.query = Dense(self.size)
        self.key = Dense(self.size)
        self.value = Dense(self.size)
        self.output = Dense(self.size)

    def project(self, x: jax.Array) -> KeysValues:
        """Keys and values of what is attended to, [..., K, size]."""
        return KeysValues(self._by_heads(self.key(x)), self._by_heads(self.value(x)))

    def __call__(self, x: jax.Array, to: KeysValues, visible: jax.Array) -> jax.Array:
        """Attends.

        Args:
            x: [..., Q, size].
            to: what `project` gave.
            visible: [..., Q or 1, K] bool, the positions that each one sees.

        Returns:
            [..., Q, size].
        """
        query = self._by_heads(self.query(x))
        scores = jnp.einsum("...qhd,...khd->...hqk", query, to.keys) / query.shape[-1] ** 0.5
        visible = jnp.broadcast_to(visible[..., None, :, :], scores.shape)
        attention = jax.nn.softmax(jnp.where(visible, scores, -1e9))
        return self.output(
            jnp.einsum("...hqk,...khd->...qhd", attention, to.values).reshape(x.shape)
        )

    def _by_heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them.

    Attributes:
        size: of inputs and outputs.
        hidden: size between the layers.
        activation: element by element.
    """

    size: int
    hidden: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., size] -> [..., size]."""
        wide = self.activation(Dense(self.hidden, name="expand")(x))
        return Dense(self.size, name="contract")(wide)


def exact_gelu(x: jax.Array) -> jax.Array:
    """Each number times the probability that a normal number is below it."""
    return nn.gelu(x, approximate=False)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network.

    Attributes:
        size: of hidden states, a multiple of `heads`.
        heads: attention heads.
        hidden: size inside the feed-forward network.
        dropout: after each of the two.
        activation: of the feed-forward network.
    """

    size: int
    heads: int
    hidden: int
    dropout: float = 0.0
    activation: Callable[[jax.Array], jax.Array] = exact_gelu

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """[..., T, size] and which positions are there, [..., T], to [..., T, size]."""
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        attention = Attention(self.size, self.heads)
        feed_forward = FeedForward(self.size, self.hidden, self.activation)
        # Their layers are this layer's own: "query" stands beside "expand", as in BERT.
        nn.share_scope(self, attention)
        nn.share_scope(self, feed_forward)
        mixed = drop(attention(x, attention.project(x), valid[..., None, :]))
        x = nn.LayerNorm(epsilon=EPSILON, name="attention_norm")(x + mixed)
        return nn.LayerNorm(epsilon=EPSILON, name="output_norm")(x + drop(feed_forward(x)))
