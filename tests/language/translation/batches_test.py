"""Batches hold about as many tokens, every pair in a pass, and go on where they stopped."""

import numpy as np
import pytest

from gossamer.language.translation import batches
from gossamer.language.translation.byte_pairs import BytePairs
from gossamer.language.translation.parallel import Pair

TOKENIZER = BytePairs("ab", [])
# Pair n has n + 1 letters, and END, on the one side or on the other.
PAIRS = [Pair("a" * (n + 1), "b") if n % 2 else Pair("a", "b" * (n + 1)) for n in range(11)]
ENCODED = batches.encode(PAIRS, TOKENIZER, 64)


def make(**options):
    return batches.TokenBatches(ENCODED, 48, buckets=3, multiple=2, num_learners=2, **options)


def test_pairs_are_encoded():
    assert len(ENCODED) == 11
    np.testing.assert_array_equal(ENCODED.lengths(), np.arange(11) + 2)
    batch = ENCODED.take([2, 1], 5)
    np.testing.assert_array_equal(batch["source"], [[4, 2, 0, 0, 0], [4, 4, 2, 0, 0]])
    np.testing.assert_array_equal(batch["target"], [[5, 5, 5, 2, 0], [5, 2, 0, 0, 0]])


def test_long_pairs_are_left_out():
    assert len(batches.encode(PAIRS, TOKENIZER, 5)) == 4
    with pytest.raises(ValueError, match="`max_length` must leave some of the 11 pairs, got 1"):
        batches.encode(PAIRS, TOKENIZER, 1)


def test_a_pass_takes_every_pair_in_few_shapes():
    stream = make()
    for _ in range(2):
        seen = set()
        for _ in range(stream.batches_of_pass):
            batch = next(stream)
            learners, rows, length = batch["source"].shape
            assert learners == 2
            assert length in stream.bounds
            assert rows == 48 // length // 2
            for source, target in zip(
                batch["source"].reshape(-1, length),
                batch["target"].reshape(-1, length),
                strict=True,
            ):
                seen.add(max((source > 0).sum(), (target > 0).sum()))
        assert seen == set(range(2, 13))
    assert len(stream.bounds) == 3


def test_they_go_on_where_they_stopped():
    stream = make(seed=3)
    expected = [next(stream) for _ in range(9)]
    other = make(seed=3)
    for _ in range(4):
        next(other)
    late = make(seed=3)
    late.set_state(other.get_state())
    for batch in expected[4:]:
        np.testing.assert_equal(next(late), batch)
    another = make(seed=4)
    assert any(not np.array_equal(batch["source"], next(another)["source"]) for batch in expected)


def test_too_few_tokens_are_refused():
    with pytest.raises(ValueError, match="`tokens` must be at least 2 times the longest text, got"):
        batches.TokenBatches(ENCODED, 20, multiple=2)


def test_evaluation_takes_each_pair_once():
    found = list(batches.evaluation_batches(ENCODED, rows=4))
    assert sorted(np.concatenate([chosen for _, chosen in found])) == list(range(11))
    assert all(batch["source"].shape[0] == 4 for batch, _ in found)
    assert [batch["source"].shape[1] for batch, _ in found] == [16, 16, 16]
    assert [batches.padded_length(length) for length in (1, 16, 17, 64)] == [16, 16, 32, 64]
