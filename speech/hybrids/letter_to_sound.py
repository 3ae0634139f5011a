"""Pronunciations of words that no dictionary has, learned from one that is there.

Each letter of a word is said as 0 to 2 phones:

    t  o   m  a   t  o
    T  AH  M  EY  T  OW

Which ones is found by expectation maximization over all such alignments of the dictionary, with a
probability of each letter's phones for its own. The letters with their phones, in order, are the
words of an n-gram model (``ngram``), which thus knows what is usual after the letters and phones
before, and backs off where little is known. A new word is read by a beam search for the likeliest.

References:
    M. Bisani and H. Ney, Joint-Sequence Models for Grapheme-to-Phoneme Conversion, 2008 (Speech
    Communication 50).
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..graphs import ngram
from .lexicon import Lexicon, Pronunciation

_ORDER = 8  # letters of an n-gram; more gain nothing on the CMU dictionary
_BEAM = 16
_MOST = 2  # phones of a letter
_ROUNDS = 6  # of expectation maximization
_SAMPLE = 20_000  # pronunciations for it
_RAREST = 1e-6  # probability of what no letter of the sample was said as


@dataclasses.dataclass(frozen=True, eq=False)
class LetterToSound:
    """How letters are said; see `learn`.

    Attributes:
        model: of letters with their phones, which are numbers to it.
        readings: by letter, those numbers [n] and the phones of each.
    """

    model: ngram.NGram
    readings: dict[str, tuple[np.ndarray, tuple[Pronunciation, ...]]]

    def pronounce(self, word: str) -> Pronunciation:
        """The likeliest phones of a word.

        Args:
            word: letters that the dictionary has.

        Raises:
            ValueError: if it has other letters, or none that is heard.
        """
        if strange := sorted(set(word) - self.readings.keys()):
            raise ValueError(
                f"`word` must be written with the letters of the dictionary, got "
                f"{', '.join(strange)} in {word!r}; add its pronunciation to the dictionary."
            )
        contexts, log_probs = np.array([self.model.start]), np.zeros(1)
        heard: list[Pronunciation] = [()]
        for letter in word:
            ids, phones = self.readings[letter]
            step, contexts = self.model.advance(
                np.repeat(contexts, len(ids)), np.tile(ids, len(contexts))
            )
            log_probs = np.repeat(log_probs, len(ids)) + step
            best = np.argsort(-log_probs, kind="stable")[:_BEAM]
            heard = [heard[i // len(ids)] + phones[i % len(ids)] for i in best]
            contexts, log_probs = contexts[best], log_probs[best]
        ends = np.full(len(contexts), self.model.ids[ngram.END])
        log_probs = log_probs + self.model.advance(contexts, ends)[0]
        for i in np.argsort(-log_probs, kind="stable"):
            if heard[i]:
                return heard[i]
        raise ValueError(f"`word` must have a letter that is heard, got {word!r}.")


def cover(lexicon: Lexicon, words: Iterable[str], reader: LetterToSound | None = None) -> Lexicon:
    """Adds the pronunciations that a lexicon lacks.

    Args:
        lexicon: pronunciations.
        words: that must have one.
        reader: learned before, default from `lexicon`, in some seconds where anything is missing.

    Returns:
        The lexicon with the missing words, read letter by letter.

    Raises:
        ValueError: if a word has letters that the lexicon's words lack.
    """
    missing = [word for word in dict.fromkeys(words) if word not in lexicon]
    if not missing:
        return lexicon
    reader = reader or learn(lexicon)
    added = {word: (reader.pronounce(word),) for word in missing}
    return Lexicon({**lexicon.pronunciations, **added})


def learn(lexicon: Lexicon) -> LetterToSound:
    """Learns from all pronunciations of a lexicon; the same each time.

    Args:
        lexicon: words of which most have no more than two phones for each letter; those with more,
            as some abbreviations, teach nothing.

    Raises:
        ValueError: if no word is left.
    """
    pairs = [
        (word, phones)
        for word, variants in sorted(lexicon.pronunciations.items())
        for phones in variants
        if len(phones) <= _MOST * len(word)
    ]
    if not pairs:
        raise ValueError(f"`lexicon` must hold words of at most {_MOST} phones for each letter.")
    aligned = _align(pairs)
    seen = sorted({reading for readings in aligned for reading in readings})
    numbers = {reading: str(number) for number, reading in enumerate(seen)}
    texts = (" ".join(numbers[reading] for reading in readings) for readings in aligned)
    model = ngram.train(texts, order=_ORDER)
    by_letter: dict[str, list[tuple[int, Pronunciation]]] = collections.defaultdict(list)
    for letter, phones in seen:
        by_letter[letter].append((model.ids[numbers[letter, phones]], phones))
    return LetterToSound(
        model,
        {
            letter: (np.array([number for number, _ in found]), tuple(p for _, p in found))
            for letter, found in by_letter.items()
        },
    )


class _Group(NamedTuple):
    """Pronunciations of words with the same number of letters.

    Cells are places in the flat table [letters, readings + 1] of what letters may be said as; its
    last column is what cannot be.
    """

    places: list[int]  # among all pronunciations
    cells: np.ndarray  # [letters of the word, phones taken 0..2, words, phones done 0..longest]
    ends: np.ndarray  # [words] phones of each


def _align(pairs: Sequence[tuple[str, Pronunciation]]) -> list[list[tuple[str, Pronunciation]]]:
    """Each word's letters with their phones."""
    letters = sorted({letter for word, _ in pairs for letter in word})
    phones = sorted({phone for _, said in pairs for phone in said})
    probs = np.ones((len(letters), 2 + len(phones) + len(phones) ** 2))
    probs[:, 1 + len(phones) :] = 0.1  # two phones for a letter are rare
    start = probs
    sample = list(_group(pairs[:: -(-len(pairs) // _SAMPLE)], letters, phones))
    for around in range(_ROUNDS + 1):
        probs[:, -1] = 0.0
        probs = probs / probs.sum(axis=1, keepdims=True)
        probs[:, :-1] += _RAREST
        if around < _ROUNDS:
            counts = np.reshape(sum(_count(group, probs.ravel()) for group in sample), probs.shape)
            seen = counts[:, :-1].any(axis=1, keepdims=True)  # the sample may lack a letter
            probs = np.where(seen, counts, start)
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs).ravel()
    aligned: list[list[tuple[str, Pronunciation]]] = [[] for _ in pairs]
    for group in _group(pairs, letters, phones):
        for place, taken in zip(group.places, _choose(group, log_probs), strict=True):
            word, said = pairs[place]
            ends = np.cumsum(taken)
            aligned[place] = [
                (letter, said[end - number : end])
                for letter, number, end in zip(word, taken, ends, strict=True)
            ]
    return aligned


def _group(
    pairs: Sequence[tuple[str, Pronunciation]], letters: Sequence[str], phones: Sequence[str]
) -> Iterator[_Group]:
    """Pronunciations by the length of their words."""
    letter_ids = {letter: i for i, letter in enumerate(letters)}
    phone_ids = {phone: i for i, phone in enumerate(phones)}
    readings = 1 + len(phones) + len(phones) ** 2
    by_length: dict[int, list[int]] = collections.defaultdict(list)
    for place, (word, _) in enumerate(pairs):
        by_length[len(word)].append(place)
    for places in by_length.values():
        ends = np.array([len(pairs[place][1]) for place in places])
        said = np.full((len(places), 1 + ends.max()), -1)  # by phones done: the last one
        for row, place in enumerate(places):
            said[row, 1 : 1 + ends[row]] = [phone_ids[phone] for phone in pairs[place][1]]
        before = _shift(said, 1, -1)
        one = np.where(said < 0, readings, 1 + said)
        two = 1 + len(phones) * (1 + before) + said
        two[(said < 0) | (before < 0)] = readings
        spelled = np.array([[letter_ids[x] for x in pairs[place][0]] for place in places])
        rows = (readings + 1) * spelled.T[:, None, :, None]
        yield _Group(places, rows + np.stack([np.zeros_like(one), one, two]), ends)


def _count(group: _Group, probs: np.ndarray) -> np.ndarray:
    """How often each cell is used, by the forward-backward algorithm."""
    words = np.arange(len(group.ends))
    forward = [np.zeros(group.cells.shape[2:])]
    forward[0][:, 0] = 1.0
    for cells in group.cells:
        reached = [_shift(forward[-1], taken) for taken in range(_MOST + 1)]
        forward.append(np.sum(reached * probs[cells], axis=0))
    backward = np.zeros_like(forward[0])
    backward[words, group.ends] = 1 / forward[-1][words, group.ends]
    counts = np.zeros(len(probs))
    for before, cells in zip(forward[-2::-1], group.cells[::-1], strict=True):
        left = backward * probs[cells]
        used = left * [_shift(before, taken) for taken in range(_MOST + 1)]
        counts += np.bincount(cells.ravel(), used.ravel(), len(probs))
        backward = np.sum([_shift(left[taken], -taken) for taken in range(_MOST + 1)], axis=0)
    return counts


def _choose(group: _Group, log_probs: np.ndarray) -> np.ndarray:
    """[words, letters] phones that each letter takes in the best alignment."""
    best = np.full(group.cells.shape[2:], -np.inf)
    best[:, 0] = 0.0
    choices = []
    for cells in group.cells:
        reached = [_shift(best, taken, -np.inf) for taken in range(_MOST + 1)] + log_probs[cells]
        choices.append(np.argmax(reached, axis=0))
        best = np.max(reached, axis=0)
    done, taken = group.ends, []
    for choice in choices[::-1]:
        taken.append(choice[np.arange(len(done)), done])
        done = done - taken[-1]
    return np.stack(taken[::-1], axis=1)


def _shift(x: np.ndarray, by: int, fill: float = 0) -> np.ndarray:
    """[rows, columns] with the columns moved to the right, or to the left if negative."""
    moved = np.full_like(x, fill)
    if by >= 0:
        moved[:, by:] = x[:, : x.shape[1] - by]
    else:
        moved[:, :by] = x[:, -by:]
    return moved
