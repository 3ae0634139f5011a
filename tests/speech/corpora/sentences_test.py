"""Sentences and their batches."""

import gzip

import numpy as np
import pytest

from gossamer.speech.corpora import sentences
from gossamer.speech.text import Vocabulary

LINES = [f"Sentence number {i % 50}, of {i % 50}." for i in range(100)]


def test_a_text_is_normalized_without_repetitions_and_split(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*LINES, "", "--"]))
    found = sentences.read_sentences([str(path)])
    assert len(found.train) + len(found.dev) == 50
    assert len(found.dev) == 3
    assert not set(found.train) & set(found.dev)
    assert "sentence number one two of one two" in found.train + found.dev
    zipped = tmp_path / "text.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert sentences.read_sentences([str(zipped)]) == found


def test_prompts_keep_their_split():
    found = sentences.read_sentences(["prompts"])
    assert len(found.train) > 300
    assert not set(found.train) & set(found.dev)


DAMAGED = gzip.compress(b"one line\ntwo lines\n" * 9, mtime=0)[:12] + b"\xff" * 40


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"one line", "txt"), (b"\xff\xfe\xfa" * 40, "txt"), (None, "txt"), (DAMAGED, "gz")],
)
def test_unusable_texts_are_refused(content, suffix, tmp_path):
    path = tmp_path / f"text.{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="`text`"):
        sentences.read_sentences([str(path)])


def test_long_sentences_are_cut_between_words():
    vocabulary = Vocabulary.of(["ab "])
    text = " ".join(["abab"] * 200)
    encoded = sentences.encode([text, "x y", "a" * 600], vocabulary)
    pieces = [vocabulary.decode(row) for row in encoded]
    assert all(len(piece) <= sentences.LONGEST for piece in pieces)
    assert " ".join(pieces[:4]) == text
    assert "".join(pieces[4:]) == "a" * 600
    with pytest.raises(ValueError, match="must be written in the labels"):
        sentences.encode(["xyz"], vocabulary)


def test_batches_are_a_function_of_their_position():
    encoded = [np.full(n, n, np.int32) for n in (1, 5, 40, 70)]
    batches = sentences.SentenceBatches(encoded, 2, num_learners=2, seed=0)
    first = [next(batches) for _ in range(6)]
    lengths = np.concatenate([(1 - b["label_paddings"]).sum(-1).ravel() for b in first])
    for around in range(3):  # all sentences each time around
        assert sorted(lengths[4 * around : 4 * around + 4]) == [1, 5, 40, 70]
    assert {b["labels"].shape[:2] for b in first} == {(2, 1)}
    assert {b["labels"].shape[2] for b in first} <= set(sentences.BOUNDS)
    again = sentences.SentenceBatches(encoded, 2, num_learners=2, seed=0)
    again.set_state({"position": 4})
    np.testing.assert_array_equal(next(again)["labels"], first[4]["labels"])
    assert again.get_state() == {"position": 5}
    with pytest.raises(ValueError, match="multiple of the 2 learners, got 3"):
        sentences.SentenceBatches(encoded, 3, num_learners=2, seed=0)
