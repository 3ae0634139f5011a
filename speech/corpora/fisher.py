"""Fisher English (LDC2004T19, LDC2005T19), and other transcripts of the LDC in its form.

A transcript is one text of both sides, whose lines are start and end in seconds, the side, and what
is said:

    # fe_03_00001.sph
    7.82 9.35 B: ((i think)) it's a- it's on [laughter] t._v. uh-huh

That of Hub5'00 in ``LDC2002T43/reference/english`` differs in signs: ``%um``, ``{breath}`` and
``<contraction e_form="[it=>it]['s=>is]">it's``. Signs are reduced to what is spoken, as in
`switchboard`; words in ``(( ))``, of which the transcriber was not sure, are kept.

References:
    Cieri, Miller, Walker, The Fisher corpus: a resource for the next generations of speech-to-text,
    LREC 2004.
"""

import os
import pathlib
import re
from collections.abc import Iterator

from .conversations import SIDES, Segment, find_files
from .switchboard import join_backchannel

_LINE = re.compile(r"(\d+(?:\.\d*)?)\s+(\d+(?:\.\d*)?)\s+([A-Z])\d*\s*:\s*(.*)")
_TAG = r"""<\w[^<>"]*(?:"[^"]*"[^<>"]*)*>"""  # an attribute may hold brackets and arrows
_SIGN = r"\[[^\[\]]*\]|\{[^{}]*\}|\(\(|\)\)|(?<!\S)[%~+*]"
_NOISE = re.compile(f"{_TAG}|{_SIGN}")
_LETTER = re.compile(r"(?<![A-Za-z])([A-Za-z])\._?")


def read_transcripts(folder: str | os.PathLike[str]) -> Iterator[Segment]:
    """All segments, in the order of their files.

    Args:
        folder: one with ``fe_03_NNNNN.txt`` somewhere below it.

    Yields:
        Segments; those of noise have no text.

    Raises:
        ValueError: if there is no transcript, or a line of one has another form.

    Example:
        >>> segments = read_transcripts("LDC2004T19")  # doctest: +SKIP
        >>> next(segments).recording  # doctest: +SKIP
        'fe_03_00001'
    """
    paths = [path for path in find_files(folder, [".txt"]) if path.stem.startswith("fe_03_")]
    if not paths:
        raise ValueError(f"{folder}: holds no transcript fe_03_*.txt.")
    for path in paths:
        yield from read_file(path)


def read_file(path: str | os.PathLike[str]) -> Iterator[Segment]:
    """The segments of one conversation.

    Raises:
        ValueError: if a line has another form.
    """
    path = pathlib.Path(path)
    for number, line in enumerate(path.read_text("latin-1").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[3] not in SIDES:
            raise ValueError(
                f"{path}, line {number}: must be `start end A: words`, got {line[:60]!r}."
            )
        yield Segment(
            name=f"{path.stem}-{match[3]}-{number:04d}",
            recording=path.stem,
            side=match[3],
            start=float(match[1]),
            end=float(match[2]),
            text=clean(match[4]),
        )


def clean(text: str) -> str:
    """Reduces a transcript to what is spoken; see the head of this module.

    Example:
        >>> clean("((i think)) it's a- [laughter] t._v. %um uh-huh")
        "i think it's a- t v um uhhuh"
    """
    words = _LETTER.sub(r"\1 ", _NOISE.sub(" ", text)).split()
    return " ".join(join_backchannel(word) for word in words)
