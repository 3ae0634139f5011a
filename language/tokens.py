"""Texts as numbers, with the characters that each number stands for.

A text is put in lower case and split into words and signs; a word becomes the longest pieces that
the vocabulary has ("##" marks those inside a word), or [UNK].  This is the WordPiece of BERT, so a
pretrained encoder reads what it was trained on; a vocabulary of whole words, counted in a corpus,
is the special case without pieces.  Offsets lead back to the characters, for highlighting.

References:
    J. Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding", 2018, arXiv:1810.04805.
"""

import collections
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = re.compile(r"\w+|[^\w\s]")
LONGEST_WORD = 100  # characters; longer ones are [UNK]


class Encoded(NamedTuple):
    """A text as numbers, [CLS] and [SEP] around it."""

    ids: np.ndarray  # [T] int32
    offsets: list[tuple[int, int]]  # [T] characters from, to; empty for [CLS] and [SEP]
    words: list[int]  # [T] number of the word or sign in the text; -1 for [CLS] and [SEP]


class Tokenizer:
    """Numbers the pieces of texts.

    Args:
        vocabulary: pieces in the order of their numbers, [PAD] first, with all of `SPECIAL`.
        max_length: tokens of a text at most, [CLS] and [SEP] included; what is longer is cut.

    Example:
        >>> Tokenizer([*SPECIAL, "good"]).encode("Good film").ids.tolist()
        [2, 5, 1, 3]
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int = 64):
        self.vocabulary = tuple(vocabulary)
        self.max_length = max_length
        self._numbers = {piece: number for number, piece in enumerate(self.vocabulary)}
        missing = [piece for piece in SPECIAL if piece not in self._numbers]
        if missing or self.vocabulary[0] != SPECIAL[0]:
            raise ValueError(
                f"`vocabulary` must start with [PAD] and hold {', '.join(SPECIAL)}, got one that "
                f"starts with {self.vocabulary[:1]} and lacks {missing}."
            )
        if max_length < 3:
            raise ValueError(f"`max_length` must be at least 3, got {max_length}.")
        self.unknown_id, self.start_id, self.end_id, self.mask_id = (
            self._numbers[piece] for piece in SPECIAL[1:]
        )

    def encode(self, text: str) -> Encoded:
        """A text as numbers; what is too long is cut at its end."""
        ids, offsets, words = [self.start_id], [(0, 0)], [-1]
        for word, match in enumerate(WORDS.finditer(text)):
            for number, start, end in self._pieces(match.group()):
                ids.append(number)
                words.append(word)
                offsets.append((match.start() + start, match.start() + end))
        room = self.max_length - 1
        ids = np.array([*ids[:room], self.end_id], np.int32)
        return Encoded(ids, [*offsets[:room], (0, 0)], [*words[:room], -1])

    def encode_all(self, texts: Iterable[str], length: int | None = None) -> np.ndarray:
        """Texts as rows [N, length] int32, filled up with 0; `max_length` by default."""
        rows = [self.encode(text).ids for text in texts]
        ids = np.zeros((len(rows), length or self.max_length), np.int32)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = found[: len(row)]
        return ids

    def _pieces(self, word: str) -> list[tuple[int, int, int]]:
        """Number, start and end of each piece of a word."""
        plain = fold(word)
        # Offsets are those of the word as written, if folding kept its length.
        exact = len(plain) == len(word)
        pieces, start = [], 0
        while start < len(plain) <= LONGEST_WORD:
            for end in range(len(plain), start, -1):
                number = self._numbers.get("##" * (start > 0) + plain[start:end])
                if number is not None:
                    break
            else:
                break
            pieces.append((number, start, end) if exact else (number, 0, len(word)))
            start = end
        return pieces if plain and start == len(plain) else [(self.unknown_id, 0, len(word))]


def fold(word: str) -> str:
    """A word in lower case and without accents."""
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(x for x in decomposed if unicodedata.category(x) != "Mn")


def split_words(text: str) -> list[str]:
    """Folded words and signs of a text."""
    return [fold(word) for word in WORDS.findall(text)]


def count_vocabulary(texts: Iterable[str], *, size: int = 8000, min_count: int = 2) -> list[str]:
    """A vocabulary of the most frequent whole words.

    Args:
        texts: of the training set.
        size: entries at most, the special ones included.
        min_count: how often a word must occur.
    """
    counts: Any = collections.Counter(word for text in texts for word in split_words(text))
    frequent = sorted(
        (word for word in counts if counts[word] >= min_count),
        key=lambda word: (-counts[word], word),
    )
    return [*SPECIAL, *frequent][:size]
