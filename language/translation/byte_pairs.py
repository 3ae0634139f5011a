"""Byte-pair encoding: texts as numbers of frequent pieces of words, and back.

A word starts as its characters; learning joins, again and again, the pair of neighboring pieces
that is most frequent in the training text.  A space belongs to the word behind it, so that joining
the pieces gives back the text, blanks included.  It is here rather than in a library because all
that a run needs of it are the pieces and the order in which they were joined: they lie in its
packed model.

References:
    R. Sennrich, B. Haddow, A. Birch, "Neural Machine Translation of Rare Words with Subword
        Units", 2016, arXiv:1508.07909.
"""

import collections
import heapq
import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np

SPECIAL = ("[PAD]", "[START]", "[END]", "[UNKNOWN]")
PAD, START, END, UNKNOWN = range(4)
WORDS = re.compile(r"\s?[^\W\d_]+|\s?\d|\s?[^\w\s]+|\s?_|\s+")
Pair = tuple[str, str]


class BytePairs:
    """Numbers the pieces of texts.

    Args:
        characters: of the training text, in the order of their numbers.
        merges: pairs of pieces in the order in which they were joined.

    Raises:
        ValueError: if a character is none, or occurs twice.

    Example:
        >>> BytePairs("abc", [("a", "b")]).encode("cab")
        [6, 7, 2]
    """

    def __init__(self, characters: Sequence[str], merges: Sequence[Sequence[str]]):
        if len(set(characters)) < len(characters) or any(len(each) != 1 for each in characters):
            raise ValueError(f"`characters` must be different single ones, got {characters!r}.")
        self.characters = tuple(characters)
        self.merges: tuple[Pair, ...] = tuple((first, second) for first, second in merges)
        self.pieces = (*SPECIAL, *self.characters, *(x + y for x, y in self.merges))
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._numbers: dict[str, int] = {}
        for number, piece in enumerate(self.pieces):
            self._numbers.setdefault(piece, number)
        self._known: dict[str, list[int]] = {}  # words that were met before

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's pieces, `END` behind them; a character never seen is `UNKNOWN`."""
        ids = []
        for word in WORDS.findall(text):
            found = self._known.get(word)
            if found is None:
                found = [self._numbers.get(piece, UNKNOWN) for piece in self._split(word)]
                self._known[word] = found
            ids += found
        return [*ids, END]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of numbers up to `END`; a replacement character stands for `UNKNOWN`."""
        ended = itertools.takewhile(lambda number: number not in (PAD, END), ids)
        return "".join("\ufffd" if x <= UNKNOWN else self.pieces[x] for x in ended)

    def _split(self, word: str) -> list[str]:
        """Pieces of a word: joins the pair that was learned first, until none is left."""
        pieces = list(word)
        while len(pieces) > 1:
            pairs = itertools.pairwise(pieces)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = join(pieces, best)
        return pieces


def learn(texts: Iterable[str], size: int) -> BytePairs:
    """Learns pieces from a text.

    Args:
        texts: training texts, of both languages for a shared vocabulary.
        size: pieces at most, special ones and characters included; fewer if no pair occurs twice.

    Returns:
        What encodes texts; equally frequent pairs are joined in the order of their characters.

    Raises:
        ValueError: if there is no text, or more characters than `size`.
    """
    counts = collections.Counter(word for text in texts for word in WORDS.findall(text))
    characters = sorted({character for word in counts for character in word})
    if not characters or len(SPECIAL) + len(characters) > size:
        raise ValueError(
            f"`size` must leave room for the {len(characters)} characters of the text and "
            f"{len(SPECIAL)} special pieces, and there must be text; got {size}."
        )
    words = [(list(word), count) for word, count in counts.items()]
    pairs: collections.Counter[Pair] = collections.Counter()
    places: dict[Pair, set[int]] = collections.defaultdict(set)  # words that a pair was seen in
    for number, (pieces, count) in enumerate(words):
        for pair in itertools.pairwise(pieces):
            pairs[pair] += count
            places[pair].add(number)
    # A count in the heap may be too high, never too low: it is looked at again when it comes first.
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(SPECIAL) + len(characters) + len(merges) < size:
        negative, best = heapq.heappop(heap)
        if pairs[best] < -negative:
            heapq.heappush(heap, (-pairs[best], best))
            continue
        if pairs[best] < 2:
            break
        merges.append(best)
        changed: set[Pair] = set()
        for number in places.pop(best):
            pieces, count = words[number]
            joined = join(pieces, best)
            for pair in itertools.pairwise(pieces):
                pairs[pair] -= count
            for pair in itertools.pairwise(joined):
                pairs[pair] += count
                places[pair].add(number)
                if best[0] + best[1] in pair:  # else it stood there before
                    changed.add(pair)
            words[number] = joined, count
        for pair in changed:
            heapq.heappush(heap, (-pairs[pair], pair))
    return BytePairs(characters, merges)


def join(pieces: Sequence[str], pair: Pair) -> list[str]:
    """Pieces in which each occurrence of a pair, from the left, became one piece."""
    joined: list[str] = []
    position = 0
    while position < len(pieces):
        two = tuple(pieces[position : position + 2]) == pair
        joined.append("".join(pair) if two else pieces[position])
        position += 2 if two else 1
    return joined


def as_rows(encoded: Sequence[Sequence[int] | np.ndarray], length: int) -> np.ndarray:
    """Numbers of texts as [N, length] int32, `PAD` behind them; what is longer is cut."""
    rows = np.full((len(encoded), length), PAD, np.int32)
    for row, ids in zip(rows, encoded, strict=True):
        row[: len(ids)] = ids[:length]
    return rows
