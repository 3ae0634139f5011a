import collections
import concurrent.futures
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer.speech import batch_plan

BUCKETS = batch_plan.make_buckets(((1.0, 8), (2.0, 4), (6.0, 2)), labels_per_second=20)


def make_lengths(count=53, seed=0):
    seconds = np.random.default_rng(seed).uniform(0.2, 5.5, count)
    return batch_plan.Lengths(seconds, np.ceil(seconds * 12).astype(np.int64))


def make_plan(lengths=None, *, num_epochs=None, seed=0, **options):
    lengths = lengths or make_lengths()
    return batch_plan.BatchPlan(lengths, BUCKETS, seed=seed, num_epochs=num_epochs, **options)


def count_utterances(batches):
    return collections.Counter(
        index for batch in batches for item in batch.items for index in item.indices
    )


def test_without_augmentation_every_utterance_is_heard_once_per_epoch():
    plan = make_plan(num_epochs=3)
    counts = count_utterances(plan)
    # The last batch of each of three buckets may repeat up to rows - 1 of its rows.
    extra = sum(counts.values()) - 3 * 53
    assert all(count >= 3 for count in counts.values())
    assert len(counts) == 53
    assert 0 <= extra <= sum(bucket.rows - 1 for bucket in BUCKETS)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 60),
    seed=st.integers(0, 5),
    join=st.sampled_from([0.0, 0.5, 1.0]),
    speed=st.sampled_from([(1.0, 1.0), (0.8, 1.25)]),
    tempo=st.sampled_from([(1.0, 1.0), (0.9, 1.1)]),
)
def test_rows_fit_and_all_are_heard(count, seed, join, speed, tempo):
    lengths = make_lengths(count, seed)
    plan = make_plan(
        lengths, num_epochs=2, seed=seed, join_probability=join, speed=speed, tempo=tempo
    )
    for batch in plan:
        bucket = BUCKETS[batch.bucket]
        assert len(batch.items) == bucket.rows
        for item in batch.items:
            assert len(item.gaps) == len(item.indices) - 1 <= 2
            spoken = lengths.seconds[list(item.indices)].sum() / (item.speed * item.tempo)
            seconds = spoken + sum(item.gaps)
            assert seconds <= bucket.seconds * (1 + 1e-6)
            assert lengths.labels[list(item.indices)].sum() + len(item.gaps) <= bucket.labels
            assert speed[0] <= item.speed <= speed[1]
            assert tempo[0] <= item.tempo <= tempo[1]
    counts = count_utterances(plan)
    assert set(counts) == set(range(count))
    assert min(counts.values()) >= 2


def test_a_batch_repeats_no_utterance_while_data_last():
    # Each bucket gets far more new items per epoch than it has rows.
    plan = make_plan(make_lengths(600), join_probability=0.2, speed=(0.8, 1.25))
    for index in range(1000):
        counts = count_utterances([plan[index]])
        assert max(counts.values()) == 1


def test_carried_rows_keep_the_counts_even():
    plan = make_plan()
    heard = count_utterances(plan[index] for index in range(400))
    epochs = sum(heard.values()) / 53
    assert len(heard) == 53
    # An utterance is behind the mean by the current epoch and by what is carried into it.
    assert max(abs(count - epochs) for count in heard.values()) <= 2


def test_access_is_random_and_seeded():
    forward, backward = make_plan(join_probability=0.3), make_plan(join_probability=0.3)
    batches = [forward[index] for index in range(100)]
    assert [backward[index] for index in reversed(range(100))] == batches[::-1]
    other = make_plan(seed=1, join_probability=0.3)
    assert [other[index] for index in range(100)] != batches


def test_epochs_are_shuffled_anew():
    plan = make_plan(batch_plan.Lengths(np.full(16, 0.5), np.full(16, 5)))
    epochs = [(plan[2 * epoch], plan[2 * epoch + 1]) for epoch in range(3)]
    assert len(set(epochs)) == 3
    assert all(set(count_utterances(epoch).values()) == {1} for epoch in epochs)


def test_threads_see_the_same_plan():
    plan, alone = make_plan(), make_plan()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(plan.__getitem__, range(500)))
    assert batches == [alone[index] for index in range(500)]


def test_unshuffled_plan_keeps_the_order():
    plan = make_plan(num_epochs=1, shuffle=False)
    for bucket in range(len(BUCKETS)):
        rows = [i.indices[0] for batch in plan if batch.bucket == bucket for i in batch.items]
        once = list(dict.fromkeys(rows))
        assert once == sorted(once)


def test_slowing_never_pushes_an_utterance_out():
    plan = make_plan(batch_plan.Lengths(np.full(4, 5.9), np.full(4, 9)), speed=(0.5, 0.5))
    # 5.9 s may become 6 s at most: the speed is 5.9 / 6.
    assert all(item.speed == pytest.approx(5.9 / 6) for item in plan[0].items)


def test_length_and_bounds():
    assert len(make_plan()) == sys.maxsize
    finite = make_plan(num_epochs=1)
    assert len(list(finite)) == len(finite)
    with pytest.raises(IndexError):
        finite[len(finite)]


@pytest.mark.parametrize(
    ("buckets", "rate", "message"),
    [
        ((), 18, "`buckets` must ascend"),
        (((2, 1), (1, 1)), 18, "`buckets` must ascend"),
        (((0, 1),), 18, "positive seconds"),
        (((1, 0),), 18, "at least one row"),
        (((1, 1),), 0, "`labels_per_second` must be positive, got 0"),
    ],
)
def test_malformed_buckets_are_refused(buckets, rate, message):
    with pytest.raises(ValueError, match=message):
        batch_plan.make_buckets(buckets, labels_per_second=rate)
