"""Sentences for a language model: where they come from, and batches of their labels.

A text is one sentence for each line, plain or gzipped. The bundled prompts have their own split; of
any other text every `HELD_OUT`-th different sentence is held out.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import whole_file
from ..text import Vocabulary, normalize
from . import corpus

HELD_OUT = 20
LONGEST = 256  # labels; longer sentences are cut between words
BOUNDS = (32, 64, 128, LONGEST)  # to which batches are padded: each is compiled once


class Sentences(NamedTuple):
    """Normalized sentences."""

    train: list[str]
    dev: list[str]  # no sentence of `train`


def read_sentences(sources: Sequence[str], *, language: str = "en") -> Sentences:
    """Sentences of some sources together.

    Args:
        sources: ``prompts``, the bundled transcripts, or paths of texts in UTF-8.
        language: see `text.normalize`.

    Returns:
        Different sentences, those of the prompts' test split left out.

    Raises:
        ValueError: if a text cannot be read, or nothing remains to train on or to hold out.
    """
    train: list[str] = []
    dev: list[str] = []
    test: set[str] = set()
    for source in sources:
        if source == "prompts":
            prompts = corpus.telephone_prompts()
            train += [utterance.text for utterance in prompts.train]
            dev += [utterance.text for utterance in prompts.dev]
            test |= {utterance.text for utterance in prompts.test}
            continue
        lines = (normalize(line, language=language) for line in _read_lines(source))
        found = list(dict.fromkeys(line for line in lines if line))
        dev += found[::HELD_OUT]
        train += [line for i, line in enumerate(found) if i % HELD_OUT]
    held_out = dict.fromkeys(line for line in dev if line not in test)
    kept = dict.fromkeys(line for line in train if line not in test and line not in held_out)
    if not kept or not held_out:
        raise ValueError(
            f"`text` {', '.join(sources)} must hold at least two different sentences, one for each "
            f"line; got {len(kept)} to train on and {len(held_out)} to hold out."
        )
    return Sentences(list(kept), list(held_out))


def encode(sentences: Sequence[str], vocabulary: Vocabulary) -> list[np.ndarray]:
    """Labels of sentences, cut to `LONGEST` between words.

    Args:
        sentences: normalized texts.
        vocabulary: their characters; a sentence with any other is left out.

    Returns:
        Arrays of int32 labels, none empty.

    Raises:
        ValueError: if all sentences have other characters.
    """
    encoded = [
        vocabulary.encode(piece)
        for sentence in sentences
        if not vocabulary.unknown(sentence)
        for piece in _cut(sentence)
    ]
    if not encoded:
        raise ValueError(
            f"`text` must be written in the labels {''.join(vocabulary.characters)!r}, but no "
            "sentence is; name a recognizer of its language by `--labels-of`."
        )
    return encoded


class SentenceBatches(Iterator[dict[str, np.ndarray]]):
    """Batches without end, shuffled anew each time around; a function of the seed and position.

    Each has ``labels`` and ``label_paddings`` [num_learners, size / num_learners, U].
    """

    def __init__(self, encoded: list[np.ndarray], size: int, *, num_learners: int, seed: int):
        if size < 1 or size % num_learners:
            raise ValueError(
                f"`batch_size` must be a positive multiple of the {num_learners} learners, got "
                f"{size}."
            )
        self._encoded, self._size, self._learners = encoded, size, num_learners
        self._seed, self._position = seed, 0

    def __next__(self) -> dict[str, np.ndarray]:
        start = self._position * self._size
        self._position += 1
        number = len(self._encoded)
        rows = []
        for index in range(start, start + self._size):
            around, place = divmod(index, number)
            order = np.random.default_rng([self._seed, around]).permutation(number)
            rows.append(self._encoded[order[place]])
        batch = pad(rows)
        return {name: x.reshape(self._learners, -1, *x.shape[1:]) for name, x in batch.items()}

    def get_state(self) -> dict[str, Any]:
        """The position, for a checkpoint."""
        return {"position": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        self._position = int(state["position"])


def pad(rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """``labels`` int32 and ``label_paddings`` float32 [rows, U], U the next of `BOUNDS`."""
    bound = next(bound for bound in BOUNDS if bound >= max(map(len, rows)))
    labels = np.zeros((len(rows), bound), np.int32)
    paddings = np.ones((len(rows), bound), np.float32)
    for i, row in enumerate(rows):
        labels[i, : len(row)] = row
        paddings[i, : len(row)] = 0.0
    return {"labels": labels, "label_paddings": paddings}


def _cut(sentence: str) -> list[str]:
    """Pieces of at most `LONGEST` characters, of whole words where these are no longer."""
    return [
        piece.strip()
        for piece in re.findall(rf".{{1,{LONGEST}}}(?= |$)|\S{{{LONGEST}}}", sentence)
        if piece.strip()
    ]


def _read_lines(source: str) -> list[str]:
    path = Path(source)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ValueError(
            f"`text` must be `prompts` or the path of a text in UTF-8, got {source!r} "
            f"({whole_file.reason(error)})."
        ) from error
