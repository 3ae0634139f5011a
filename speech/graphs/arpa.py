r"""Files of back-off language models, as every toolkit reads and writes them: ``.arpa``.

    \data\
    ngram 1=4
    ngram 2=2

    \1-grams:
    -99    <s>     -0.30103
    -0.7   press   -0.30103
    -1.2   </s>
    -2.0   <unk>

    \2-grams:
    -0.1   <s> press
    -0.2   press </s>

    \end\

An n-gram has the common logarithm of its probability, its words, and, where longer ones may follow,
that of its back-off weight. Files may be gzipped.

References:
    A. Stolcke, ngram-format(5), SRI Language Modeling Toolkit.
"""

import gzip
import math
import os
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...core import whole_file
from .ngram import BEGIN, END, NEVER, SPECIAL, UNKNOWN, NGram

_LONGEST = 9  # words of an n-gram


class _Entry(NamedTuple):
    """A line of an n-gram."""

    line: int
    words: list[str]
    log_prob: float  # common
    log_backoff: float  # common


def write_arpa(path: str | os.PathLike[str], model: NGram) -> None:
    """Writes a model, gzipped if the name ends in ``.gz``."""
    path = pathlib.Path(path)
    sizes = np.diff(model.offsets[1:])
    head = [f"ngram {length}={size}\n" for length, size in enumerate(sizes, start=1)]
    text = ["\\data\\\n", *head, *_sections(model), "\n\\end\\\n"]
    data = "".join(text).encode("utf-8")
    whole_file.write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_arpa(path: str | os.PathLike[str]) -> NGram:
    r"""Reads a model.

    Args:
        path: text in UTF-8, gzipped if the name ends in ``.gz``. Lines before ``\data\`` are
            comments. ``<unk>`` may be missing; it is then as good as impossible.

    Raises:
        ValueError: if the file is no model; it names the line.
    """
    lines = _Lines(path)
    sizes = _read_sizes(lines)
    levels = [_read_section(lines, n, size, len(sizes)) for n, size in enumerate(sizes, start=1)]
    lines.expect("\\end\\")
    return _build(lines, levels)


def _sections(model: NGram) -> Iterator[str]:
    """The text of each length."""
    log_probs = model.log_probs / math.log(10)
    log_backoffs = model.log_backoffs / math.log(10)
    texts = [""]
    for length in range(1, model.order + 1):
        nodes = range(*model.offsets[length : length + 2])
        below = model.offsets[length - 1]
        texts = [
            f"{texts[model.parents[i] - below]} {model.words[model.last_words[i]]}".lstrip()
            for i in nodes
        ]
        yield f"\n\\{length}-grams:\n"
        for i, text in zip(nodes, texts, strict=True):
            backoff = f"\t{log_backoffs[i]:.8g}" if length < model.order else ""
            yield f"{log_probs[i]:.8g}\t{text}{backoff}\n"


class _Lines:
    """The lines of a file that are not empty."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path, self.number = pathlib.Path(path), 0
        try:
            data = self.path.read_bytes()
            data = gzip.decompress(data) if self.path.suffix == ".gz" else data
            self._lines = iter(data.decode("utf-8").split("\n"))
        except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{self.path}: must be a model in UTF-8 ({whole_file.reason(error)})."
            ) from None

    def next(self) -> str:
        """The next line."""
        for line in self._lines:
            self.number += 1
            if line.strip():
                return line.strip()
        raise ValueError(
            f"{self.path}: must be a model from `\\data\\` to `\\end\\`, but ends early."
        )

    def error(self, rule: str, line: str, number: int | None = None) -> ValueError:
        """The error of a line."""
        place = self.number if number is None else number
        return ValueError(f"{self.path}, line {place}: must be {rule}, got {line[:80]!r}.")

    def expect(self, wanted: str) -> None:
        """Reads a line that is known."""
        if (line := self.next()) != wanted:
            raise self.error(f"`{wanted}`", line)


def _read_sizes(lines: _Lines) -> list[int]:
    """How many n-grams of each length there are."""
    while lines.next() != "\\data\\":
        pass
    sizes: list[int] = []
    while (line := lines.next()) != "\\1-grams:":
        match = re.fullmatch(r"ngram\s+(\d{1,2})\s*=\s*(\d{1,12})", line)
        if match is None or int(match[1]) != len(sizes) + 1 or len(sizes) == _LONGEST:
            rule = f"`ngram {len(sizes) + 1}=<number>`, of at most {_LONGEST} words"
            raise lines.error(rule, line)
        sizes.append(int(match[2]))
    if not sizes:
        raise lines.error("`ngram 1=<number>`", line)
    return sizes


def _read_section(lines: _Lines, length: int, size: int, order: int) -> list[_Entry]:
    """The n-grams of a length."""
    if length > 1:  # the head of the first is read already
        lines.expect(f"\\{length}-grams:")
    entries = []
    for _ in range(size):
        line = lines.next()
        fields = line.split()
        try:
            log_prob, *numbers = map(float, [fields[0], *fields[length + 1 :]])
            valid = len(fields) > length and len(numbers) <= (length < order)
            if not valid or not log_prob <= 0 or not all(map(math.isfinite, (log_prob, *numbers))):
                raise ValueError(line)
        except (ValueError, IndexError):
            last = ", and at most a back-off weight" if length < order else ""
            rule = f"a logarithm of a probability, {length} words{last}, {size} such lines"
            raise lines.error(rule, line) from None
        entries.append(_Entry(lines.number, fields[1 : length + 1], log_prob, sum(numbers)))
    return entries


def _build(lines: _Lines, levels: Sequence[Sequence[_Entry]]) -> NGram:
    """Checks the n-grams and orders them."""
    unigrams = {entry.words[0]: entry for entry in levels[0]}
    if missing := {BEGIN, END} - unigrams.keys():
        raise ValueError(f"{lines.path}: must hold the word {' and '.join(sorted(missing))}.")
    words = (*SPECIAL, *sorted(unigrams.keys() - set(SPECIAL)))
    impossible = [] if UNKNOWN in unigrams else [_Entry(0, [UNKNOWN], NEVER, 0.0)]
    none, zeros = np.zeros(1, np.int64), np.zeros(1)
    model = NGram(words, none, none, none, zeros, zeros, (0, 1))
    for entries in [[*levels[0], *impossible], *levels[1:]]:
        model = _extend(model, entries, lines)
    return model


def _extend(model: NGram, entries: Sequence[_Entry], lines: _Lines) -> NGram:
    """A model with longer n-grams."""
    length = model.order + 1
    ids = [[model.ids.get(word, -1) for word in entry.words] for entry in entries]
    numbers = np.array(ids, np.int64).reshape(-1, length)
    parents = np.zeros(len(numbers), np.int64)
    known = numbers.min(axis=1, initial=0) >= 0
    for words in numbers.T[:-1]:
        parents = model.find(parents, words)
        known = known & (parents > 0)
    last_words = numbers[:, -1]
    order = np.lexsort((last_words, parents))
    parents, last_words, known = parents[order], last_words[order], known[order]
    new = np.ones(len(known), bool)
    new[1:] = (parents[1:] > parents[:-1]) | (last_words[1:] > last_words[:-1])
    for fits, rule in ((known, f"after the {length - 1}-gram that it extends"), (new, "new")):
        if not fits.all():
            entry = entries[int(order[~fits][0])]
            raise lines.error(f"an n-gram {rule}", " ".join(entry.words), entry.line)
    suffixes = model.locate(model.suffixes[parents], last_words)[0] if length > 1 else parents
    numbers = np.array([entry[2:] for entry in entries]).reshape(-1, 2)[order] * math.log(10)
    return NGram(
        model.words,
        np.concatenate([model.parents, parents]),
        np.concatenate([model.last_words, last_words]),
        np.concatenate([model.suffixes, suffixes]),
        np.concatenate([model.log_probs, numbers[:, 0]]),
        np.concatenate([model.log_backoffs, numbers[:, 1]]),
        (*model.offsets, model.offsets[-1] + len(entries)),
    )
