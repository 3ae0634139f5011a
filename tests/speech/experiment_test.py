"""A run that samples has a language model of its vocabulary; another one has none."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech import experiment
from gossamer.speech.corpora.corpus import Corpus, Utterance, Utterances
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.run_config import LabelNoiseConfig, SpeechConfig
from gossamer.speech.text import Vocabulary


def test_the_language_model_of_a_run(tmp_path):
    utterances = Utterances.of([Utterance("u", "abc", np.zeros(8000, np.float32), 8000)])
    data = Corpus("one", utterances, utterances, utterances, Vocabulary.of(["abc"]), 8000)
    assert experiment.sampling_model(SpeechConfig(), data, tmp_path) is None
    noise = LabelNoiseConfig(
        scheduled_sampling=0.2,
        language_model=LanguageModelConfig(size=4, embedding_size=2),
        language_model_steps=2,
    )
    config = replace(SpeechConfig(), label_noise=noise)
    model = experiment.sampling_model(config, data, tmp_path / "language_model")
    labels = jnp.asarray([[1, 2, 3]])
    logits = jax.jit(model)(labels)  # closed over in a compiled step
    assert logits.shape == (1, 4, 4)
    again = experiment.sampling_model(config, data, tmp_path / "language_model")
    np.testing.assert_array_equal(jax.jit(again)(labels), logits)
