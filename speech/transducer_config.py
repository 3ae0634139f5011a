"""Sizes and regularization of a transducer, with named ones; without JAX, for quick help.

References:
    Saon, Tueske, Bolanos, Kingsbury, Advancing RNN transducer technology for speech recognition,
    2021, arXiv:2103.09935.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class TransducerConfig:
    """Sizes and regularization of a transducer."""

    encoder_layers: int = 6
    """LSTM layers of the encoder."""
    encoder_size: int = 640
    """Cells per direction of each encoder layer."""
    bidirectional: bool = True
    """Whether the encoder reads the recording in both directions."""
    lookahead: int = 0
    """Next frames that each encoder layer waits for; only without `bidirectional`."""
    reduce_after: tuple[int, ...] = ()
    """Encoder layers after which neighboring frames are joined in pairs; 0 joins features."""
    embedding_size: int = 10
    """Size of the label embedding."""
    predictor_size: int = 768
    """Cells of the predictor's single LSTM layer."""
    joiner_size: int = 256
    """Size of the joint space."""
    joiner: Literal["multiplicative", "additive"] = "multiplicative"
    """How encoder and predictor vectors meet."""
    dropout: float = 0.25
    """Dropout between encoder layers and on the predictor's output."""
    embedding_dropout: float = 0.05
    """Probability of dropping a whole label embedding."""
    dropconnect: float = 0.25
    """Probability of dropping a recurrent weight, drawn once per batch."""

    def __post_init__(self):
        if any(not 0 <= layer <= self.encoder_layers for layer in self.reduce_after):
            raise ValueError(
                f"`reduce_after` must name encoder layers between 0 and {self.encoder_layers}, "
                f"got {self.reduce_after}."
            )
        if self.lookahead < 0 or (self.lookahead and self.bidirectional):
            raise ValueError(
                "`lookahead` must be at least 0, and 0 for an encoder that is bidirectional, got "
                f"{self.lookahead}."
            )
        if self.joiner not in ("multiplicative", "additive"):
            raise ValueError(f"`joiner` must be multiplicative or additive, got {self.joiner!r}.")

    @property
    def reduction(self) -> int:
        """Input frames per encoder frame."""
        return 2 ** len(self.reduce_after)


_SMALL = TransducerConfig(
    encoder_layers=3,
    encoder_size=256,
    reduce_after=(0,),
    embedding_size=32,
    predictor_size=160,
    joiner_size=128,
    joiner="additive",
    dropout=0.3,
    embedding_dropout=0.15,
    dropconnect=0.2,
)

PRESETS = {
    "tiny": replace(
        _SMALL,
        encoder_size=144,
        predictor_size=96,
        joiner_size=64,
        dropout=0.1,
        embedding_dropout=0.1,
        dropconnect=0.1,
    ),
    "small": _SMALL,
    # Reads while one speaks: an encoder frame of 40 ms waits for 3 x 4 others.
    "streaming": replace(_SMALL, encoder_size=384, bidirectional=False, lookahead=4),
    # Sizes of arXiv:2103.09935 as remembered, not verified against the paper: 57 M parameters.
    "paper": TransducerConfig(),
}
