"""Alternatives survive their file, are joined like their utterances, and become padded arrays."""

import numpy as np
import pytest

from gossamer.speech.corpora import alternatives
from gossamer.speech.text import Vocabulary

VOCABULARY = Vocabulary.of(["abcé "])


def test_a_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "nbest.jsonl"
    alternatives.write(path, {"one": ["a b", "é"], "two": []})
    assert alternatives.read(path) == {"one": ("a b", "é"), "two": ()}
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"name": "one", "alternatives": ["c"]}\n')
    assert alternatives.read(path)["one"] == ("a b", "é", "c")


@pytest.mark.parametrize(
    "line",
    ["{", '["one"]', '{"name": "one"}', '{"name": 1, "alternatives": []}',
     '{"name": "one", "alternatives": "text"}', '{"name": "one", "alternatives": [1]}'],
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "nbest.jsonl"
    path.write_text(f'{{"name": "one", "alternatives": []}}\n{line}\n')
    with pytest.raises(ValueError, match=r"nbest\.jsonl, line 2: must be"):
        alternatives.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.jsonl: not a readable .*no such file\); `goss"):
        alternatives.read(tmp_path / "missing.jsonl")


def test_unknown_characters_are_refused():
    alternatives.check({"one": ["abc"]}, VOCABULARY)
    with pytest.raises(ValueError, match=r"`alternatives` of one have .*'x' in 'ax'"):
        alternatives.check({"one": ["a", "ax"]}, VOCABULARY)


def test_joined_utterances_join_their_alternatives_in_order():
    pieces = [("a", ["b", "c"]), ("b", []), ("c", ["a"])]
    assert alternatives.join(pieces, " ") == ["b b a", "c b c"]
    assert alternatives.join([("a", [])], " ") == []


def test_arrays_hold_what_fits():
    labels, paddings = alternatives.encode(
        [["ab", "", "abca", "c"], []], VOCABULARY, number=4, length=3
    )
    assert (labels.dtype, paddings.dtype, labels.shape) == (np.int32, np.float32, (2, 4, 3))
    assert [VOCABULARY.decode(row) for row in labels[0]] == ["ab", "c", "", ""]
    np.testing.assert_array_equal(paddings == 0, labels > 0)
