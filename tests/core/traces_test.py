"""Traces worked out by hand."""

import numpy as np
import pytest

from gossamer.core import traces
from gossamer.core.traces import ALL, Read, Recorder, progress


def example():
    record = Recorder(3, 2)
    record.add(1.0, 0, members=(0, 2), matrix=np.full((2, 2), 0.5), applies=True, reads=Read.AFTER)
    record.add(2.0, 1, applies=True, reads=Read.AFTER)
    record.add(2.5, 2, pulls=1, reads=Read.AFTER)
    record.add(3.0, 0, members=(0, 1), matrix=np.full((2, 2), 0.5), applies=True, reads=Read.AFTER)
    record.add(4.0, 2, applies=True, reads=Read.AFTER)
    return record.trace()


def test_columns():
    trace = example()
    np.testing.assert_array_equal(trace.learner, [0, 1, 2, 0, 2])
    np.testing.assert_array_equal(trace.pulls, [-1, -1, 1, -1, -1])
    np.testing.assert_array_equal(trace.mixing, [1, 0, 0, 1, 0])
    assert trace.members.shape == (5, 2)
    assert len(trace.matrices) == 2
    np.testing.assert_array_equal(trace.matrix(1), np.eye(3))
    np.testing.assert_array_equal(trace.matrix(3), [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_staleness():
    learners, delays = traces.staleness(example())
    np.testing.assert_array_equal(learners, [0, 1, 0, 2])
    np.testing.assert_array_equal(delays, [0, 1, 1, 1])


def test_summary():
    summary = traces.summarize(example())
    np.testing.assert_array_equal(summary.updates, [2, 1, 1])
    np.testing.assert_array_equal(summary.mean_staleness, [0.5, 1.0, 1.0])
    np.testing.assert_array_equal(summary.max_staleness, [1, 1, 1])
    assert (summary.duration, summary.throughput) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("reads", "expected", "reached"), [(Read.AFTER, 0, [0, 2, 4]), (Read.BEFORE, 1, [0, 0, 2])]
)
def test_rounds(reads, expected, reached):
    record = Recorder(2, 2)
    for time in range(3):
        record.add(float(time), applies=True, reads=reads)
    learners, delays = traces.staleness(record.trace())
    np.testing.assert_array_equal(learners, [0, 1] * 3)
    np.testing.assert_array_equal(delays[2:], np.full(4, expected))
    np.testing.assert_array_equal(progress(record.trace()), reached)


def test_an_empty_trace():
    trace = Recorder(2, 2).trace()
    assert trace.members.shape == (0, 2)
    summary = traces.summarize(trace)
    assert summary.throughput == 0.0
    np.testing.assert_array_equal(summary.mean_staleness, [np.nan, np.nan])
    np.testing.assert_array_equal(summary.max_staleness, [-1, -1])


def test_saved_traces_come_back(tmp_path):
    trace = example()
    traces.save(tmp_path / "trace.npz", trace)
    loaded = traces.load(tmp_path / "trace.npz")
    assert loaded.num_learners == 3
    for found, expected in zip(loaded[1:], trace[1:], strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    with pytest.raises(ValueError, match=r'`path` must end in ".npz"'):
        traces.save(tmp_path / "trace", trace)


def test_progress_counts_up_to_the_last_read():
    record = Recorder(2, 2)
    record.add(1.0, 0, applies=True, reads=Read.AFTER)
    record.add(2.0, 1, applies=True)
    record.add(3.0, 1, applies=True, reads=Read.BEFORE)
    record.add(4.0, 1, applies=True)
    record.add(5.0, 0, applies=True, reads=Read.AFTER)
    record.add(6.0, ALL, applies=True)
    assert progress(record.trace()).tolist() == [0, 0, 0, 2, 1, 5]
    assert progress(record.trace(), start=10).tolist() == [10, 10, 10, 12, 11, 15]
