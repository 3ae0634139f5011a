"""Speech as array_record files: a tensorflow-datasets builder for lists of recordings.

Recordings are decoded, checked and resampled once, then kept as 16-bit samples in files that
allow random access. The folder's name holds a digest of everything that went in, so that changed
recordings are never mistaken for prepared ones, and it appears only when it is complete
(tensorflow-datasets prepares in a temporary folder and renames it).
"""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import tensorflow_datasets as tfds

from ...core import data_folder
from . import audio

SPLITS = ("train", "dev", "test")
_FULL_SCALE = 32768  # of 16-bit samples


class Row(NamedTuple):
    """One utterance and where to find it."""

    name: str  # unique
    split: str  # one of SPLITS
    path: pathlib.Path  # of the recording
    start: float | None  # s; None: the beginning
    end: float | None  # s; None: the end
    text: str  # normalized
    source: str  # whom to blame: file and line
    channel: int | None = None  # of the recording, from 0; None: as `Reading` says


@dataclasses.dataclass(frozen=True)
class Reading:
    """How recordings are read."""

    sample_rate: int  # Hz
    channel: int | None = None  # see audio.read
    min_seconds: float = 0.0
    max_seconds: float = audio.MAX_SECONDS
    on_error: Literal["raise", "skip"] = "raise"


class Recordings(tfds.core.GeneratorBasedBuilder):
    """Recordings as 16-bit samples with their names and texts."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self, name: str, rows: Sequence[Row], reading: Reading, data_dir: str | os.PathLike[str]
    ):
        self._rows = rows
        self._reading = reading
        # The instance's own name, instead of the class's, gives it a folder of its own.
        vars(self)["name"] = name
        super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Recordings of single utterances with what is said in them.",
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "text": tfds.features.Text(),
                    "waveform": tfds.features.Tensor(
                        shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
                    ),
                }
            ),
            metadata=tfds.core.MetadataDict(skipped=[]),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        # An empty split cannot be written, so each is asked for its first example before it counts.
        splits = {}
        for split in SPLITS:
            examples = self._generate_examples(split)
            if first := next(examples, None):
                splits[split] = itertools.chain([first], examples)
        if not splits:
            raise audio.AudioError(f"no recording is usable, first reason: {self.skipped[0]}")
        return splits

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = [row for row in self._rows if row.split == split]
        for number, row in enumerate(rows):
            try:
                waveform = _read(row, self._reading)
            except audio.AudioError as error:
                if self._reading.on_error == "raise":
                    raise
                self.skipped.append(str(error))
                continue
            pulses = np.round(waveform * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1)
            yield (
                number,
                {
                    "name": row.name,
                    "text": row.text,
                    "waveform": pulses.astype(np.int16),
                },
            )

    @property
    def skipped(self) -> list[str]:
        """Why utterances were left out, one message each."""
        assert self.info.metadata is not None  # _info sets it
        return self.info.metadata["skipped"]

    def open(self, split: str) -> Sequence[dict[str, Any]]:
        """Random access to the examples of a split."""
        # The decorator of `as_data_source` hides its parameters from type checkers.
        return cast(Any, self).as_data_source(split=split)


def prepare(
    label: str, rows: Sequence[Row], reading: Reading, data_dir: str | os.PathLike[str]
) -> Recordings:
    """Writes the array_record files unless they are there.

    Args:
        label: what the folder's name starts with.
        rows: the utterances, of one or more splits.
        reading: how to read them.
        data_dir: folder of prepared data.

    Returns:
        The prepared builder.

    Raises:
        AudioError: if a recording is unusable and ``reading.on_error`` is ``"raise"``, or if all
            are.
    """
    name = f"{label}-{_digest(rows, reading)}"
    if not sys.stderr.isatty():  # progress is for terminals only
        tfds.disable_progress_bar()
    with data_folder.quiet():
        builder = Recordings(name, rows, reading, data_dir)
        if not builder.is_prepared():
            try:
                builder.download_and_prepare()
            except OSError:
                # Another process may have renamed its equal folder into place first.
                builder = Recordings(name, rows, reading, data_dir)
                if not builder.is_prepared():
                    raise
    return builder


def decode(example: dict[str, Any]) -> tuple[str, str, np.ndarray]:
    """Name, text and float32 waveform of a stored example."""
    name, text = (
        value.decode() if isinstance(value, bytes) else str(value)
        for value in (example["name"], example["text"])
    )
    return name, text, example["waveform"].astype(np.float32) / _FULL_SCALE


def warn_of_skipped(messages: Sequence[str], of: int) -> None:
    """One warning that counts what was left out and shows the first few reasons."""
    if messages:
        reasons = "".join(f"\n  {message}" for message in messages[:3])
        more = f"\n  and {len(messages) - 3} more" if len(messages) > 3 else ""
        warnings.warn(f"Left out {len(messages)} of {of} utterances:{reasons}{more}", stacklevel=3)


def _read(row: Row, reading: Reading) -> np.ndarray:
    """The checked waveform of a row; errors name the line that asks for it."""
    try:
        waveform = audio.read(
            row.path,
            reading.sample_rate,
            start=row.start,
            end=row.end,
            channel=reading.channel if row.channel is None else row.channel,
            max_seconds=reading.max_seconds,
        )
    except audio.AudioError as error:
        raise audio.AudioError(f"{row.source}: {error}") from None
    if len(waveform) < reading.min_seconds * reading.sample_rate:
        raise audio.AudioError(
            f"{row.source}: {row.path}: {len(waveform) / reading.sample_rate:.3f} s are less than "
            f"`min_seconds` = {reading.min_seconds:g}; leave it out or lower the limit."
        )
    return waveform


def _digest(rows: Sequence[Row], reading: Reading) -> str:
    """Hexadecimal digits that change with the rows, the options and the recordings' files."""
    digest = hashlib.sha256(repr(reading).encode())
    for row in rows:
        digest.update(repr(row).encode())
        if row.path.is_file():
            state = row.path.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
