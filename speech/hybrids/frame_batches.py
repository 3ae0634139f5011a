"""Batches of recordings with a target for each frame, for the training of acoustic models.

Batch ``i`` is a function of the seed and ``i``: a run that resumes sees the batches that it would
have seen.  In each pass over the data every bucket of lengths is shuffled and cut into batches,
whose last one is filled up with rows of the same bucket, and the batches of all buckets are
shuffled.  Recordings may be read at another speed; targets are then those of the frames from which
the sound came.

    waveform           [learners, rows, samples] float32
    waveform_paddings  [learners, rows, samples] float32, 1 where padded
    targets            [learners, rows, frames] int32, -1 where there is none
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..augmentation import speed_perturb
from ..corpora.corpus import Utterances
from ..features import STACK, frame_size

NO_TARGET = -1


def num_frames(num_samples: int, sample_rate: int) -> int:
    """Frames that `features.extract` makes of a recording."""
    window, hop = frame_size(sample_rate)
    return -(-max(0, 1 + (num_samples - window) // hop) // STACK)


class FrameBatches(Iterator[dict[str, np.ndarray]]):
    """Batches without end, with ``get_state()`` and ``set_state(state)`` to resume.

    Args:
        utterances: the recordings.
        targets: of the frames of each, as many as `num_frames` tells; None leaves one out.
        sample_rate: Hz of the recordings.
        buckets: longest row in seconds and number of rows (over all learners), ascending.
        num_learners: must divide every number of rows.
        seed: of the order and the speeds.
        speed: range of the uniformly drawn speed; (1, 1) leaves recordings as they are.

    Raises:
        ValueError: if rows cannot be divided, or no recording is left.
    """

    def __init__(
        self,
        utterances: Utterances,
        targets: Sequence[np.ndarray | None],
        *,
        sample_rate: int,
        buckets: Sequence[tuple[float, int]],
        num_learners: int = 1,
        seed: int = 0,
        speed: tuple[float, float] = (1.0, 1.0),
    ):
        for _, rows in buckets:
            if rows % num_learners:
                raise ValueError(
                    f"`buckets` must have multiples of {num_learners} learners as rows, got {rows}."
                )
        self._utterances, self._targets = utterances, targets
        self._rate, self._buckets = sample_rate, list(buckets)
        self._learners, self._seed, self._speed = num_learners, seed, speed
        self._members: list[list[int]] = [[] for _ in buckets]
        for index, seconds in enumerate(utterances.seconds):
            place = next(
                (k for k, (longest, _) in enumerate(buckets) if seconds / speed[0] <= longest), None
            )
            if place is not None and targets[index] is not None:
                self._members[place].append(index)
        if not any(self._members):
            raise ValueError(
                "`utterances` must hold one with targets that is not longer than the last bucket, "
                f"{buckets[-1][0]} s."
            )
        self._per_pass = sum(
            -(-len(members) // rows)
            for members, (_, rows) in zip(self._members, buckets, strict=True)
        )
        self._position = 0
        self._pass: tuple[int, list[tuple[int, list[int]]]] | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        around, place = divmod(self._position, self._per_pass)
        if self._pass is None or self._pass[0] != around:
            self._pass = around, self._plan(around)
        bucket, members = self._pass[1][place]
        random = np.random.default_rng([self._seed, self._position, 1])
        self._position += 1
        return self._load(bucket, members, random)

    def get_state(self) -> dict[str, Any]:
        """The position, for a checkpoint."""
        return {"position": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        self._position = int(state["position"])

    def _plan(self, around: int) -> list[tuple[int, list[int]]]:
        """The batches of a pass: bucket and rows of each."""
        random = np.random.default_rng([self._seed, around, 0])
        batches = []
        for bucket, members in enumerate(self._members):
            if not members:
                continue
            rows = self._buckets[bucket][1]
            order = random.permutation(members)
            order = np.resize(order, -(-len(order) // rows) * rows)  # filled with the first again
            batches += [(bucket, part.tolist()) for part in order.reshape(-1, rows)]
        return [batches[index] for index in random.permutation(len(batches))]

    def _load(
        self, bucket: int, members: list[int], random: np.random.Generator
    ) -> dict[str, np.ndarray]:
        seconds, rows = self._buckets[bucket]
        length = int(seconds * self._rate)
        waveform = np.zeros((rows, length), np.float32)
        paddings = np.ones((rows, length), np.float32)
        targets = np.full((rows, num_frames(length, self._rate)), NO_TARGET, np.int32)
        for row, index in enumerate(members):
            sound, frames = self._utterances[index].waveform, self._targets[index]
            assert frames is not None
            speed = random.uniform(*self._speed) if self._speed[0] < self._speed[1] else 1.0
            sound = speed_perturb(sound, self._rate, speed=speed)[:length]
            number = min(num_frames(len(sound), self._rate), targets.shape[1])
            source = np.minimum((np.arange(number) * speed).astype(int), len(frames) - 1)
            waveform[row, : len(sound)] = sound
            paddings[row, : len(sound)] = 0
            targets[row, :number] = frames[source]
        batch = {"waveform": waveform, "waveform_paddings": paddings, "targets": targets}
        return {name: x.reshape(self._learners, -1, x.shape[1]) for name, x in batch.items()}
