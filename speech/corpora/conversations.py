"""Telephone conversations as lists of recordings: what the readers of LDC corpora have in common.

A conversation is a recording of two channels, side A on the first and side B on the second, and
its transcript is a sequence of segments. ``gather`` finds the recordings of the segments, cuts
what reaches beyond their ends, and leaves out, with the reason, what cannot be trained on;
``write`` makes of the rest a list that `corpus.manifest` reads.
"""

import collections
import csv
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import soundfile

from ...core import whole_file
from ..text import normalize
from . import sphere
from .audio import AudioError

SIDES = ("A", "B")  # of the channels 0 and 1
AUDIO_SUFFIXES = (".sph", ".wav", ".flac")
SHORTEST = 0.1  # s, of a segment
COLUMNS = ("name", "audio", "channel", "start", "end", "split", "text")


class Segment(NamedTuple):
    """What one side of a conversation says at a time."""

    name: str  # unique
    recording: str  # as its file is called, without suffix
    side: str  # one of SIDES
    start: float  # s
    end: float  # s
    text: str  # words to train on, not normalized; empty: nothing but noise


class Row(NamedTuple):
    """A line of the list."""

    segment: Segment  # with normalized text
    split: str
    audio: pathlib.Path  # absolute


@dataclasses.dataclass
class Gathered:
    """Segments with their recordings, and what was left out.

    Attributes:
        rows: the lines of the list.
        left_out: number of segments by reason.
        missing: recordings that were not found, sorted.
    """

    rows: list[Row] = dataclasses.field(default_factory=list)
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    missing: list[str] = dataclasses.field(default_factory=list)

    def extend(self, other: "Gathered") -> None:
        """Takes another corpus in."""
        self.rows += other.rows
        self.left_out += other.left_out
        self.missing += other.missing


def find_files(folder: str | os.PathLike[str], suffixes: Sequence[str]) -> list[pathlib.Path]:
    """The files below a folder with one of some suffixes, in any case, sorted.

    Raises:
        ValueError: if the folder does not exist or holds no such file.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; correct the path.")
    found = [
        path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(tuple(suffixes))
    ]
    if not found:
        raise ValueError(f"{folder}: holds no file {' or '.join(f'*{s}' for s in suffixes)}.")
    return found


def find_recordings(folder: str | os.PathLike[str]) -> dict[str, pathlib.Path]:
    """The recordings below a folder by name, as SPHERE, WAV or FLAC.

    Args:
        folder: where the discs were copied to, in any arrangement. Of recordings that are there
            several times, decoded ones (WAV, FLAC) are preferred.

    Raises:
        ValueError: if there is none.
    """
    found = find_files(folder, AUDIO_SUFFIXES)
    found.sort(key=lambda path: AUDIO_SUFFIXES.index(path.suffix.lower()))
    return {path.stem.lower(): path.resolve() for path in found}


def gather(
    segments: Iterable[Segment],
    recordings: dict[str, pathlib.Path],
    choose_split: Callable[[Segment], str],
) -> Gathered:
    """Joins segments with recordings.

    Args:
        segments: of one or more conversations.
        recordings: paths by name, see `find_recordings`.
        choose_split: ``train``, ``dev`` or ``test``.

    Returns:
        The lines of the list and what was left out.

    Raises:
        AudioError: if a recording cannot be read, for instance since it is compressed, or has not
            two channels.
        ValueError: if there is a recording of none of the segments.
    """
    result = Gathered()
    seconds: dict[str, float] = {}
    missing: set[str] = set()
    for segment in segments:
        path = recordings.get(segment.recording.lower())
        text = normalize(segment.text)
        if path is None:
            missing.add(segment.recording)
            result.left_out["no recording"] += 1
            continue
        if segment.recording not in seconds:
            seconds[segment.recording] = _measure(path)
        end = min(segment.end, seconds[segment.recording])
        if not text:
            result.left_out["no words"] += 1
        elif end - segment.start < SHORTEST:
            result.left_out[f"shorter than {SHORTEST} s, or past the end"] += 1
        else:
            kept = segment._replace(text=text, end=end)
            result.rows.append(Row(kept, choose_split(segment), path))
    result.missing = sorted(missing)
    if not seconds:
        raise ValueError(
            f"no recording of {len(missing)} conversations was found, such as "
            f"{', '.join(result.missing[:3])}; the folder of recordings must hold them as "
            f"{', '.join(f'{name}.sph' for name in result.missing[:1]) or '*.sph'}, .wav or .flac."
        )
    return result


def split_by_hash(conversation: str, *, share: float = 0.02, test: bool = True) -> str:
    """Train, dev or test, by the hash of a conversation's name, so that it depends on no other.

    Args:
        conversation: its name.
        share: probability of dev, and of test.
        test: whether there is a test split; those conversations are for training otherwise.
    """
    digest = hashlib.sha256(conversation.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < share:
        return "dev"
    return "test" if test and position < 2 * share else "train"


def write(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Writes a list for `corpus.manifest`, as a whole or not at all.

    Args:
        path: a ``.tsv`` file.
        rows: its lines.
    """
    path = pathlib.Path(path)
    with whole_file.draft(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        table.writerow(COLUMNS)
        for (name, _, side, start, end, text), split, audio in rows:
            channel = SIDES.index(side)
            table.writerow((name, audio, channel, f"{start:.3f}", f"{end:.3f}", split, text))


def _measure(path: pathlib.Path) -> float:
    """Seconds of a recording of two channels."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        remedy = sphere.find_remedy(path) or "convert it to WAV or FLAC"
        raise AudioError(f"{path}: not readable as audio: {remedy}.") from None
    if info.channels != len(SIDES):
        raise AudioError(
            f"{path}: has {info.channels} channel(s), but a conversation has two; convert it "
            "again with both, without `-c`."
        )
    return info.frames / info.samplerate
