"""Sizes and regularization of an encoder of texts; without JAX, for quick help.

References:
    W. Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of
        Pre-Trained Transformers", 2020, arXiv:2002.10957.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and regularization of an encoder."""

    layers: int = 2
    """Transformer layers."""
    size: int = 64
    """Size of hidden states, a multiple of `heads`."""
    heads: int = 4
    """Attention heads."""
    hidden: int = 128
    """Size inside the feed-forward network."""
    max_length: int = 64
    """Positions."""
    dropout: float = 0.1
    """Dropout after embeddings and in each layer."""

    def __post_init__(self):
        if self.layers < 1 or self.size % self.heads:
            raise ValueError(
                "`layers` must be at least 1 and `size` a multiple of `heads`, got "
                f"{self.layers}, {self.size} and {self.heads}."
            )


MINILM = EncoderConfig(layers=6, size=384, heads=12, hidden=1536, max_length=512)
