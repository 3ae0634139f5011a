"""Spans: which there are, where they stand, what hiding them does, TracIn++ by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.language import spans
from gossamer.language.spans import Span
from gossamer.language.tokens import SPECIAL, Tokenizer

TEXT = "A dull plot, but the un-usual end shines."
WORDS = ["a", "dull", "plot", ",", "but", "the", "un", "##usual", "-", "usual", "end", "shines"]
TOKENIZER = Tokenizer([*SPECIAL, *WORDS, "."])


def show(text, encoded, found):
    return [text[slice(*spans.characters(encoded, span))] for span in found]


def test_spans_are_runs_of_words():
    encoded = TOKENIZER.encode("A dull plot, but")
    found = show("A dull plot, but", encoded, spans.enumerate_spans("A dull plot, but", encoded))
    assert found == [
        *("A", "A dull", "A dull plot"),
        *("dull", "dull plot", "dull plot, but"),
        *("plot", "plot, but"),
        "but",
    ]


def test_pieces_of_a_word_stay_together():
    tokenizer = Tokenizer([*SPECIAL, "un", "##kind", "word"])
    encoded = tokenizer.encode("unkind word")
    assert spans.enumerate_spans("unkind word", encoded, longest=1) == [Span(1, 3), Span(3, 4)]
    assert spans.enumerate_spans("unkind word", encoded, longest=2, shortest=2) == [Span(1, 4)]


def test_clauses_lie_between_signs_and_conjunctions():
    encoded = TOKENIZER.encode(TEXT)
    found = show(TEXT, encoded, spans.split_clauses(TEXT, encoded))
    assert found == ["A dull plot", "the un", "usual end shines"]


def test_characters_give_whole_words():
    encoded = TOKENIZER.encode(TEXT)
    span = spans.find_span(encoded, TEXT.index("ull"), TEXT.index("lot"))
    assert show(TEXT, encoded, [span]) == ["dull plot"]
    with pytest.raises(ValueError, match="`span` must touch a word"):
        spans.find_span(encoded, 1000, 1001)


def test_all_but_a_span_is_hidden_and_special_tokens_stay():
    found = spans.keep(np.array([2, 5, 6, 7, 3, 0]), [Span(1, 2), Span(2, 4)], 1, mask_id=4)
    np.testing.assert_array_equal(found["ids"], [[2, 5, 4, 4, 3, 0], [2, 4, 6, 7, 3, 0]])
    np.testing.assert_array_equal(found["label"], [1, 1])


def test_hiding_keeps_the_length():
    found = spans.hide(np.array([2, 5, 6, 7, 3]), [Span(1, 2), Span(2, 4)], 1, mask_id=4)
    np.testing.assert_array_equal(found.ids, [[2, 5, 6, 7, 3]] * 2)
    np.testing.assert_array_equal(found.masked, [[2, 4, 6, 7, 3], [2, 5, 4, 4, 3]])
    np.testing.assert_array_equal(found.label, [1, 1])


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match="`shortest` must be from 1 to `longest`"):
        spans.enumerate_spans("a", TOKENIZER.encode("a"), longest=0)


def hidden_rows(trained, texts):
    rows = []
    for text in texts:
        encoded = trained.tokenizer.encode(text.text)
        ids = np.pad(encoded.ids, (0, trained.tokenizer.max_length - len(encoded.ids)))
        rows.append(spans.hide(ids, [Span(4, 5)], text.label, mask_id=trained.tokenizer.mask_id))
    return spans.Hidden(*(jnp.concatenate(fields) for fields in zip(*rows, strict=True)))


def test_scores_are_those_of_the_definition(phrases):
    trained = phrases["model"]
    train = hidden_rows(trained, phrases["corpus"].train[:6])
    test = hidden_rows(trained, phrases["corpus"].test[:2])
    found = spans.span_influence(trained.model, trained.variants, train, test)

    def logits(params, ids):
        return trained.model.apply({"params": params}, ids)

    def train_loss(params, row):
        whole, masked = (
            -jax.nn.log_softmax(logits(params, ids[row]))[train.label[row]]
            for ids in (train.ids, train.masked)
        )
        return whole - masked

    def importance(params, row):
        whole, masked = (
            logits(params, ids[row])[test.label[row]] for ids in (test.ids, test.masked)
        )
        return whole - masked

    slope, gradient = jax.jit(jax.grad(importance)), jax.jit(jax.grad(train_loss))

    def dot(x, y):
        return sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (x, y)), strict=True))

    for query in range(2):
        for row in range(6):
            expected = sum(
                -dot(slope(params, query), gradient(params, row)) for params in trained.variants
            ) / len(trained.variants)
            np.testing.assert_allclose(found[query, row], expected, rtol=2e-4, atol=1e-4)
    found = spans.span_importance(trained.model, trained.params, test)
    expected = [importance(trained.params, row) for row in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
