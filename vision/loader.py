"""Batches of images for training and evaluation, on grain.

Batch ``i`` is a pure function of the seed, so the iterator's state is a number: a run that resumes
from it sees the batches it would have seen.  Each epoch goes through the images in a new order and
leaves out those that fill no batch.  Images are read and changed in background threads.

A batch is a dict with

    images    [batch, size, size, channels] float32 of zero mean and unit variance
    targets   [batch, classes] float32, the probability of each class

and, with ``num_learners``, a leading axis that gives every learner its own shard of the rows.
"""

import functools
import sys
from collections.abc import Iterator
from typing import Literal

import grain
import numpy as np

from . import augmentation
from .data import ImageData, Images
from .run_config import Changes

Batch = dict[str, np.ndarray]


class _Plan:
    """The images of each batch, by random access and without end."""

    def __init__(self, num_images: int, batch_size: int, seed: int):
        self._num_images, self._batch_size, self._seed = num_images, batch_size, seed
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> np.ndarray:
        epoch, batch = divmod(index, self._num_images // self._batch_size)
        return self._order(epoch)[batch * self._batch_size :][: self._batch_size]

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, 0, epoch]).permutation(self._num_images)


def batches(
    data: ImageData,
    *,
    batch_size: int,
    size: int = 32,
    num_learners: int | None = None,
    changes: Changes | None = None,
    seed: int = 0,
    num_threads: int = 2,
) -> grain.DatasetIterator[Batch]:
    """Training batches without end, with ``get_state()`` and ``set_state(state)`` to resume.

    Args:
        data: the data set, whose training images are read.
        batch_size: rows of a batch, over all learners.
        size: sides of the images that the network sees.
        num_learners: adds the leading axis; must divide `batch_size`.
        changes: what training changes; by default `Changes()`.
        seed: of the order and of all changes.
        num_threads: background readers; 0 reads in the calling thread.

    Returns:
        An iterator over batches.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> stream = batches(open_data("fashion"), batch_size=128, num_learners=4)
        >>> next(stream)["images"].shape
        (4, 32, 32, 32, 1)
    """
    changes = changes or Changes()
    changes.check()
    if not 1 <= batch_size <= len(data.train):
        raise ValueError(
            f"`batch_size` must be in [1, {len(data.train)}], the number of images for training, "
            f"got {batch_size}."
        )
    if num_learners is not None and (num_learners < 1 or batch_size % num_learners):
        raise ValueError(
            f"`batch_size` must be divisible by the number of learners, got {batch_size} for "
            f"{num_learners}."
        )

    def load(index: int, chosen: np.ndarray) -> Batch:
        generator = np.random.default_rng([seed, 1, index])
        images = np.stack([_change(data.train.read(i), size, changes, generator) for i in chosen])
        batch = _finish(data, images, data.train.labels[chosen])
        if changes.mixup:
            batch["images"], batch["targets"] = augmentation.mixup(
                batch["images"], batch["targets"], changes.mixup, generator
            )
        if num_learners is None:
            return batch
        return {name: x.reshape(num_learners, -1, *x.shape[1:]) for name, x in batch.items()}

    plan = _Plan(len(data.train), batch_size, seed)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * num_threads)
    return iter(grain.MapDataset.source(plan).map_with_index(load).to_iter_dataset(options))


def evaluation_batches(
    data: ImageData,
    split: Literal["train", "test"] = "test",
    *,
    batch_size: int,
    size: int = 32,
    number: int | None = None,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Images once and unchanged, in the order of the split.

    Args:
        data: the data set.
        split: "train" or "test".
        batch_size: rows of a batch.
        size: sides of the images that the network sees.
        number: of images, from the first; None for all.

    Yields:
        A batch, and ``[batch]`` bool: False marks rows that only fill the last batch.
    """
    source: Images = getattr(data, split)
    total = len(source) if number is None else min(number, len(source))
    for start in range(0, total, batch_size):
        indices = np.arange(start, start + batch_size)
        valid = indices < total
        indices = np.minimum(indices, total - 1)
        images = np.stack([_place(source.read(i), size) for i in indices])
        yield _finish(data, images, source.labels[indices]), valid


def _change(
    image: np.ndarray, size: int, changes: Changes, generator: np.random.Generator
) -> np.ndarray:
    if max(image.shape[:2]) <= size:
        image = augmentation.shift(image, size, changes.padding, generator)
    else:
        image = augmentation.random_part(image, size, generator)
    return image[:, ::-1] if changes.flip and generator.random() < 0.5 else image


def _place(image: np.ndarray, size: int) -> np.ndarray:
    if max(image.shape[:2]) <= size:
        return augmentation.shift(image, size, 0, None)
    return augmentation.center(image, size)


def _finish(data: ImageData, images: np.ndarray, labels: np.ndarray) -> Batch:
    targets = np.eye(len(data.class_names), dtype=np.float32)[labels]
    return {
        "images": augmentation.normalize(images, data.scale.mean, data.scale.std),
        "targets": targets,
    }
