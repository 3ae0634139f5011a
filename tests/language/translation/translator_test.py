"""A packed translator is the one that was saved; translations keep the order of their texts."""

import jax
import numpy as np
import pytest
from scipy import special

from gossamer.language.translation import translator
from gossamer.language.translation.byte_pairs import as_rows
from gossamer.language.translation.parallel import Pair


@pytest.fixture(scope="module")
def model(translation_run):
    return translator.load(translation_run["folder"])


def test_what_is_saved_is_loaded(model, tmp_path):
    translator.save(tmp_path / "packed.safetensors", model)
    found = translator.load(tmp_path / "packed.safetensors")
    assert (found.config, found.max_length) == (model.config, model.max_length)
    assert found.tokenizer.pieces == model.tokenizer.pieces
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)


def test_translations_keep_the_order_of_their_texts(model):
    texts = ["twenty-one", "six", "ninety-nine"]
    together = translator.translate(model, texts, beam=2)
    for text, found in zip(texts, together, strict=True):
        (alone,) = translator.translate(model, [text], beam=2)
        assert alone.text == found.text
        np.testing.assert_allclose(alone.log_probability, found.log_probability, rtol=1e-4)
    assert translator.translate(model, []) == []


def test_scores_are_those_of_the_references(model):
    pairs = [Pair("three", "drei"), Pair("twenty-one", "einundzwanzig"), Pair("six", "sechs")]
    found = translator.score_tokens(model.model, model.params, translator.encode_for(model, pairs))
    apply = jax.jit(model.model.apply)
    nats, right, number = 0.0, 0, 0
    for pair in pairs:
        source, target = (as_rows([model.tokenizer.encode(text)], 16) for text in pair)
        logits = np.asarray(apply({"params": model.params}, source, target))[0]
        logs = special.log_softmax(logits, axis=-1)
        for place, token in enumerate(target[0][target[0] > 0]):
            nats -= float(logs[place, token])
            right += int(logits[place].argmax() == token)
            number += 1
    np.testing.assert_allclose(found.loss, nats / number, rtol=1e-4)
    np.testing.assert_allclose(found.perplexity, np.exp(nats / number), rtol=1e-4)
    np.testing.assert_allclose(found.accuracy, right / number)
    texts = translator.score_texts(model, pairs, beam=1)
    same = [
        found.text == pair.target
        for found, pair in zip(
            translator.translate(model, [pair.source for pair in pairs], beam=1), pairs, strict=True
        )
    ]
    assert texts.exact_match == np.mean(same)


def test_bad_input_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="`texts` must have at most 16 tokens each, as in train"):
        translator.translate(model, ["one two three four five six seven eight"])
    with pytest.raises(ValueError, match="no such file; train it by `gossamer train translation`"):
        translator.load(tmp_path)
    (tmp_path / "translator.safetensors").write_bytes(b"text")
    with pytest.raises(ValueError, match="not a packed translator"):
        translator.load(tmp_path)
