"""Explanations of phrases, in which it is known which word decides."""

import jax
import numpy as np
import pytest

from gossamer.core.attribution import example_gradients
from gossamer.language.data import as_arrays
from gossamer.language.explanation import explain
from gossamer.language.losses import Margin, Nll
from gossamer.language.phrases import BAD, GOOD


def explain_phrase(phrases, text, **options):
    return explain(phrases["model"], phrases["corpus"].train, text, candidates=8, top=3, **options)


def as_matrix(tree):
    """Trees with a leading axis as rows."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def words_of(text, span):
    return text[span.start : span.end]


@pytest.mark.parametrize("number", range(6))
def test_the_deciding_word_is_found_on_both_sides(phrases, number):
    text = phrases["corpus"].test[number]
    found = explain_phrase(phrases, text.text)
    assert found.label == text.label
    assert words_of(text.text, found.span) in GOOD + BAD
    assert len(found.supporting) == 3
    assert all(evidence.score > 0 for evidence in found.supporting)
    assert all(evidence.score < 0 for evidence in found.opposing)
    assert all(evidence.text.label == found.label for evidence in found.supporting)
    assert all(evidence.text.label != found.label for evidence in found.opposing)


def test_training_spans_are_the_deciding_words(phrases):
    shown = []
    for text in phrases["corpus"].test[:12]:
        for evidence in explain_phrase(phrases, text.text).supporting:
            shown.append(set(words_of(evidence.text.text, evidence.span).split()))
    decisive = sum(bool(words & set(GOOD + BAD)) for words in shown)
    # Of the spans of such a text, three in ten hold the word: 36 draws at random would give more
    # than 19 in one case of a thousand.
    assert decisive > 19


def test_all_training_texts_have_a_score(phrases):
    trained, texts = phrases["model"], phrases["corpus"].train
    found = explain_phrase(phrases, "The soup was awful, and the car was red.", span="awful")
    encoded = trained.tokenizer.encode(found.text)
    ids = np.pad(encoded.ids, (0, 16 - len(encoded.ids)))
    special = ids < trained.tokenizer.mask_id
    alone = np.where(special | (np.arange(16) == 4), ids, trained.tokenizer.mask_id)
    query = {"ids": alone[None], "label": np.array([found.label])}
    train = as_arrays(texts, trained.tokenizer)
    passes = []
    for params in trained.variants:
        vector = as_matrix(example_gradients(Margin(trained.model), params, query))
        passes.append(vector[0] @ as_matrix(example_gradients(Nll(trained.model), params, train)).T)
    norms = trained.gradient_norms
    expected = np.mean(passes, axis=0) / (norms + 0.1 * np.median(norms))
    # Sums of 16 thousand products in float32, in another order.
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.scores / scale, expected / scale, atol=1e-4)


def test_span_and_label_may_be_given(phrases):
    text = "The soup was awful, and the car was red."
    found = explain_phrase(phrases, text, span=(29, 36), label=1)
    assert found.label == 1
    assert words_of(text, found.span) == "car was"
    reports = []
    explain_phrase(phrases, text, report=lambda *numbers: reports.append(numbers))
    assert reports[-1] == (1920, 1920)  # 960 texts, two variants
    assert reports == sorted(reports)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 9}, "`candidates` must be at least"),
        ({"label": 2}, "`label` must be below 2"),
        ({"span": "superb"}, "`span` must stand in the text"),
        ({"span": (500, 501)}, "`span` must touch a word"),
        ({"test_text": "..."}, "`test_text` must have at least one word"),
        ({"train": []}, "`train` must hold the 960 texts"),
    ],
)
def test_bad_input_is_refused(phrases, options, message):
    arguments = {
        "train": phrases["corpus"].train,
        "test_text": "The soup was awful.",
        "candidates": 8,
        "top": 3,
    }
    with pytest.raises(ValueError, match=message):
        explain(phrases["model"], **(arguments | options))
