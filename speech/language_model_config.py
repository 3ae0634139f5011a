"""Sizes and regularization of a language model, with named ones; without JAX, for quick help.

References:
    Fasoli et al., Accelerating inference and language model fusion of recurrent neural network
    transducers via end-to-end 4-bit quantization, 2022, arXiv:2206.07882.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes and regularization of a language model."""

    layers: int = 1
    """LSTM layers."""
    size: int = 768
    """Cells of each layer."""
    embedding_size: int = 256
    """Size of the label embedding."""
    dropout: float = 0.1
    """Dropout after each layer."""

    def __post_init__(self):
        if self.layers < 1:
            raise ValueError(f"`layers` must be at least 1, got {self.layers}.")


# Sizes of arXiv:2206.07882 as remembered, not verified against the paper.
PRESETS = {
    "source": LanguageModelConfig(),
    "external": LanguageModelConfig(layers=2, size=2048),
}
