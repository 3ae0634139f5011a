"""Encoders that cannot be."""

import pytest

from gossamer.language.encoder_config import EncoderConfig


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="`size` a multiple of `heads`"):
        EncoderConfig(size=10, heads=4)
