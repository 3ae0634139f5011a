"""BLEU by hand."""

import math

import pytest

from gossamer.language.translation.bleu import bleu, tokenize


def test_equal_texts_have_a_hundred():
    texts = ["The cat sat on the mat.", "A dog barked at it all night."]
    assert bleu(texts, texts) == pytest.approx(100)


def test_counts_are_clipped_and_summed_over_the_corpus():
    references = ["a b c d e", "f g h i"]
    translations = ["a b c d d", "f g h i"]
    # n-grams: 8 of 9, 6 of 7, 4 of 5, 2 of 3; equal lengths
    expected = (8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25
    assert bleu(references, translations) == pytest.approx(100 * expected)


def test_short_translations_are_punished():
    assert bleu(["a b c d e f"], ["a b c d"]) == pytest.approx(100 * math.exp(1 - 6 / 4))
    # Longer ones only by their precision: 6, 5, 4, 3 of 8, 7, 6, 5.
    expected = (6 / 8 * 5 / 7 * 4 / 6 * 3 / 5) ** 0.25
    assert bleu(["a b c d e f"], ["a b c d e f x y"]) == pytest.approx(100 * expected)


def test_orders_without_a_match_are_smoothed():
    # 4 of 5, 2 of 4, none of 3 as 1/2, none of 2 as 1/4
    expected = (4 / 5 * 2 / 4 * (1 / 2) / 3 * (1 / 4) / 2) ** 0.25
    assert bleu(["a b x c d"], ["a b y c d"]) == pytest.approx(100 * expected)


def test_nothing_in_common_is_zero():
    assert bleu(["a b c d"], ["e f g h"]) == 0
    assert bleu(["a b c d"], ["a b"]) == 0
    assert bleu(["a b c d"], [""]) == 0


def test_tokens_are_those_of_mteval():
    assert tokenize('He paid $1,000.5 (or so), &quot;a lot&quot;.') == [
        "He", "paid", "$", "1,000.5", "(", "or", "so", ")", ",", '"', "a", "lot", '"', ".",
    ]  # fmt: skip
    assert tokenize("twenty-one 3-4") == ["twenty-one", "3", "-", "4"]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="`translations` must be as many as `references`"):
        bleu(["a"], [])
