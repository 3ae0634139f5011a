"""Transducers that cannot be."""

import pytest

from gossamer.speech.transducer_config import TransducerConfig


@pytest.mark.parametrize(
    "options",
    [
        {"reduce_after": (7,)},
        {"reduce_after": (-1,)},
        {"joiner": "bilinear"},
        {"lookahead": 1},
        {"lookahead": -1, "bidirectional": False},
    ],
)
def test_impossible_configurations_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must"):
        TransducerConfig(**options)
