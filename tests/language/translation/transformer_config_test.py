"""Translators that cannot be."""

import pytest

from gossamer.language.translation.transformer_config import TransformerConfig


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="`size` even and a multiple of `heads`"):
        TransformerConfig(size=10, heads=4)
    with pytest.raises(ValueError, match=r"`dropout` must be in \[0, 1\), got 1"):
        TransformerConfig(dropout=1.0)
