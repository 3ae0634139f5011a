"""Texts as numbers and back to their characters."""

import numpy as np
import pytest

from gossamer.language.tokens import SPECIAL, Tokenizer, count_vocabulary, split_words

PIECES = [*SPECIAL, "un", "##break", "##able", "it", "'", "s", "cafe", "!"]


def test_words_become_the_longest_pieces():
    text = "It's UNBREAKABLE! xyz"
    found = Tokenizer(PIECES).encode(text)
    pieces = [PIECES[number] for number in found.ids]
    assert pieces == ["[CLS]", "it", "'", "s", "un", "##break", "##able", "!", "[UNK]", "[SEP]"]
    shown = [text[start:end] for start, end in found.offsets]
    assert shown == ["", "It", "'", "s", "UN", "BREAK", "ABLE", "!", "xyz", ""]
    assert found.words == [-1, 0, 1, 2, 3, 3, 3, 4, 5, -1]


def test_accents_fold():
    tokenizer = Tokenizer(PIECES)
    found = tokenizer.encode("Café")
    assert PIECES[found.ids[1]] == "cafe"
    assert found.offsets[1] == (0, 4)


def test_long_texts_are_cut_and_short_ones_filled():
    tokenizer = Tokenizer(PIECES, max_length=5)
    assert tokenizer.encode("it it it it it").ids.tolist() == [2, 8, 8, 8, 3]
    np.testing.assert_array_equal(tokenizer.encode_all(["it"]), [[2, 8, 3, 0, 0]])


def test_a_word_with_an_unknown_piece_is_unknown():
    assert Tokenizer(PIECES).encode("unwell").ids.tolist() == [2, 1, 3]


def test_the_vocabulary_is_counted():
    texts = ["The cat, the dog", "the CAT"]
    assert count_vocabulary(texts) == [*SPECIAL, "the", "cat"]
    assert count_vocabulary(texts, size=6, min_count=1) == [*SPECIAL, "the"]
    assert split_words("Don't stop!") == ["don", "'", "t", "stop", "!"]


@pytest.mark.parametrize("pieces", [["a", *SPECIAL], SPECIAL[:-1]])
def test_bad_vocabularies_are_refused(pieces):
    with pytest.raises(ValueError, match="`vocabulary` must start with"):
        Tokenizer(pieces)


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match="`max_length` must be at least 3"):
        Tokenizer(SPECIAL, max_length=2)
