"""Transcripts as a recognizer sees them: normalized text, and the characters it is made of.

English becomes lower-case letters, apostrophe and space; digits are spelled one by one, as a
telephone voice reads them ("1234" is "one two three four"). Any other language keeps its own
letters, combining marks and digits in Unicode normalization form C, so that one sound has one
spelling whatever editor wrote it. A ``Vocabulary`` numbers the characters; 0 is the transducer's
blank.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable

import numpy as np

BLANK_ID = 0

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07`", "'"))


def spell_digits(text: str) -> str:
    """Spells every digit 0-9 as an English word of its own.

    Args:
        text: any text.

    Returns:
        The text with words in place of its digits, each set off by spaces.

    Example:
        >>> spell_digits("dial 42")
        'dial four two'
    """
    spelled = re.sub("[0-9]", lambda match: f" {_DIGITS[int(match[0])]} ", text)
    return re.sub(r" {2,}", " ", spelled).strip()


def normalize(text: str, *, language: str = "en") -> str:
    """Reduces a transcript to what is spoken.

    Args:
        text: a transcript, in any Unicode form.
        language: ``"en"`` keeps ``a-z``, apostrophe and space, drops accents and spells digits
            one by one; any other code keeps every letter, combining mark, digit and apostrophe,
            in form C.

    Returns:
        Lower-case words separated by single spaces; empty if nothing is spoken.

    Example:
        >>> normalize("Press 5, please -- it\u2019s Zoe\u0308!")
        "press five please it's zoe"
    """
    text = unicodedata.normalize("NFC", text.translate(_APOSTROPHES)).lower()
    if language == "en":
        decomposed = unicodedata.normalize("NFKD", text)
        text = spell_digits("".join(c for c in decomposed if not unicodedata.combining(c)))
        text = re.sub("[^a-z']+", " ", text)
    else:
        # Lower-casing may decompose (Turkish dotted I), hence form C once more.
        text = unicodedata.normalize("NFC", text)
        text = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    # An apostrophe is a letter inside or at the edge of a word, a quotation mark around one.
    words = (re.sub(r"^'+(.*?)'+$", r"\1", word) for word in text.split())
    return " ".join(word for word in words if word.strip("'"))


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The characters of a corpus; character ``i`` has the label ``i + 1``, and 0 is the blank.

    Attributes:
        characters: sorted, different, one code point each.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.characters:
            raise ValueError("`characters` must not be empty; use `Vocabulary.of(texts)`.")
        if any(len(character) != 1 for character in self.characters):
            raise ValueError(f"`characters` must be single characters, got {self.characters!r}.")
        if list(self.characters) != sorted(set(self.characters)):
            raise ValueError(
                f"`characters` must be sorted and different, got {self.characters!r}; "
                "build one with `Vocabulary.of(texts)`."
            )

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """The vocabulary of some normalized texts."""
        return cls(tuple(sorted(set().union(*texts))))

    def __len__(self) -> int:
        """Number of labels, the blank included."""
        return len(self.characters) + 1

    def unknown(self, text: str) -> str:
        """The characters of ``text`` that have no label, sorted and each once."""
        return "".join(sorted(set(text) - set(self.characters)))

    def encode(self, text: str) -> np.ndarray:
        """Numbers the characters of a text.

        Args:
            text: normalized text.

        Returns:
            ``[len(text)]`` int32 labels in ``1..len(self) - 1``.

        Raises:
            ValueError: if a character has no label.
        """
        if unknown := self.unknown(text):
            raise ValueError(
                f"`text` must consist of the vocabulary's characters {''.join(self.characters)!r}, "
                f"got {unknown!r} in {text!r}; normalize the text, or build the vocabulary from it."
            )
        labels = {character: label for label, character in enumerate(self.characters, start=1)}
        return np.array([labels[character] for character in text], np.int32)

    def decode(self, labels: Iterable[int]) -> str:
        """The text of some labels; blanks, which also pad, are left out.

        Raises:
            ValueError: if a label lies outside ``0..len(self) - 1``.
        """
        labels = [int(label) for label in labels]
        if outside := [label for label in labels if not 0 <= label < len(self)]:
            raise ValueError(f"`labels` must lie in 0..{len(self) - 1}, got {outside}.")
        return "".join(self.characters[label - 1] for label in labels if label != BLANK_ID)
