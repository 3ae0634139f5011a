"""The files of NIST's sclite: references as ``.stm``, time-marked hypotheses as ``.ctm``.

    sw_4390 A sw_4390_A 12.50 15.25 <O,sw> { I'D / I WOULD } LIKE (%HESITATION) TO SEE TH-
    sw_4390 A 12.71 0.18 i'd

A line of ``.stm`` is a segment: recording, channel, speaker, start and end in seconds, the sets
that it belongs to, and what is said, which may have alternatives in braces and words in parentheses
that may be missing. A line of ``.ctm`` is a word: recording, channel, start and duration in
seconds, text. Comment lines ``;; LABEL "sw" "Switchboard" ""`` give the sets their titles.

References:
    NIST, Scoring Toolkit (SCTK) 2.4, sclite: input file formats.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core import whole_file

IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"  # in place of a text

_SEGMENT = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)(?:\s+(<[^<>\s]*>))?(?:\s+(.*))?")
_LABEL = re.compile(r';;\s*LABEL\s+"([^"]*)"\s+"([^"]*)"', re.IGNORECASE)


class Segment(NamedTuple):
    """A line of a reference."""

    recording: str
    channel: str
    speaker: str
    start: float  # s
    end: float  # s
    labels: tuple[str, ...]  # sets
    text: str


class TimedWord(NamedTuple):
    """A line of a hypothesis."""

    recording: str
    channel: str
    start: float  # s
    duration: float  # s
    text: str


class Reference(NamedTuple):
    """A reference file."""

    segments: list[Segment]
    titles: dict[str, str]  # of sets, by label, in order


def read_stm(path: str | os.PathLike[str]) -> Reference:
    """Reads a reference.

    Doubled parentheses and the marks of asides, which sclite does not take either, are left out.

    Args:
        path: a ``.stm`` file.

    Raises:
        ValueError: if it cannot be read or a line has another form.
    """
    segments: list[Segment] = []
    titles: dict[str, str] = {}
    for number, line in _read_lines(path):
        if line.startswith(";;"):
            if label := _LABEL.match(line):
                titles[label[1]] = label[2]
            continue
        match = _SEGMENT.fullmatch(line)
        try:
            if match is None:
                raise ValueError(line)
            labels = tuple(filter(None, (match[6] or "").strip("<>").split(",")))
            text = re.sub(r"<[BE]_ASIDE>", " ", match[7] or "", flags=re.IGNORECASE)
            text = " ".join(text.replace("((", "(").replace("))", ")").split())
            times = float(match[4]), float(match[5])
            segments.append(Segment(match[1], match[2], match[3], *times, labels, text))
        except ValueError:
            raise ValueError(
                f"{os.fspath(path)}, line {number}: must be `recording channel speaker start end "
                f"[<labels>] text`, got {line[:80]!r}."
            ) from None
    return Reference(segments, titles)


def write_stm(path: str | os.PathLike[str], reference: Reference) -> None:
    """Writes a reference, sorted as sclite wants it."""
    lines = [f';; LABEL "{label}" "{title}" "{title}"' for label, title in reference.titles.items()]
    for segment in sorted(reference.segments, key=lambda s: (s.recording, s.channel, s.start)):
        labels = f"<{','.join(segment.labels)}> " if segment.labels else ""
        head = f"{segment.recording} {segment.channel} {segment.speaker}"
        lines.append(f"{head} {segment.start:.3f} {segment.end:.3f} {labels}{segment.text}")
    _write(path, lines)


def write_ctm(path: str | os.PathLike[str], words: Iterable[TimedWord]) -> None:
    """Writes a hypothesis."""
    _write(path, format_ctm(words))


def format_ctm(words: Iterable[TimedWord]) -> list[str]:
    """The lines of a hypothesis, sorted as sclite wants it."""
    ordered = sorted(words, key=lambda word: (word.recording, word.channel, word.start))
    return [f"{w.recording} {w.channel} {w.start:.3f} {w.duration:.3f} {w.text}" for w in ordered]


def place_words(words: Sequence[tuple[str, float, float]], segment: Segment) -> list[TimedWord]:
    """Dates the words of a segment so that sclite finds them in it, in order.

    sclite gives a word to the segment in which its middle lies. A transducer emits labels late, so
    that the last ones may seem to lie past the end, and several in the same frame; such words are
    moved, by no more than is needed.

    Args:
        words: text, start and end in seconds from the beginning of the segment.
        segment: where they were heard.

    Returns:
        The words, each at least a millisecond long and none before another's start.
    """
    first, last = round(1000 * segment.start) + 1, round(1000 * segment.end) - 1
    starts: list[int] = []
    for index, (_, start, _) in enumerate(words):
        latest = last - 2 * (len(words) - index)
        earliest = starts[-1] + 2 if starts else first
        starts.append(max(earliest, min(first - 1 + round(1000 * start), latest)))
    placed = []
    for index, (text, start, end) in enumerate(words):
        following = starts[index + 1] if index + 1 < len(words) else last
        duration = max(1, min(round(1000 * (end - start)), following - starts[index]))
        placed.append(
            TimedWord(
                segment.recording, segment.channel, starts[index] / 1000, duration / 1000, text
            )
        )
    return placed


def _read_lines(path: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    try:
        lines = pathlib.Path(path).read_text("latin-1").splitlines()
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: cannot be read ({error.strerror}).") from None
    return [(n, line.strip()) for n, line in enumerate(lines, start=1) if line.strip()]


def _write(path: str | os.PathLike[str], lines: Sequence[str]) -> None:
    whole_file.write_text(path, "".join(f"{line}\n" for line in lines))
