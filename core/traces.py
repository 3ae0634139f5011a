"""The trace of an asynchronous run: what happened to the weights of the learners, in order.

With the weights x_i, the snapshot s_i at which learner i computes its gradient and its update u_i,
an event does, in this order, what it has of

    settle  x_i <- x_i + o_i          its own half of an exchange that has been answered
    answer  d = (x_i - o_j) / 2       the other half, for what learner j had offered:
            x_i <- x_i - d, o_j <- d
    pull    x_i <- x_j                a learner that was dead starts from a neighbor, with the
                                      state of that one's optimizer
    mix     x <- W x                  W doubly stochastic, over some of the learners
    apply   x_i <- x_i + u_i(g(s_i))  the gradient in flight lands
    read    s_i <- x_i                and the next one begins
    offer   o_i <- x_i                a message with the weights is on its way to a neighbor

A learner has one gradient in flight, hence one snapshot: staleness needs no history of weights.
Events of one trace suffice for all schemes: pairwise averaging is (mix i j, apply i, read i), a
communication thread is a row of bare mixings among (apply i, read i), and a synchronous round
is one event of all learners together.  Where an exchange is not instantaneous it has two halves,
(answer j, by i) and (settle j); together they conserve the sum of the weights, whatever happens
to either learner between offer, answer and settlement.
"""

import enum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import whole_file

ALL = -1
"""The `learner` of an event in which all learners act together."""
NOBODY = -1
"""The source in `pulls` of an event without a pull."""


class Read(enum.IntEnum):
    """Which weights an event's learner takes as its next snapshot."""

    NOTHING = 0
    AFTER = 1  # those that the event leaves
    BEFORE = 2  # those that the event found: one round older, as in form B of delay-by-one


class Trace(NamedTuple):
    """Events in order; arrays of one row each, plain and storable, see `save`.

    Invariants: `time` does not decrease; each of `matrices` is doubly stochastic, the first one the
    identity; the members of a row are distinct; a learner settles after its offer was answered, and
    makes no other offer before.
    """

    num_learners: int
    time: np.ndarray  # [num_events] float64: when the event happened
    learner: np.ndarray  # [num_events] int32: who pulls, applies and reads; ALL for everyone
    pulls: np.ndarray  # [num_events] int32: whose weights replace the learner's own, or NOBODY
    mixing: np.ndarray  # [num_events] int32: which of `matrices`; 0 for no mixing
    members: np.ndarray  # [num_events, num_members] int32: who mixes, in the order of the matrix
    applies: np.ndarray  # [num_events] bool: whether the learner's gradient is applied
    reads: np.ndarray  # [num_events] int8: a value of `Read`
    answers: np.ndarray  # [num_events] int32: whose offer the learner answers, or NOBODY
    settles: np.ndarray  # [num_events] bool: whether the learner adds its half of an exchange
    offers: np.ndarray  # [num_events] bool: whether it offers the weights that the event leaves
    matrices: np.ndarray  # [num_matrices, num_members, num_members] float64

    def matrix(self, event: int) -> np.ndarray:
        """The mixing matrix W of an event, [num_learners, num_learners] float64."""
        mixing_matrix = np.eye(self.num_learners)
        members = self.members[event]
        mixing_matrix[np.ix_(members, members)] = self.matrices[self.mixing[event]]
        return mixing_matrix


class Summary(NamedTuple):
    """Statistics of a trace.  Staleness counts the updates that fell between read and apply."""

    duration: float  # time of the last event
    updates: np.ndarray  # [num_learners] int64: gradients applied
    throughput: float  # gradients of all learners per unit of time
    mean_staleness: np.ndarray  # [num_learners] float64, NaN for a learner without updates
    max_staleness: np.ndarray  # [num_learners] int64, -1 for a learner without updates


class Recorder:
    """Collects events and makes a `Trace` of them.

    Args:
        num_learners: number of learners n.
        num_members: the most learners that one event mixes, at most n.
    """

    def __init__(self, num_learners: int, num_members: int):
        self._num_learners = num_learners
        self._num_members = num_members
        self._rows: list[tuple] = []
        self._matrices: dict[bytes, tuple[int, np.ndarray]] = {}
        self._index_of(np.eye(num_members))

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        time: float,
        learner: int = ALL,
        *,
        pulls: int = NOBODY,
        members: tuple[int, ...] = (),
        matrix: np.ndarray | None = None,
        applies: bool = False,
        reads: Read = Read.NOTHING,
        answers: int = NOBODY,
        settles: bool = False,
        offers: bool = False,
    ) -> None:
        """Appends an event; `matrix` [m, m] mixes the m `members`, in their order."""
        mixing = 0
        if matrix is not None:
            padded = np.eye(self._num_members)
            padded[: len(members), : len(members)] = matrix
            mixing = self._index_of(padded)
        if len(members) < self._num_members:
            rest = (i for i in range(self._num_learners) if i not in members)
            members = (*members, *rest)[: self._num_members]
        self._rows.append(
            (time, learner, pulls, mixing, members, applies, int(reads), answers, settles, offers)
        )

    def trace(self) -> Trace:
        """The trace of the events so far."""
        dtypes = np.float64, *(np.int32,) * 4, np.bool_, np.int8, np.int32, np.bool_, np.bool_
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(dtypes)
        arrays = [np.array(list(x), dtype) for x, dtype in zip(columns, dtypes, strict=True)]
        time, learner, pulls, mixing, members, applies, reads, answers, settles, offers = arrays
        return Trace(
            num_learners=self._num_learners,
            time=time,
            learner=learner,
            pulls=pulls,
            mixing=mixing,
            members=members.reshape(-1, self._num_members),
            applies=applies,
            reads=reads,
            answers=answers,
            settles=settles,
            offers=offers,
            matrices=np.stack([matrix for _, matrix in self._matrices.values()]),
        )

    def _index_of(self, matrix: np.ndarray) -> int:
        return self._matrices.setdefault(matrix.tobytes(), (len(self._matrices), matrix))[0]


def staleness(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """How many updates fell between the read and the application of each gradient.

    A synchronous round counts as one update; its own does not count.

    Args:
        trace: any trace.

    Returns:
        The learner and the staleness of each applied gradient, both [num_updates] int64, in order.
    """
    num_applied = 0
    version = np.zeros(trace.num_learners, np.int64)  # updates before the learner's last read
    learners, delays = [], []
    everyone = np.arange(trace.num_learners)
    for learner, applies, reads in zip(trace.learner, trace.applies, trace.reads, strict=True):
        who = everyone if learner == ALL else everyone[learner : learner + 1]
        found = num_applied
        if applies:
            learners.append(who)
            delays.append(num_applied - version[who])
            num_applied += 1
        if reads != Read.NOTHING:
            version[who] = num_applied if reads == Read.AFTER else found
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *learners]), np.concatenate([empty, *delays])


def progress(trace: Trace, start: int = 0) -> np.ndarray:
    """How far the run had come when the gradient that an event applies was begun.

    Args:
        trace: any trace.
        start: gradients applied before the trace begins.

    Returns:
        [num_events] int64: gradients of all learners applied up to the last read of the event's
        learner, that event included; a round counts as those of n learners.
    """
    total = start
    seen = np.full(trace.num_learners, start, np.int64)
    found = np.zeros(len(trace.time), np.int64)
    for event, (learner, applies, reads) in enumerate(
        zip(trace.learner, trace.applies, trace.reads, strict=True)
    ):
        who = slice(None) if learner == ALL else slice(learner, learner + 1)
        found[event] = seen[who].max()
        before = total
        total += applies * len(seen[who])
        if reads != Read.NOTHING:
            seen[who] = total if reads == Read.AFTER else before
    return found


def summarize(trace: Trace) -> Summary:
    """Throughput, and staleness by learner.

    Args:
        trace: any trace.

    Returns:
        A `Summary`.

    Example:
        >>> summarize(simulate(Pairwise(complete(4)), equal(4), horizon=100.0)).throughput
        4.0
    """
    n = trace.num_learners
    learners, delays = staleness(trace)
    updates = np.bincount(learners, minlength=n)
    sums = np.bincount(learners, delays, minlength=n)
    largest = np.full(n, -1)
    np.maximum.at(largest, learners, delays)
    duration = float(trace.time[-1]) if len(trace.time) else 0.0
    return Summary(
        duration=duration,
        updates=updates,
        throughput=float(updates.sum() / duration) if duration else 0.0,
        mean_staleness=np.where(updates > 0, sums / np.maximum(updates, 1), np.nan),
        max_staleness=largest,
    )


def save(path: str | Path, trace: Trace) -> None:
    """Writes a trace as compressed npz of plain arrays, all of it or nothing.

    Raises:
        ValueError: if `path` does not end in ".npz".
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f'`path` must end in ".npz", got {path}.')
    with whole_file.draft(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **trace._asdict())


def load(path: str | Path) -> Trace:
    """Reads a trace that `save` wrote."""
    with np.load(path) as arrays:
        columns = dict(arrays)
    num_learners = int(columns.pop("num_learners"))
    return Trace(num_learners, **columns)
