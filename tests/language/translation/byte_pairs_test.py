"""Learning against counting everything anew; encoding loses nothing."""

import collections
import itertools

import numpy as np
import pytest

from gossamer.language.translation import byte_pairs, grammar
from gossamer.language.translation.byte_pairs import END, UNKNOWN, BytePairs

TEXTS = [text for pair in grammar.draw_sentences(25) for text in pair]


def learn_slowly(texts, number):
    """Merges, each from the counts of all words."""
    counts = collections.Counter(word for text in texts for word in byte_pairs.WORDS.findall(text))
    words = [(list(word), count) for word, count in counts.items()]
    merges = []
    while len(merges) < number:
        pairs = collections.Counter()
        for pieces, count in words:
            for pair in itertools.pairwise(pieces):
                pairs[pair] += count
        if not pairs or max(pairs.values()) < 2:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = [(byte_pairs.join(pieces, merges[-1]), count) for pieces, count in words]
    return merges


@pytest.mark.parametrize("texts", [TEXTS, ["aaaa aaa aaab baaa abab bababa"] * 3])
def test_merges_are_the_most_frequent_pairs(texts):
    learned = byte_pairs.learn(texts, 160)
    room = 160 - len(byte_pairs.SPECIAL) - len(learned.characters)
    assert list(learned.merges) == learn_slowly(texts, room)


def test_texts_come_back():
    tokenizer = byte_pairs.learn(TEXTS, 200)
    assert len(tokenizer) == 200
    for text in [*TEXTS, " ein  Satz ", "eins\tzwei", ""]:
        ids = tokenizer.encode(text.replace("\t", " "))
        assert ids[-1] == END
        assert tokenizer.decode(ids) == text.replace("\t", " ")
        assert tokenizer.decode([*ids, 7, 8]) == text.replace("\t", " ")  # what follows is no text


def test_pieces_are_joined_in_the_order_of_learning():
    tokenizer = BytePairs("abc", [("b", "c"), ("a", "b"), ("a", "bc")])
    assert [tokenizer.pieces[number] for number in tokenizer.encode("abcab")] == [
        "abc",
        "ab",
        "[END]",
    ]


def test_unknown_characters_are_marked():
    tokenizer = BytePairs("ab", [])
    assert tokenizer.encode("aß") == [4, UNKNOWN, END]
    assert tokenizer.decode([4, UNKNOWN, END]) == "a\ufffd"


def test_rows_are_padded_and_cut():
    rows = byte_pairs.as_rows([[5, 2], [5, 6, 7, 8]], 3)
    np.testing.assert_array_equal(rows, [[5, 2, 0], [5, 6, 7]])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="room for the 3 characters of the text and 4 special"):
        byte_pairs.learn(["abc"], 6)
    with pytest.raises(ValueError, match="there must be text"):
        byte_pairs.learn([], 6)
    with pytest.raises(ValueError, match="`characters` must be different single ones"):
        BytePairs("aa", [])
