"""The journal of a run without a barrier: its trace, and what each update reported.

A runtime writes every event here in the order of the trace.  The journal counts: who made how many
updates, how many fell between read and application of a gradient (its staleness), and how far the
whole run had come when a learner read its weights (its progress, by which `async_training` steers
learning rates).  Both are functions of the trace, see `traces.staleness` and `traces.progress`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .traces import Read, Recorder, Trace


class Update(NamedTuple):
    """One update and what its gradient reported."""

    time: float  # seconds since the start of the run
    learner: int
    staleness: int  # updates of others between read and application
    metrics: Mapping[str, float]  # of the gradient


class Journal:
    """Records the events of single learners.

    Args:
        num_learners: number of learners n.
        num_updates: updates of all learners, earlier ones included, after which the run is over.
        steps: [num_learners] updates made before, in a run that continues; the default is none.
    """

    def __init__(self, num_learners: int, num_updates: int, steps: Sequence[int] | None = None):
        self._record = Recorder(num_learners, min(2, num_learners))
        self._num_updates = num_updates
        self._steps = [0] * num_learners if steps is None else [int(step) for step in steps]
        self._progress = [self.total] * num_learners
        self._fresh: list[Update] = []

    @property
    def steps(self) -> list[int]:
        """[num_learners] updates made so far."""
        return list(self._steps)

    @property
    def total(self) -> int:
        """Updates of all learners."""
        return sum(self._steps)

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.total >= self._num_updates

    def progress(self, learner: int) -> int:
        """Updates of all learners before the learner's last read, that event included."""
        return self._progress[learner]

    def add(
        self,
        time: float,
        learner: int,
        *,
        applies: bool = False,
        reads: Read = Read.NOTHING,
        metrics: Mapping[str, float] | None = None,
        **event,
    ) -> None:
        """Appends an event, see `traces.Recorder.add`, with what its gradient reported."""
        self._record.add(time, learner, applies=applies, reads=reads, **event)
        if applies:
            staleness = self.total - self._progress[learner]
            self._steps[learner] += 1
            self._fresh.append(Update(time, learner, staleness, metrics or {}))
        if reads == Read.AFTER:
            self._progress[learner] = self.total

    def drain(self) -> list[Update]:
        """The updates since the last call, in order."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def trace(self) -> Trace:
        """The trace so far."""
        return self._record.trace()
