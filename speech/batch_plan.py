"""Which utterances make up batch number ``i``: a pure function of a seed.

Every epoch draws for each utterance a speed, joins some with others, sorts these items into
buckets of similar length, and cuts each bucket into batches of fixed size, whose order is
shuffled. What does not fill a batch opens the first batch of its bucket in the next epoch, so
that in the long run every utterance is heard equally often; only after the very last epoch are
rows repeated to fill a batch.

All random numbers of epoch ``e`` come from ``numpy.random.default_rng((seed, e))``. Reaching a
batch means planning the epochs before it, without reading any audio: about 10
microseconds per utterance and epoch.
"""

import dataclasses
import functools
import math
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

JOINED = (2, 3)  # utterances in a joined item
GAP_SECONDS = (0.1, 0.3)  # silence between them


class Item(NamedTuple):
    """One row of a batch."""

    indices: tuple[int, ...]  # of the utterances, joined in this order
    gaps: tuple[float, ...]  # s of silence after each but the last
    speed: float  # over 1: faster and higher
    tempo: float = 1.0  # over 1: faster


class PlannedBatch(NamedTuple):
    """The rows of a batch, and the shape they share."""

    bucket: int
    items: tuple[Item, ...]


class Bucket(NamedTuple):
    """A batch shape."""

    seconds: float  # longest row
    labels: int  # longest text
    rows: int


@dataclasses.dataclass(frozen=True)
class Lengths:
    """What the plan must know of the utterances."""

    seconds: np.ndarray  # [utterances] float64
    labels: np.ndarray  # [utterances] int64


class _EpochStart(NamedTuple):
    first_batch: int
    carried: tuple[tuple[Item, ...], ...]  # per bucket


class BatchPlan(Sequence[PlannedBatch]):
    """All batches by random access; the length is ``sys.maxsize`` without a number of epochs.

    Args:
        lengths: of the utterances; each must fit the last bucket.
        buckets: by ascending seconds.
        seed: of all random choices.
        num_epochs: how often every utterance is used; ``None``: forever.
        shuffle: in the given order if false (without joining).
        speed: range of the speed, drawn uniformly.
        tempo: range of the tempo, drawn uniformly.
        join_probability: that an utterance is joined with the next one or two, if they fit.
    """

    def __init__(
        self,
        lengths: Lengths,
        buckets: Sequence[Bucket],
        *,
        seed: int,
        num_epochs: int | None,
        shuffle: bool = True,
        speed: tuple[float, float] = (1.0, 1.0),
        tempo: tuple[float, float] = (1.0, 1.0),
        join_probability: float = 0.0,
    ):
        self._seconds: list[float] = lengths.seconds.tolist()  # lists, as single reads are many
        self._labels: list[int] = lengths.labels.tolist()
        self._buckets = tuple(buckets)
        self._seed = seed
        self._num_epochs = num_epochs
        self._shuffle = shuffle
        self._speed = speed
        self._tempo = tempo
        self._join_probability = join_probability
        self._starts = [_EpochStart(0, ((),) * len(buckets))]
        self._lock = threading.Lock()  # a loader reads from several threads
        self._plan_epoch = functools.lru_cache(maxsize=4)(self._plan_epoch_anew)
        if num_epochs is not None:
            while len(self._starts) <= num_epochs:
                self._extend()

    def __len__(self) -> int:
        """Number of batches."""
        return sys.maxsize if self._num_epochs is None else self._starts[-1].first_batch

    def __getitem__(self, index):
        """The batch of an index >= 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        with self._lock:
            while self._starts[-1].first_batch <= index:
                self._extend()
            # Late batches are asked for most, so the epochs are searched from the end.
            epoch = next(
                e
                for e in range(len(self._starts) - 2, -1, -1)
                if self._starts[e].first_batch <= index
            )
            batches, _ = self._plan_epoch(epoch)
        return batches[index - self._starts[epoch].first_batch]

    def _extend(self) -> None:
        batches, carried = self._plan_epoch(len(self._starts) - 1)
        self._starts.append(_EpochStart(self._starts[-1].first_batch + len(batches), carried))

    def _plan_epoch_anew(
        self, epoch: int
    ) -> tuple[list[PlannedBatch], tuple[tuple[Item, ...], ...]]:
        """The batches of an epoch, and the items that it carries to the next, per bucket."""
        random = np.random.default_rng((self._seed, epoch))
        queues = [list(items) for items in self._starts[epoch].carried]
        heard = [{index for item in queue for index in item.indices} for queue in queues]
        late: list[list[Item]] = [[] for _ in queues]
        for item in self._draw_items(random):
            bucket = self._find_bucket(item)
            # No batch shall hold an utterance twice, once carried and once anew.
            fresh = heard[bucket].isdisjoint(item.indices)
            (queues if fresh else late)[bucket].append(item)
        last = self._num_epochs is not None and epoch == self._num_epochs - 1
        batches, carried = [], []
        for number, bucket in enumerate(self._buckets):
            items = queues[number] + late[number]
            full = -(-len(items) // bucket.rows) if last else len(items) // bucket.rows
            rest = items[full * bucket.rows :]
            for first in range(0, full * bucket.rows, bucket.rows):
                rows = items[first : first + bucket.rows]
                rows += [items[i % len(items)] for i in range(bucket.rows - len(rows))]
                batches.append(PlannedBatch(number, tuple(rows)))
            carried.append(tuple(rest))
        if self._shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches, tuple(carried)

    def _draw_items(self, random: np.random.Generator) -> list[Item]:
        """Every utterance once, some of them joined."""
        count = len(self._seconds)
        order = (random.permutation(count) if self._shuffle else np.arange(count)).tolist()
        speeds = random.uniform(*self._speed, count).tolist()
        gaps = random.uniform(*GAP_SECONDS, count).tolist()
        wanted = np.where(
            random.random(count) < self._join_probability,
            random.integers(JOINED[0], JOINED[1] + 1, count),
            1,
        ).tolist()
        tempos = [1.0] * count
        if self._tempo != (1.0, 1.0):  # else the plan is that of runs without
            tempos = random.uniform(*self._tempo, count).tolist()
        longest = self._buckets[-1]
        items, position = [], 0
        while position < count:
            first = order[position]
            # A slowed utterance must still fit where its original does.
            least = self._seconds[first] / longest.seconds
            speed = max(speeds[position], least)
            tempo = max(tempos[position], least / speed)
            item = Item((first,), (), speed, tempo)
            for end in range(position + 2, min(position + wanted[position], count) + 1):
                longer = item._replace(
                    indices=tuple(order[position:end]), gaps=tuple(gaps[position : end - 1])
                )
                if not self._fits(longer, longest):
                    break
                item = longer
            items.append(item)
            position += len(item.indices)
        return items

    def _find_bucket(self, item: Item) -> int:
        return next(n for n, bucket in enumerate(self._buckets) if self._fits(item, bucket))

    def _fits(self, item: Item, bucket: Bucket) -> bool:
        labels = sum(self._labels[i] for i in item.indices) + len(item.gaps)
        spoken = sum(self._seconds[i] for i in item.indices) / (item.speed * item.tempo)
        seconds = spoken + sum(item.gaps)
        return labels <= bucket.labels and seconds <= bucket.seconds * (1 + 1e-9)


def make_buckets(
    buckets: Sequence[tuple[float, int]], *, labels_per_second: float
) -> tuple[Bucket, ...]:
    """Checks (seconds, rows) pairs and adds the number of labels.

    Raises:
        ValueError: if there is none, or they do not ascend, or a number is not positive.
    """
    seconds = [float(bound) for bound, _ in buckets]
    if not seconds or seconds != sorted(set(seconds)) or seconds[0] <= 0:
        raise ValueError(f"`buckets` must ascend in their positive seconds, got {tuple(buckets)}.")
    if any(rows < 1 for _, rows in buckets):
        raise ValueError(f"`buckets` must have at least one row each, got {tuple(buckets)}.")
    if labels_per_second <= 0:
        raise ValueError(f"`labels_per_second` must be positive, got {labels_per_second}.")
    return tuple(
        Bucket(float(bound), math.ceil(bound * labels_per_second), rows) for bound, rows in buckets
    )
