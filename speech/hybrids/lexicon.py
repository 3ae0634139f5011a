"""Pronunciations: which phones, one after the other, make a word.

    tomato     T AH M EY T OW
    tomato(2)  T AH M AA T OW

``cmu()`` reads the CMU pronouncing dictionary (39 phones of North American English, 125,000 words),
``read(path)`` a dictionary of the same form in any language, and ``graphemic(words)`` takes letters
for phones, which needs no dictionary. Words are spelled as ``text.normalize`` leaves them. Silence
is the phone ``SIL``; it stands between words, never in one.

References:
    Carnegie Mellon University, The CMU Pronouncing Dictionary, 1993-2014.
"""

import dataclasses
import functools
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from ...core import whole_file
from ..text import normalize

SILENCE = "SIL"

Pronunciation = tuple[str, ...]  # phones

_VARIANT = re.compile(r"\(\d+\)$")  # tomato(2)
_STRESSED = re.compile(r"([A-Z]{2})[012]")  # a vowel of the CMU dictionary: AH0
_SHOWN = 10  # words in a message


@dataclasses.dataclass(frozen=True)
class Lexicon:
    """Words and how they are said.

    Attributes:
        pronunciations: one or more for each word, different, the most usual first.
    """

    pronunciations: Mapping[str, tuple[Pronunciation, ...]]

    def __post_init__(self) -> None:
        if not self.pronunciations:
            raise ValueError("`pronunciations` must hold a word, got none.")
        for word, variants in self.pronunciations.items():
            if not word or not variants or not all(variants) or len(set(variants)) < len(variants):
                raise ValueError(
                    f"`pronunciations` must hold different phone sequences for each word, none "
                    f"empty, got {variants!r} for {word!r}."
                )
            if any(SILENCE in phones for phones in variants):
                raise ValueError(
                    f"`pronunciations` must not have the silence {SILENCE} inside of a word, got "
                    f"{variants!r} for {word!r}."
                )

    @functools.cached_property
    def phones(self) -> tuple[str, ...]:
        """All phones, sorted, silence among them."""
        spoken = (phone for v in self.pronunciations.values() for phones in v for phone in phones)
        return tuple(sorted({SILENCE, *spoken}))

    def __len__(self) -> int:
        """Number of words."""
        return len(self.pronunciations)

    def __contains__(self, word: object) -> bool:
        """Whether a word has a pronunciation."""
        return word in self.pronunciations

    def __getitem__(self, word: str) -> tuple[Pronunciation, ...]:
        """The pronunciations of a word; see `of` for many words."""
        return self.of([word]).pronunciations[word]

    def of(self, words: Iterable[str]) -> "Lexicon":
        """The part of the lexicon for some words, in their order.

        Raises:
            ValueError: if words have no pronunciation; it names them.
        """
        words = list(dict.fromkeys(words))
        if missing := [word for word in words if word not in self.pronunciations]:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise ValueError(
                f"`words` must be in the lexicon, but {', '.join(missing[:_SHOWN])}{more} "
                f"{'are' if len(missing) > 1 else 'is'} not; add pronunciations to its file, or "
                "use `letter_to_sound.cover` or `lexicon.graphemic`."
            )
        return Lexicon({word: self.pronunciations[word] for word in words})


def cmu() -> Lexicon:
    """The CMU dictionary that comes with pocketsphinx, without stress.

    Raises:
        ValueError: if pocketsphinx is not installed.

    Example:
        >>> cmu()["tomato"]  # doctest: +SKIP
        (('T', 'AH', 'M', 'EY', 'T', 'OW'), ('T', 'AH', 'M', 'AA', 'T', 'OW'))
    """
    try:
        import pocketsphinx
    except ImportError as error:
        raise ValueError(
            "the CMU dictionary comes with pocketsphinx: pip install '.[hybrid]' in a checkout of "
            "gossamer, or read a dictionary of your own with `lexicon.read`."
        ) from error
    return read(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))


def read(path: str | os.PathLike[str], *, language: str = "en") -> Lexicon:
    """Reads a dictionary in the form of CMU's.

    A line holds a word and its phones between white space; further pronunciations of a word have
    lines of their own, marked as ``word(2)`` or not. Lines that begin with ``;;;`` or ``#`` are
    comments. Stress, as in ``AH0``, is dropped. What normalizes to several words ("ad-lib") never
    occurs in a normalized text and is left out; an abbreviation ("mr.") stands for the word without
    its period where that has no line itself.

    Args:
        path: a text in UTF-8.
        language: see `text.normalize`.

    Returns:
        The pronunciations in the order of the file.

    Raises:
        ValueError: if the file cannot be read, or a line has no phones or silence among them.
    """
    try:
        lines = pathlib.Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{os.fspath(path)}: must be a dictionary in UTF-8 ({whole_file.reason(error)})."
        ) from None
    spelled: dict[str, dict[Pronunciation, None]] = {}
    abbreviated: dict[str, dict[Pronunciation, None]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith((";;;", "#")):
            continue
        entry, *phones = line.split()
        if not phones or SILENCE in phones:
            raise ValueError(
                f"{os.fspath(path)}, line {number}: must be a word and its phones, none of them "
                f"{SILENCE}, got {line[:80]!r}."
            )
        entry = _VARIANT.sub("", entry)
        plain = entry.isascii() and entry.isalpha() and entry.islower()
        word = entry if plain else normalize(entry, language=language)  # which takes its time
        if not word or " " in word:
            continue
        same = len(word) == len(entry)
        phones = tuple(_STRESSED.sub(r"\1", phone) for phone in phones)
        (spelled if same else abbreviated).setdefault(word, {})[phones] = None
    if not abbreviated and not spelled:
        raise ValueError(f"{os.fspath(path)}: must hold a word and its phones, got none.")
    return Lexicon({word: tuple(variants) for word, variants in (abbreviated | spelled).items()})


def write(path: str | os.PathLike[str], lexicon: Lexicon) -> None:
    """Writes a dictionary that `read` reads."""
    lines = [
        f"{word}{f'({number})' if number > 1 else ''} {' '.join(phones)}\n"
        for word, variants in lexicon.pronunciations.items()
        for number, phones in enumerate(variants, start=1)
    ]
    whole_file.write_text(path, "".join(lines))


def graphemic(words: Iterable[str]) -> Lexicon:
    """A lexicon whose phones are letters, for languages without a dictionary.

    A combining mark belongs to the letter before it, and apostrophes are silent.

    Args:
        words: normalized, of at least one letter each.

    Example:
        >>> graphemic(["it's"]).pronunciations
        {"it's": (('i', 't', 's'),)}
    """
    return Lexicon({word: (_graphemes(word),) for word in words})


def _graphemes(word: str) -> Pronunciation:
    graphemes: list[str] = []
    for letter in word.replace("'", ""):
        if graphemes and unicodedata.category(letter)[0] == "M":
            graphemes[-1] += letter
        else:
            graphemes.append(letter)
    return tuple(graphemes)
