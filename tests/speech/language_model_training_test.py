"""The language model learns what follows what, and training it continues where it stopped."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import language_model_training
from gossamer.speech.corpora import sentences
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.text import Vocabulary

TEXTS = ["abcabcab", "bcabca", "cabc"]  # a certain circle, after a first letter by chance
VOCABULARY = Vocabulary.of(TEXTS)
MODEL = LanguageModel(LanguageModelConfig(size=8, embedding_size=4, dropout=0.0), 4)


def train(folder, **options):
    options = {"num_steps": 60, "peak_learning_rate": 0.1} | options
    return language_model_training.train(MODEL, TEXTS, VOCABULARY, folder, **options)


def test_it_learns_the_circle_and_a_finished_run_is_there_at_once(tmp_path):
    variables = train(tmp_path / "run")
    logits = jax.jit(MODEL.apply)(variables, jnp.asarray([VOCABULARY.encode("abcab")]))
    assert VOCABULARY.decode(np.argmax(logits[0, 1:], axis=-1)) == "bcabc"
    chex.assert_trees_all_equal(train(tmp_path / "run"), variables)


def test_the_loss_is_that_of_the_labels_alone(key):
    variables = jax.jit(MODEL.init)(key, jnp.zeros((1, 2), jnp.int32))
    batch = sentences.pad(sentences.encode(TEXTS, VOCABULARY))
    loss, _ = jax.jit(language_model_training.loss_function(MODEL))(variables, batch, key)
    apply = jax.jit(MODEL.apply)
    total, number = 0.0, 0
    for labels, paddings in zip(batch["labels"], batch["label_paddings"], strict=True):
        text = labels[paddings == 0]
        logits = np.asarray(apply(variables, jnp.asarray(text[None]))[0], np.float64)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        total -= np.log(probabilities[np.arange(len(text)), text]).sum()
        number += len(text)
    assert float(loss) == pytest.approx(total / number, rel=1e-5)


def test_no_texts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`texts` must not be empty"):
        language_model_training.train(MODEL, [], VOCABULARY, tmp_path, num_steps=1)
