"""Texts as array_record files: a tensorflow-datasets builder for rows of strings.

A row is a NamedTuple of strings, one of which, "split", says where it belongs.
The folder's name holds a digest of the rows, so that changed texts are never mistaken for prepared
ones, and it appears only when it is complete.
"""

import hashlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

import tensorflow_datasets as tfds

from ..core import data_folder

Row = Any  # a NamedTuple of strings with a field "split"
SPLITS = ("train", "dev", "test")


class Texts(tfds.core.GeneratorBasedBuilder):
    """Rows, each a dict of what its fields hold."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, name: str, rows: Sequence[Row], data_dir: str | os.PathLike[str]):
        self._rows = rows
        # The instance's own name, instead of the class's, gives it a folder of its own.
        vars(self)["name"] = name
        super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        fields = _fields(self._rows)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Rows of strings.",
            features=tfds.features.FeaturesDict({name: tfds.features.Text() for name in fields}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # rows are given
        present = {row.split for row in self._rows}
        return {split: self._generate_examples(split) for split in SPLITS if split in present}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rows, fields = (row for row in self._rows if row.split == split), _fields(self._rows)
        for number, row in enumerate(rows):
            yield number, {field: getattr(row, field) for field in fields}

    def open(self, split: str) -> Sequence[dict[str, Any]]:
        """Random access to the examples of a split; none if it is absent."""
        if split not in self.info.splits:
            return []
        # The decorator of `as_data_source` hides its parameters from type checkers.
        return cast(Any, self).as_data_source(split=split)


def prepare(label: str, rows: Sequence[Row], data_dir: str | os.PathLike[str]) -> Texts:
    """Writes the array_record files unless they are there.

    Args:
        label: what the folder's name starts with.
        rows: the texts, at least one.
        data_dir: folder of prepared data.
    """
    digest = hashlib.sha256(repr(list(rows)).encode()).hexdigest()[:16]
    name = f"{label}-{digest}"
    if not sys.stderr.isatty():  # progress is for terminals only
        tfds.disable_progress_bar()
    with data_folder.quiet():
        builder = Texts(name, rows, data_dir)
        if not builder.is_prepared():
            try:
                builder.download_and_prepare()
            except OSError:
                # Another process may have renamed its equal folder into place first.
                builder = Texts(name, rows, data_dir)
                if not builder.is_prepared():
                    raise
    return builder


def decode(value: Any) -> str:
    """A string of an example, which may be stored as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def load_translations(config: str, split: str, data_dir: str | os.PathLike[str]) -> Any:
    """Pairs of sentences of WMT14 by tensorflow-datasets, downloaded unless they are there.

    Args:
        config: name of the data set and its languages, such as ``wmt14_translate/de-en``.
        split: as it is called there.
        data_dir: folder of prepared data.

    Raises:
        ValueError: if it cannot be prepared.
    """
    # The import makes the data set known: data sets are registered one by one.
    importlib.import_module("tensorflow_datasets.translate.wmt14")
    with data_folder.plain_failures(config, data_dir):
        return cast(Any, tfds).data_source(config, split=split, data_dir=os.fspath(data_dir))


def _fields(rows: Sequence[Row]) -> list[str]:
    return [field for field in rows[0]._fields if field != "split"]
