"""When a transducer emitted words: from characters with their times to words with theirs."""

from collections.abc import Iterable
from typing import NamedTuple


class EmittedWord(NamedTuple):
    """A word of a hypothesis."""

    text: str
    start: float  # s, when its first character was emitted
    end: float  # s, when its last one was


def join_characters(labels: Iterable[tuple[str, float]]) -> list[EmittedWord]:
    """Joins emitted characters to words; white space stands between them.

    Args:
        labels: characters with the second at which each was emitted, in order.

    Returns:
        The words in order.

    Example:
        >>> join_characters([("h", 0.1), ("i", 0.2), (" ", 0.3), ("a", 0.4)])
        [EmittedWord(text='hi', start=0.1, end=0.2), EmittedWord(text='a', start=0.4, end=0.4)]
    """
    words: list[EmittedWord] = []
    inside = False
    for character, seconds in labels:
        if character.isspace():
            inside = False
        elif inside:
            word = words[-1]
            words[-1] = EmittedWord(word.text + character, word.start, seconds)
        else:
            words.append(EmittedWord(character, seconds, seconds))
            inside = True
    return words
