"""Sizes and regularization of an acoustic model, with named ones; without JAX, for quick help."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AcousticModelConfig:
    """Sizes and regularization of an acoustic model."""

    layers: int = 6
    """Bidirectional LSTM layers."""
    size: int = 512
    """Cells per direction of each layer."""
    bottleneck: int = 256
    """Size of the linear layer before the output."""
    dropout: float = 0.2
    """Dropout between layers."""
    dropconnect: float = 0.0
    """Probability of dropping a recurrent weight, drawn once per batch."""

    def __post_init__(self):
        for name in ("layers", "size", "bottleneck"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")


PRESETS = {
    "tiny": AcousticModelConfig(layers=2, size=96, bottleneck=64, dropout=0.1),
    "small": AcousticModelConfig(layers=3, size=192, bottleneck=128, dropconnect=0.2),
    # Sizes as remembered of the group's papers, not verified against one: 43 M parameters with
    # 32,000 states and 260 features.
    "paper": AcousticModelConfig(),
}
