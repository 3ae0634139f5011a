"""Parameters of a trained model are taken only where they fit."""

import jax.numpy as jnp
import pytest

from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.text import Vocabulary
from gossamer.speech.warm_start import fit_parameters

VOCABULARY = Vocabulary.of(["ab"])
PARAMS = {"output": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}}
SOURCE = TrainedLanguageModel(LanguageModelConfig(size=4), VOCABULARY, {"params": PARAMS})


def test_what_fits_is_taken():
    drawn = {"output": {"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}}
    assert fit_parameters("lm", SOURCE, VOCABULARY, drawn) is PARAMS


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"has another vocabulary.*'ab' there, 'abc' here"):
        fit_parameters("lm", SOURCE, Vocabulary.of(["abc"]), PARAMS)
    with pytest.raises(ValueError, match="`--from lm` holds codes, not numbers"):
        fit_parameters("lm", SOURCE._replace(quantize="int8"), VOCABULARY, PARAMS)
    wider = {"output": {"kernel": jnp.zeros((5, 3)), "bias": jnp.zeros(3)}}
    with pytest.raises(ValueError, match=r"`--from lm` has parameters of other shapes.*size=4"):
        fit_parameters("lm", SOURCE, VOCABULARY, wider)
