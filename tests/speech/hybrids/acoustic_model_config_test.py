"""Acoustic models that cannot be."""

import pytest

from gossamer.speech.hybrids.acoustic_model_config import AcousticModelConfig


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="`size` must be positive, got 0"):
        AcousticModelConfig(size=0)
