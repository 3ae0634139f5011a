"""A run that samples has a language model of its vocabulary; another one has none."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import experiment
from gossamer.speech.corpora.corpus import Corpus, Utterance, Utterances
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.run_config import DataConfig, LabelNoiseConfig, SpeechConfig
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


def test_what_is_no_recognizer_is_told_in_one_line(tmp_path):
    missing = r"^nowhere: there is no such folder or file, .* \(prompts, more\); `gossamer train"
    with pytest.raises(ValueError, match=missing):
        experiment.find_recognizer("nowhere", others=["more"])
    with pytest.raises(ValueError, match=r"^hybrid: a hybrid, where a transducer is needed"):
        experiment.find_recognizer("hybrid")
    with pytest.raises(ValueError, match=r"nowhere: there is no such folder; `gossamer train"):
        experiment.read_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")  # of a run of another kind, or that has not ended
    with pytest.raises(ValueError, match=r"no recognizer\.safetensors there; the command that"):
        experiment.find_recognizer(str(tmp_path))


def test_what_a_run_starts_from_is_looked_up_before_its_corpus(tmp_path):
    data = DataConfig(corpus=str(tmp_path / "none.tsv"))
    config = replace(SpeechConfig(), data=data, start_from="nowhere")
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        experiment.train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())
