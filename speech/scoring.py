"""Word error rates of time-marked hypotheses by set, as NIST's sclite and hubscr.pl give them.

Words go to the segment in whose time they are heard, the words of both sides are mapped to one
spelling by the rules of a ``.glm`` file, hyphens inside words become spaces, and each segment is
aligned (see `alternations`). Without rules the figures are those of

    sclite -r reference.stm stm -h hypothesis.ctm ctm -F -D

and with rules those of

    hubscr.pl -l english -h hub5 -g rules.glm -r reference.stm hypothesis.ctm

References:
    NIST, Scoring Toolkit (SCTK) 2.4.
"""

import bisect
import collections
import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from . import word_mapping
from .alternations import Counts, count_errors, total
from .sclite import IGNORED, Reference, Segment, TimedWord

OVERALL = "Overall"
_PREFIXES = {"sw_": "SWB", "en_": "CH"}  # of recordings in Hub5'00: Switchboard and CallHome


class SetScore(NamedTuple):
    """The errors of a set of segments."""

    title: str
    segments: int
    counts: Counts


def score(
    reference: Reference,
    hypothesis: Sequence[TimedWord],
    *,
    rules: str | os.PathLike[str] | None = None,
) -> list[SetScore]:
    """Scores a hypothesis, in all and by set.

    Args:
        reference: segments; those to ignore are, with the words in them.
        hypothesis: words, in any order.
        rules: a ``.glm`` file.

    Returns:
        All segments first, then the sets: those for whose labels the reference has titles, or, if
        it has none, SWB and CH by the names of recordings in Hub5'00.

    Raises:
        ValueError: if a text has alternatives or parentheses that are not in pairs, or the rules
            cannot be read.
    """
    prepare = _preparation("reference", rules), _preparation("hypothesis", rules)
    counts: list[tuple[Segment, Counts]] = []
    for segment, words in assign_words(reference.segments, hypothesis):
        heard = " ".join(prepare[1](word.text) for word in words)
        try:
            counts.append((segment, count_errors(prepare[0](segment.text), heard)))
        except ValueError as error:
            raise ValueError(
                f"reference of {segment.recording} {segment.channel}, {segment.start:g} s: {error}"
            ) from None
    sets: dict[str, list[Counts]] = collections.defaultdict(list)
    for segment, count in counts:
        for title in _titles(segment, reference.titles):
            sets[title].append(count)
    order = [OVERALL, *_PREFIXES.values(), *reference.titles.values()]
    return [
        SetScore(title, len(sets[title]), total(sets[title]))
        for title in dict.fromkeys(order)
        if title in sets
    ]


def assign_words(
    segments: Sequence[Segment], words: Sequence[TimedWord]
) -> list[tuple[Segment, list[TimedWord]]]:
    """Gives each word to the first segment of its channel that ends after the word's middle.

    Words after the last segment go to that one; those in segments to ignore go nowhere.

    Args:
        segments: of any number of recordings.
        words: of the same ones; those of other recordings are left out.

    Returns:
        The segments that count with their words, sorted by recording, channel and time.
    """
    channels: dict[tuple[str, str], list[Segment]] = collections.defaultdict(list)
    ignored: dict[tuple[str, str], list[Segment]] = collections.defaultdict(list)
    for segment in segments:
        kind = ignored if segment.text.upper() == IGNORED else channels
        kind[_channel(segment)].append(segment)
    heard: dict[tuple[str, str], list[TimedWord]] = collections.defaultdict(list)
    for word in words:
        heard[_channel(word)].append(word)
    result = []
    for channel in sorted(channels):
        ordered = sorted(channels[channel], key=lambda segment: segment.start)
        ends = [segment.end for segment in ordered]
        groups: list[list[TimedWord]] = [[] for _ in ordered]
        for word in sorted(heard[channel], key=lambda word: word.start):
            middle = word.start + word.duration / 2
            if not any(segment.start <= middle <= segment.end for segment in ignored[channel]):
                place = bisect.bisect_right(ends, middle)
                groups[min(place, len(ordered) - 1)].append(word)
        result += zip(ordered, groups, strict=True)
    return result


def _channel(of: Segment | TimedWord) -> tuple[str, str]:
    return of.recording.lower(), of.channel.lower()


def _titles(segment: Segment, titles: dict[str, str]) -> list[str]:
    """The sets of a segment, each once."""
    if titles:
        names = [titles[label] for label in segment.labels if label in titles]
    else:
        names = [name for start, name in _PREFIXES.items() if segment.recording.startswith(start)]
    return list(dict.fromkeys([OVERALL, *names]))


def _preparation(kind: str, rules: str | os.PathLike[str] | None) -> Callable[[str], str]:
    """What is done with texts before they are aligned."""
    if rules is None:
        return lambda text: text
    rewrite = word_mapping.compile_rules(word_mapping.read(rules, kind))

    def prepare(text: str) -> str:
        text = rewrite(re.sub(r"([()])", r" \1 ", text))
        return re.sub(r"(?<=[^( ])-(?=[^) ])", " ", text)

    return prepare
