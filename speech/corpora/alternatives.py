"""Alternative transcripts of utterances, as decoders heard them, for n-best label smoothing.

They are decoded once and stored, one utterance per line, as JSON Lines:

    {"name": "agent-pass", "alternatives": ["please enter your password", "please enter you pass"]}

Lines of the same name, for instance of several recognizers, are pooled.  Batches hold them as
``[batch, number, labels]``, where what is all padding is no alternative.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ...core import whole_file
from ..text import BLANK_ID, Vocabulary

Alternatives = Mapping[str, Sequence[str]]  # texts by the name of the utterance


def read(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Reads a file of alternatives.

    Args:
        path: a JSON Lines file, UTF-8.

    Returns:
        The texts of each name, those of equal names together, in the order of the file.

    Raises:
        ValueError: if the file cannot be read or a line has another form.
    """
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{os.fspath(path)}: not a readable file of UTF-8 ({whole_file.reason(error)}); "
            "`gossamer alternatives` writes such files."
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, texts = entry["name"], entry["alternatives"]
            if not isinstance(texts, list) or not all(isinstance(x, str) for x in [name, *texts]):
                raise TypeError("a name and a list of texts are needed")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f'{os.fspath(path)}, line {number}: must be {{"name": ..., "alternatives": '
                f"[text, ...]}}, got {line[:80]!r} ({error!r})."
            ) from error
        found[name] = (*found.get(name, ()), *texts)
    return found


def write(path: str | os.PathLike[str], alternatives: Alternatives) -> None:
    """Writes a file of alternatives, one line per name."""
    lines = (
        json.dumps({"name": name, "alternatives": list(texts)}, ensure_ascii=False)
        for name, texts in alternatives.items()
    )
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check(alternatives: Alternatives, vocabulary: Vocabulary) -> None:
    """Refuses alternatives with unknown characters.

    Raises:
        ValueError: if there are such.
    """
    for name, texts in alternatives.items():
        for text in texts:
            if unknown := vocabulary.unknown(text):
                raise ValueError(
                    f"`alternatives` of {name} have characters outside the vocabulary: {unknown!r} "
                    f"in {text!r}; decode with a recognizer of this vocabulary."
                )


def join(pieces: Iterable[tuple[str, Sequence[str]]], separator: str) -> list[str]:
    """Alternatives of a row that joins utterances: the first ones together, the second ones, ...

    Args:
        pieces: the true text and the alternatives of each utterance; where one has fewer than
            another, its true text stands in.
        separator: between utterances.

    Returns:
        As many as the utterance with most of them has.
    """
    texts, others = zip(*pieces, strict=True)
    return [
        separator.join(texts[i] if part is None else part for i, part in enumerate(parts))
        for parts in zip_longest(*others)
    ]


def encode(
    rows: Sequence[Sequence[str]], vocabulary: Vocabulary, *, number: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The alternatives of a batch as arrays.

    Args:
        rows: of each row, at most `number` texts; empty ones and those longer than `length` are
            left out.
        vocabulary: numbers the characters.
        number: of alternatives.
        length: of labels.

    Returns:
        ``[batch, number, length]`` int32 labels and float32 paddings.
    """
    labels = np.full((len(rows), number, length), BLANK_ID, np.int32)
    paddings = np.ones(labels.shape, np.float32)
    for row, texts in enumerate(rows):
        usable = [text for text in texts if 0 < len(text) <= length]
        for place, text in enumerate(usable):
            labels[row, place, : len(text)] = vocabulary.encode(text)
            paddings[row, place, : len(text)] = 0
    return labels, paddings
