"""Sizes and regularization of a translator, with named ones; without JAX, for quick help.

References:
    A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and regularization."""

    layers: int = 2
    """Layers of the encoder, and of the decoder."""
    size: int = 128
    """Size of hidden states, even and a multiple of `heads`."""
    heads: int = 4
    """Attention heads."""
    hidden: int = 256
    """Size inside the feed-forward networks."""
    dropout: float = 0.1
    """Dropout of embeddings and of what each layer adds."""

    def __post_init__(self):
        if self.layers < 1 or self.size % self.heads or self.size % 2:
            raise ValueError(
                "`layers` must be at least 1 and `size` even and a multiple of `heads`, got "
                f"{self.layers}, {self.size} and {self.heads}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")


PRESETS = {
    "tiny": TransformerConfig(layers=1, size=32, heads=2, hidden=64),
    "small": TransformerConfig(),
    "base": TransformerConfig(layers=6, size=512, heads=8, hidden=2048),
}
