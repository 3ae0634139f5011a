"""Images as array_record files, by tensorflow-datasets: its own data sets, and folders of images.

Images are stored as they came, as JPEG or PNG, and decoded when they are read.  The folder of a
prepared data set appears only when it is complete.  The names of the user's own hold a digest of
the files that went in, so that changed images are never mistaken for prepared ones.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from ..core import data_folder, whole_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
TEST_SHARE = 0.1  # where a folder has no split of its own


class Row(NamedTuple):
    """One image of a folder."""

    split: str  # "train" or "test"
    label: str
    path: pathlib.Path


class Opened(NamedTuple):
    """A prepared data set."""

    splits: Mapping[str, tuple[Callable[[int], np.ndarray], np.ndarray]]  # reader and labels
    class_names: tuple[str, ...]


class Folder(tfds.core.GeneratorBasedBuilder):
    """Images and their classes."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, name: str, rows: Sequence[Row], on_error: str, data_dir: str):
        self._rows = rows
        self._on_error = on_error
        # The instance's own name, instead of the class's, gives it a folder of its own.
        vars(self)["name"] = name
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images, each of one class.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(
                        names=sorted({row.label for row in self._rows})
                    ),
                }
            ),
            metadata=tfds.core.MetadataDict(skipped=[]),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = [row for row in self._rows if row.split == split]
        number = 0
        for row in rows:
            content = row.path.read_bytes()
            try:
                decode(content, 3)
            except ValueError as error:
                if self._on_error == "raise":
                    raise ValueError(
                        f"{row.path}: {error}; remove it, or leave such images out with "
                        "on_error='skip'."
                    ) from None
                self.skipped.append(f"{row.path}: {error}")
                continue
            yield number, {"image": content, "label": row.label}
            number += 1
        if not number:
            raise ValueError(
                f"`folder` must have images of both splits, got none for {split}"
                f"{', first reason: ' + self.skipped[0] if self.skipped else ''}; add some, or "
                "leave out the folders train and test to have them split."
            )

    @property
    def skipped(self) -> list[str]:
        """Why images were left out, one message each."""
        assert self.info.metadata is not None  # _info sets it
        return self.info.metadata["skipped"]


def decode(content: bytes, num_channels: int) -> np.ndarray:
    """The pixels of an encoded image, uint8 ``[height, width, num_channels]``.

    Raises:
        ValueError: if the image is corrupt or cut off.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("L" if num_channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # The name of the file in memory, a number that changes, helps nobody.
        reason = "unknown format" if "cannot identify" in str(error) else error
        raise ValueError(f"not a readable image ({reason})") from None
    return pixels.reshape(*pixels.shape[:2], num_channels)


def open_folder(
    path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
    on_error: Literal["raise", "skip"],
) -> Opened:
    """Prepares a folder of images unless it is prepared, and opens it; see `data.folder`."""
    path = pathlib.Path(path).resolve()
    rows = list_images(path)
    name = f"{path.name}-{_digest(rows, on_error)}"
    builder = Folder(name, rows, on_error, os.fspath(data_dir))
    _prepare(builder)
    if builder.skipped:
        reasons = "".join(f"\n  {message}" for message in builder.skipped[:3])
        warnings.warn(
            f"Left out {len(builder.skipped)} of {len(rows)} images:{reasons}", stacklevel=4
        )
    return _open(builder, {"train": "train", "test": "test"})


def open_named(name: str, splits: Mapping[str, str], data_dir: str | os.PathLike[str]) -> Opened:
    """Prepares a data set of tensorflow-datasets unless it is prepared, and opens it.

    Args:
        name: its name there.
        splits: our names of splits to its names.
        data_dir: folder of prepared data.

    Raises:
        ValueError: if it cannot be prepared.
    """
    with data_folder.plain_failures(name, data_dir):
        builder = tfds.builder(name, data_dir=os.fspath(data_dir), file_format="array_record")
        _prepare(builder)
    return _open(builder, splits)


def list_images(path: pathlib.Path) -> list[Row]:
    """The images of a folder, in the order of their names.

    Raises:
        ValueError: if there is none, or a class has images for tests only.
    """
    has_splits = (path / "train").is_dir() and (path / "test").is_dir()
    roots = {name: path / name for name in ("train", "test")} if has_splits else {"": path}
    rows = []
    for split, root in roots.items():
        for file in sorted(root.glob("*/*")):
            if file.suffix.lower() in SUFFIXES:
                relative = file.relative_to(root)
                rows.append(Row(split or _choose_split(relative), relative.parts[0], file))
    labels = {
        split: {row.label for row in rows if row.split == split} for split in ("train", "test")
    }
    if not labels["train"]:
        raise ValueError(
            f"`folder` must hold images as CLASS/NAME{SUFFIXES[0]} or the like, perhaps in train "
            f"and test, got none in {path}."
        )
    if unknown := sorted(labels["test"] - labels["train"]):
        raise ValueError(
            f"`folder` must have images for training of every class, got none of {unknown[:3]} in "
            f"{path}; add some."
        )
    return rows


def _choose_split(relative: pathlib.Path) -> str:
    digest = hashlib.sha256(relative.as_posix().encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64 else "train"


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    if not sys.stderr.isatty():  # progress is for terminals only
        tfds.disable_progress_bar()
    with data_folder.quiet():
        if builder.is_prepared():
            return
        try:
            builder.download_and_prepare()
        except OSError:
            # Another process may have renamed its equal folder into place first.
            if not builder.is_prepared():
                raise


def _open(builder: tfds.core.DatasetBuilder, splits: Mapping[str, str]) -> Opened:
    features = cast(Any, builder.info.features)
    num_channels = features["image"].shape[-1]
    opened = {}
    for name, split in splits.items():
        # The decorator of `as_data_source` hides its parameters from type checkers.
        source = cast(Any, builder).as_data_source(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        labels = _labels(builder, split, source)
        opened[name] = (_Reader(source, num_channels), labels)
    return Opened(opened, tuple(features["label"].names))


class _Reader(NamedTuple):
    """Reads and decodes images of array_record files."""

    source: Sequence[dict[str, Any]]
    num_channels: int

    def __call__(self, index: int) -> np.ndarray:
        return decode(self.source[int(index)]["image"], self.num_channels)


def _labels(
    builder: tfds.core.DatasetBuilder, split: str, source: Sequence[dict[str, Any]]
) -> np.ndarray:
    """All labels ``[len]``. The first time they take a pass over the split, and are then kept."""
    index = pathlib.Path(builder.data_dir) / f"labels-{split}.json"
    try:
        labels = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        labels = [int(source[i]["label"]) for i in range(len(source))]
        with contextlib.suppress(OSError):  # a folder that others prepared
            whole_file.write_text(index, json.dumps(labels))
    return np.asarray(labels, np.int32)


def _digest(rows: Sequence[Row], on_error: str) -> str:
    """Hexadecimal digits that change with the images' files."""
    digest = hashlib.sha256(on_error.encode())
    for row in rows:
        state = row.path.stat()
        digest.update(f"{row} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
