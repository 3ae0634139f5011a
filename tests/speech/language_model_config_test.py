"""Language models that cannot be."""

import pytest

from gossamer.speech.language_model_config import LanguageModelConfig


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="`layers` must be at least 1, got 0"):
        LanguageModelConfig(layers=0)
