"""Training of a language model, and its measures against their definitions."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import language_model_run, sentences
from gossamer.speech.language_model import LanguageModelConfig
from gossamer.speech.language_model_run import LanguageModelRun, TrainedLanguageModel
from gossamer.speech.run_config import LearnersConfig, OptimizerConfig
from gossamer.speech.text import Vocabulary

pytestmark = pytest.mark.usefixtures("plain_code")

TINY = LanguageModelConfig(size=16, embedding_size=8, dropout=0.0)


def run_config(folder, **options):
    return LanguageModelRun(
        model=TINY,
        optimizer=OptimizerConfig(steps=12, peak_learning_rate=2e-2),
        log_every=4,
        validate_every=6,
        checkpoint_every=6,
        run=folder,
        **options,
    )


def trained_at_random(vocabulary):
    model = TrainedLanguageModel(TINY, vocabulary, None).model
    labels = jnp.zeros((1, 2), jnp.int32)
    return TrainedLanguageModel(TINY, vocabulary, jax.jit(model.init)(jax.random.key(0), labels))


def test_perplexity_by_the_chain_rule():
    vocabulary = Vocabulary.of(["ab "])
    trained = trained_at_random(vocabulary)
    texts = ["a", "ab ba", "b b b"]
    encoded = [vocabulary.encode(text) for text in texts]
    total = 0.0
    apply = jax.jit(trained.model.apply)
    for row in encoded:
        for u, label in enumerate(row):
            logits = np.asarray(apply(trained.params, jnp.asarray(row[None, :u]))[0, u], np.float64)
            total -= logits[label] - np.log(np.sum(np.exp(logits)))
    found = language_model_run.measure_perplexity(trained, encoded)
    assert found.label == pytest.approx(math.exp(total / 11), rel=1e-5)
    assert found.word == pytest.approx(math.exp(total / 6), rel=1e-5)


def test_a_run_learns_packs_and_is_complete(tmp_path):
    folder = tmp_path / "lm"
    config = run_config(folder, learners=LearnersConfig(number=2))
    found = language_model_run.train(config)
    loaded = language_model_run.load(folder)
    held_out = sentences.read_sentences(["prompts"]).dev
    encoded = sentences.encode(held_out, loaded.vocabulary)
    untrained = language_model_run.measure_perplexity(trained_at_random(loaded.vocabulary), encoded)
    assert found.label < 0.8 * untrained.label
    assert found == language_model_run.measure_perplexity(loaded, encoded)
    facts = json.loads((folder / "result.json").read_text())
    assert facts["perplexity"] == found.label
    assert language_model_run.train(config) == found  # a finished run is only read
    with pytest.raises(ValueError, match="must be that of the run"):
        language_model_run.train(dataclasses.replace(config, seed=1))


def test_what_is_no_language_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a packed language model"):
        language_model_run.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="`--engine` must be vmap"):
        language_model_run.train(run_config(tmp_path, learners=LearnersConfig(engine="threads")))


def test_saved_parameters_come_back_in_half_precision(tmp_path):
    trained = trained_at_random(Vocabulary.of(["abc"]))
    path = tmp_path / "lm.safetensors"
    language_model_run.save(path, trained)
    loaded = language_model_run.load(path)
    assert (loaded.config, loaded.vocabulary) == (trained.config, trained.vocabulary)
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x, np.asarray(y, np.float16)),
        loaded.params,
        trained.params,
    )
