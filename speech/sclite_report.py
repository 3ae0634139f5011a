"""What a recognizer heard, for NIST's scoring tools and scored in their way, in one folder.

    reference.stm    what was said, see `sclite`
    hypothesis.ctm   what was heard, word by word
    rules.glm        rules that map words, if the corpus has such
    scores.tsv       errors in all and by set, see `scoring`

A list of recordings ``calls.tsv`` has the reference of its test split beside it, ``calls.stm``, if
that has alternatives and sets, and ``calls.glm`` if it has rules. `gossamer corpus switchboard`
puts those of Hub5'00 there. Otherwise the texts of the list are the reference.
"""

import os
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import NamedTuple

from ..core import whole_file
from . import sclite, scoring, word_times
from .corpora import hub5
from .corpora.conversations import SIDES
from .corpora.corpus import Utterances
from .corpora.records import Row
from .scoring import SetScore
from .transcript import Transcript

FRAME_SECONDS = 0.04  # how long a word's last character is taken to last


class Report(NamedTuple):
    """What was written."""

    scores: list[SetScore]
    command: str  # that computes the same
    unread: int  # segments of the reference that the corpus lacks


def write(
    folder: str | os.PathLike[str],
    utterances: Utterances,
    transcripts: Sequence[Transcript],
    rows: Sequence[Row],
    *,
    source: str | os.PathLike[str] | None = None,
) -> Report:
    """Writes the files and scores.

    Args:
        folder: where to; made if it does not exist.
        utterances: what was read.
        transcripts: what was heard, in the same order.
        rows: of the corpus, among them those of the utterances, by name.
        source: the list of recordings, beside which a reference may lie.

    Returns:
        The scores and the command of NIST's tools that gives the same.

    Raises:
        ValueError: if the reference or the rules cannot be read.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    segments = list_segments(utterances, rows)
    given = None if source is None else pathlib.Path(source).with_suffix(".stm")
    words: list[sclite.TimedWord] = []
    if given is not None and given.is_file():
        reference = sclite.read_stm(given)
        rules = given.with_suffix(".glm") if given.with_suffix(".glm").is_file() else None
    else:
        reference, rules, given = sclite.Reference(segments, {}), None, None
    for segment, transcript in zip(segments, transcripts, strict=True):
        heard = word_times.join_characters(transcript.labels)
        texts = [word.text for word in heard]
        texts = hub5.respell(texts) if given is not None else texts
        timed = [
            (text, word.start, word.end + FRAME_SECONDS)
            for text, word in zip(texts, heard, strict=True)
        ]
        words += sclite.place_words(timed, segment)
    sclite.write_stm(folder / "reference.stm", reference)
    sclite.write_ctm(folder / "hypothesis.ctm", words)
    if rules is not None:
        shutil.copyfile(rules, folder / "rules.glm")
    scores = scoring.score(reference, words, rules=rules)
    _write_scores(folder / "scores.tsv", scores)
    scored = sum(segment.text.upper() != sclite.IGNORED for segment in reference.segments)
    command = (
        f"sctk sclite -r {folder}/reference.stm stm -h {folder}/hypothesis.ctm ctm -F -D"
        if rules is None
        else f"sctk hubscr.pl -V -l english -h hub5 -g {folder}/rules.glm "
        f"-r {folder}/reference.stm {folder}/hypothesis.ctm"
    )
    return Report(scores, command, max(0, scored - len(segments)))


def list_segments(utterances: Utterances, rows: Sequence[Row]) -> list[sclite.Segment]:
    """The segments of utterances, named after the files of their recordings.

    Args:
        utterances: of the corpus.
        rows: of the corpus.

    Returns:
        Segments in the order of the utterances.
    """
    by_name = {row.name: row for row in rows}
    own = [by_name[utterance.name] for utterance in utterances]
    names = _name_recordings([row.path for row in own])
    segments = []
    for row, text, seconds in zip(own, utterances.texts, utterances.seconds, strict=True):
        number = row.channel or 0
        channel = SIDES[number] if number < len(SIDES) else str(number)
        start = row.start or 0.0
        name = names[row.path]
        segments.append(
            sclite.Segment(name, channel, f"{name}_{channel}", start, start + seconds, (), text)
        )
    return segments


def _name_recordings(paths: Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """The stems of files, or as much of their paths as tells them apart, without spaces."""
    different = list(dict.fromkeys(paths))
    names = {path: re.sub(r"\s", "_", path.stem) for path in different}
    if len(set(names.values())) == len(names):
        return names
    parent = os.path.commonpath([path.parent for path in different])
    parts = {path: path.relative_to(parent).as_posix() for path in different}
    return {path: re.sub(r"[\s/]", "_", name) for path, name in parts.items()}


def _write_scores(path: pathlib.Path, scores: Sequence[SetScore]) -> None:
    header = ("set", "segments", "words", "substitutions", "deletions", "insertions", "wer")
    lines = [header]
    lines += [
        (s.title, str(s.segments), *map(str, s.counts), f"{s.counts.rate:.4f}") for s in scores
    ]
    whole_file.write_text(path, "".join("\t".join(line) + "\n" for line in lines))
