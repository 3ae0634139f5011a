"""What the journal counts while events come is what the trace says afterwards."""

import numpy as np

from gossamer.core import traces
from gossamer.core.journal import Journal, Update
from gossamer.core.traces import Read

N = 3


def write_at_random(journal, num_events):
    """Events of all kinds; the progress that each applied gradient knew."""
    random, seen = np.random.default_rng(0), []
    for time in range(num_events):
        i, applies = int(random.integers(N)), bool(random.random() < 0.7)
        reads = Read.AFTER if random.random() < 0.8 else Read.NOTHING
        seen.append(journal.progress(i))
        journal.add(float(time), i, applies=applies, reads=reads, metrics={"loss": float(time)})
    return seen


def test_counts_are_those_of_the_trace():
    journal = Journal(N, num_updates=1000)
    seen = write_at_random(journal, 200)
    trace, updates = journal.trace(), journal.drain()
    learners, delays = traces.staleness(trace)
    assert [update.learner for update in updates] == learners.tolist()
    assert [update.staleness for update in updates] == delays.tolist()
    np.testing.assert_array_equal(seen, traces.progress(trace))
    assert journal.steps == np.bincount(learners, minlength=N).tolist()
    assert journal.total == len(learners)


def test_a_run_that_continues_counts_on():
    journal = Journal(N, num_updates=12, steps=[4, 5, 2])
    assert (journal.total, journal.progress(1), journal.finished) == (11, 11, False)
    journal.add(0.5, 1, applies=True, reads=Read.AFTER)
    assert journal.steps == [4, 6, 2]
    assert journal.finished
    np.testing.assert_array_equal(traces.progress(journal.trace(), start=11), [11])


def test_updates_are_handed_out_once():
    journal = Journal(1, num_updates=2)
    journal.add(0.5, 0, applies=True, metrics={"loss": 2.0})
    assert journal.drain() == [Update(0.5, 0, 0, {"loss": 2.0})]
    assert journal.drain() == []
