"""Hub5'00, the English evaluation of the year 2000 (LDC2002S09, LDC2002T43): SWB and CH.

Twenty Switchboard conversations (``sw_4390``) and twenty CallHome ones (``en_4156``), of which a
part is transcribed. The reference is ``hub5e00.english.000405.stm`` (see `sclite`), with the rules
``en20000405_hub5.glm`` (see `word_mapping`) beside it; where it is missing, the transcripts
``reference/english/*.txt`` serve.

Recognizers of 28 characters write "uhhuh" and "t v". ``respell`` writes that as the references do,
"uh-huh" and "t. v.".

References:
    NIST, The 2000 NIST evaluation plan for recognition of conversational speech over the telephone.
"""

import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import sclite
from . import conversations, fisher, switchboard

_WORDS = ("a", "i", "o")  # of one letter
_HYPHENATED = {joined: word for word, joined in switchboard.BACKCHANNELS.items()}


class Evaluation(NamedTuple):
    """The reference of an evaluation."""

    segments: list[conversations.Segment]  # to read, with a plain text of each
    reference: sclite.Reference
    rules: pathlib.Path | None  # a .glm file


def read_reference(folder: str | os.PathLike[str]) -> Evaluation:
    """Finds and reads the reference.

    Args:
        folder: one with ``reference`` somewhere below it.

    Returns:
        The segments that are scored, and how.

    Raises:
        ValueError: if there is neither a ``.stm`` nor a transcript, several ``.stm``, or a line has
            another form.

    Example:
        >>> evaluation = read_reference("LDC2002T43")  # doctest: +SKIP
    """
    paths = conversations.find_files(folder, [".stm", ".glm", ".txt"])
    references = [path for path in paths if path.suffix.lower() == ".stm"]
    rules = [path for path in paths if path.suffix.lower() == ".glm"]
    if len(references) > 1 or len(rules) > 1:
        several = references if len(references) > 1 else rules
        raise ValueError(
            f"{folder}: holds several references, {several[0]} and {several[1]}; name the folder "
            "of one."
        )
    if references:
        reference = sclite.read_stm(references[0])
        segments = list(_plain_segments(reference.segments))
    else:
        transcripts = [path for path in paths if re.match("(sw|en)_[0-9]+$", path.stem)]
        if not transcripts:
            raise ValueError(f"{folder}: holds neither a *.stm nor sw_*.txt and en_*.txt.")
        segments = [segment for path in transcripts for segment in fisher.read_file(path)]
        reference = sclite.Reference([_to_reference(segment) for segment in segments], {})
    return Evaluation(segments, reference, rules[0] if rules else None)


def respell(words: Sequence[str]) -> list[str]:
    """Writes normalized words as the references do.

    Args:
        words: of one segment, in order.

    Returns:
        As many words: backchannels with their hyphen, letters with a period. A letter that is a
        word too counts as that, unless it follows another letter; "i" and "o" also if they
        precede one.

    Example:
        >>> respell("uhhuh i saw a t v in the u s".split())
        ['uh-huh', 'i', 'saw', 'a', 't.', 'v.', 'in', 'the', 'u.', 's.']
    """
    letters = [re.fullmatch("[a-z](?:'s)?", word) is not None for word in words]
    result = []
    for index, word in enumerate(words):
        inside = index > 0 and letters[index - 1] and "." in result[-1]
        following = "".join(words[index + 1 : index + 2])
        first = word in ("i", "o") and re.fullmatch("[b-hj-np-z]", following) is not None
        if letters[index] and (inside or first or word not in _WORDS):
            word = f"{word[0]}.{word[1:]}"
        result.append(_HYPHENATED.get(word, word))
    return result


def plain_text(text: str) -> str:
    """One way to say the text of a reference: the first alternatives, all words in parentheses.

    Example:
        >>> plain_text("{ I'D / I WOULD } (%HESITATION) SEE { @ / THE } TH-")
        "I'D uh SEE TH-"
    """
    innermost = re.compile(r"\{([^{}/]*)(?:/[^{}]*)?\}")
    while innermost.search(text):
        text = innermost.sub(r" \1 ", text)
    text = re.sub(r"%(hesitation|bcack|bcnack)", _say, text, flags=re.IGNORECASE)
    words = re.sub(r"[()%]|<[^<>]*>|\[[^\[\]]*\]", " ", text).replace(". ", " ").rstrip(".").split()
    return " ".join(switchboard.join_backchannel(word) for word in words if word != "@")


def _say(match: re.Match[str]) -> str:
    return {"hesitation": "uh", "bcack": "uh-huh", "bcnack": "uh-uh"}[match[1].lower()]


def _plain_segments(segments: Sequence[sclite.Segment]) -> Iterator[conversations.Segment]:
    """Those that are scored, with a plain text."""
    for segment in segments:
        if segment.text.upper() == sclite.IGNORED:
            continue
        if segment.channel.upper() not in conversations.SIDES:
            raise ValueError(
                f"the channel of {segment.recording} at {segment.start:g} s must be A or B, got "
                f"{segment.channel!r}."
            )
        yield conversations.Segment(
            name=f"{segment.recording}-{segment.channel}-{round(1000 * segment.start):07d}",
            recording=segment.recording,
            side=segment.channel.upper(),
            start=segment.start,
            end=segment.end,
            text=plain_text(segment.text),
        )


def _to_reference(segment: conversations.Segment) -> sclite.Segment:
    """A segment of a transcript without alternatives."""
    speaker = f"{segment.recording}_{segment.side}"
    return sclite.Segment(
        segment.recording, segment.side, speaker, segment.start, segment.end, (), segment.text
    )
