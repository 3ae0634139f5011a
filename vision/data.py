"""Data sets of images: bundled, by name through tensorflow-datasets, or a folder of one's own.

    fashion        8,000 images of Fashion-MNIST, bundled (MIT license, Zalando SE)
    fashion_mnist, cifar10, cifar100, imagenet2012      by tensorflow-datasets
    any path       folders of images, one for each class, see `records`

Images are kept as bytes ``[height, width, channels]`` and read by random access; `loader` makes
batches of them.
"""

import os
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.data_folder import default_data_dir
from . import records

BUNDLED = pathlib.Path(__file__).parent / "bundled" / "fashion.npz"
ATTRIBUTION = (
    "Fashion-MNIST (a subset), Zalando SE, MIT license; Xiao, Rasul, Vollgraf 2017, "
    "arXiv:1708.07747"
)
FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of pixels in [0, 1], by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


FASHION_SCALE = Scale((0.2860,), (0.3530,))  # of all 60,000 training images
IMAGENET_SCALE = Scale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Name, its split for tests, and the scale of its pixels, as commonly used.
NAMED = {
    "cifar10": ("test", Scale((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    "cifar100": ("test", Scale((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))),
    "fashion_mnist": ("test", FASHION_SCALE),
    "imagenet2012": ("validation", IMAGENET_SCALE),
}


@dataclass(frozen=True)
class Images:
    """Labeled images by random access.

    Attributes:
        read: gives the image of an index in ``0..len - 1``, uint8 ``[height, width, channels]``.
        labels: ``[len]`` int32.
    """

    read: Callable[[int], np.ndarray]
    labels: np.ndarray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class ImageData:
    """A data set of two splits."""

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]
    scale: Scale
    attribution: str = ""  # whom to name when results are shown

    @property
    def num_channels(self) -> int:
        """1 for gray images, 3 for those in color."""
        return len(self.scale.mean)


def open_data(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> ImageData:
    """Opens a data set by its name, or a folder of images.

    Args:
        name: "fashion" (bundled), "cifar10", "cifar100", "fashion_mnist", "imagenet2012", or the
            path of a folder, see `folder`.
        data_dir: folder of prepared data; by default that of `core.data_folder.default_data_dir`.
        on_error: see `folder`.

    Returns:
        The data set.

    Raises:
        ValueError: if there is none of that name, or it cannot be prepared.

    Example:
        >>> data = open_data("fashion")
        >>> data.train.read(0).shape, len(data.train), data.class_names[data.train.labels[0]]
        ((28, 28, 1), 6000, 'ankle boot')
    """
    if name == "fashion":
        return fashion()
    if name in NAMED:
        test, scale = NAMED[name]
        splits = {"train": "train", "test": test}
        found = records.open_named(name, splits, data_dir or default_data_dir())
        return _gather(name, found, scale)
    if pathlib.Path(name).is_dir():
        return folder(name, data_dir=data_dir, on_error=on_error)
    raise ValueError(
        f"`data` must be fashion, {', '.join(NAMED)} or the path of a folder, got {name!r}."
    )


def fashion() -> ImageData:
    """The bundled subset of Fashion-MNIST: 6,000 images for training and 2,000 for tests."""
    with np.load(BUNDLED, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}

    def split(name: str) -> Images:
        images = arrays[f"{name}_images"][..., None]
        return Images(images.__getitem__, arrays[f"{name}_labels"].astype(np.int32))

    return ImageData(
        "Fashion-MNIST, the bundled subset",
        split("train"),
        split("test"),
        FASHION_CLASSES,
        FASHION_SCALE,
        ATTRIBUTION,
    )


def folder(
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> ImageData:
    """The user's own images: ``path/train/CLASS/*`` and ``path/test/CLASS/*``.

    Without these two folders, the classes lie in ``path`` itself and a tenth of the images, by a
    hash of their names, is for tests.  Images are verified once and kept as they are.

    Args:
        path: the folder.
        data_dir: folder of prepared data; see `open_data`.
        on_error: refuse the folder at the first corrupt image, or leave those out with a warning.

    Returns:
        The data set, in color.

    Raises:
        ValueError: if there is no image, an image is corrupt (with ``on_error="raise"``), or a
            class is in the test only.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip', got {on_error!r}.")
    found = records.open_folder(path, data_dir or default_data_dir(), on_error)
    return _gather(pathlib.Path(path).resolve().name, found, IMAGENET_SCALE)


def _gather(name: str, found: records.Opened, scale: Scale) -> ImageData:
    train, test = (Images(*found.splits[split]) for split in ("train", "test"))
    return ImageData(name, train, test, found.class_names, scale)
