"""Alignment of a reference that has alternatives with a hypothesis, as NIST's sclite does it.

A text is a network of words: ``{ A / B C }`` are alternatives, ``@`` is nothing, ``(UH)`` may be
missing. Of all paths through both networks and all alignments of the two paths one of least cost
is taken,

    0      a word with itself, or with a part of it, ``th-``, where there are parts
    4      a word with another
    3      a word that is missing or too many;  2 if it is in parentheses
    0.001  nothing, ``@``, with nothing;  1 with another ``@``

and its errors are counted: a missing word in parentheses is none and counts as right. As
substitutions are cheaper than a deletion and an insertion together, but not half as cheap, this
may count more errors than the edit distance does.

References:
    NIST, Scoring Toolkit (SCTK) 2.4, sclite: options -F and -D.
"""

import re
from typing import NamedTuple

NOTHING = "@"


class Counts(NamedTuple):
    """Errors of one or more texts; add them with `total`."""

    words: int = 0  # of the reference, along the path taken
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All kinds together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors for each word of the reference; infinite with insertions only."""
        return self.errors / self.words if self.words else float("inf") if self.errors else 0.0


def total(counts: list[Counts]) -> Counts:
    """The sum."""
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


class _Word(NamedTuple):
    """An arc of a network."""

    text: str
    optional: bool
    before: tuple[int, ...]  # arcs that it may follow; 0 is the beginning


class _Network(NamedTuple):
    """Words in an order in which none stands before those that it may follow."""

    words: list[_Word]  # the first is not a word
    last: tuple[int, ...]  # arcs that may be last


def count_errors(reference: str, hypothesis: str) -> Counts:
    """Aligns two texts.

    Args:
        reference: what was said, with alternatives and words that may be missing.
        hypothesis: what was heard, of the same form.

    Returns:
        The errors; upper and lower case are the same.

    Raises:
        ValueError: if braces or parentheses are not in pairs.

    Example:
        >>> count_errors("{ GOING TO / GONNA } (UH) GO TH- HOME", "gonna go then house")
        Counts(words=5, substitutions=1, deletions=0, insertions=0)
    """
    spoken, heard = _parse(reference), _parse(hypothesis)
    costs = [[0] * len(heard.words) for _ in spoken.words]
    back: list[list[tuple[int, int]]] = [[(0, 0)] * len(heard.words) for _ in spoken.words]
    for i, word in enumerate(spoken.words):
        for j, other in enumerate(heard.words):
            if i or j:
                costs[i][j], back[i][j] = _best_step(costs, i, j, word, other)
    ends = [(costs[i][j], i, j) for i in spoken.last for j in heard.last]
    _, i, j = min(ends)
    steps = []
    while i or j:
        before = back[i][j]
        steps.append(
            (
                spoken.words[i] if before[0] != i else None,
                heard.words[j] if before[1] != j else None,
            )
        )
        i, j = before
    return total([_count(*step) for step in steps])


def _best_step(
    costs: list[list[int]], i: int, j: int, word: _Word, other: _Word
) -> tuple[int, tuple[int, int]]:
    """The cheapest alignment that ends with two words, and the two that it ended with before."""
    steps = []  # where several are equally cheap, the first is taken
    if i and j:
        steps += [
            (costs[a][b] + _cost(word, other), (a, b)) for a in word.before for b in other.before
        ]
    if j:
        steps += [(costs[i][b] + _cost(None, other), (i, b)) for b in other.before]
    if i:
        steps += [(costs[a][j] + _cost(word, None), (a, j)) for a in word.before]
    return min(steps, key=lambda step: step[0])


def _cost(word: _Word | None, other: _Word | None) -> int:
    """A thousand times the cost of a step."""
    if word is None or other is None:
        only = word or other
        assert only is not None
        return 1 if only.text == NOTHING else 2000 if only.optional else 3000
    if word.text == other.text == NOTHING:
        return 1000
    return 0 if _is_same(word.text, other.text) else 4000


def _count(word: _Word | None, other: _Word | None) -> Counts:
    """The errors of a step."""
    if word is None or other is None:
        only = word or other
        assert only is not None
        if only.text == NOTHING:
            return Counts()
        if only.optional:
            return Counts(words=1)
        return Counts(words=1, deletions=1) if other is None else Counts(insertions=1)
    if word.text == other.text == NOTHING:
        return Counts()
    return Counts(words=1, substitutions=int(not _is_same(word.text, other.text)))


def _is_same(word: str, other: str) -> bool:
    """Whether two words are the same, or one is a part of the other."""
    for part, whole in ((word, other), (other, word)):
        if len(part) > 1 and part.startswith("-"):
            return whole.endswith(part[1:])
        if len(part) > 1 and part.endswith("-"):
            return whole.startswith(part[:-1])
    return word == other


def _parse(text: str) -> _Network:
    """The network of a text."""
    text = re.sub(r"\{.*\}", lambda braces: braces[0].replace("/", " / "), text)
    tokens = re.sub(r"([{}()])", r" \1 ", text.lower()).split()
    words = [_Word("", False, ())]
    last = _parse_sequence(tokens[::-1], words, (0,), text, inside=False)
    return _Network(words, last)


def _parse_sequence(
    tokens: list[str], words: list[_Word], before: tuple[int, ...], text: str, *, inside: bool
) -> tuple[int, ...]:
    """Takes tokens from the end of the list up to the end of an alternative; its last arcs."""
    optional = False
    while tokens:
        token = tokens.pop()
        if inside and token in ("/", "}"):
            tokens.append(token)
            return before
        if token == "{":
            ends: list[int] = []
            while not ends or tokens.pop() == "/":
                ends += _parse_sequence(tokens, words, before, text, inside=True)
                if not tokens:
                    raise ValueError(f"a brace is not closed in {text!r}.")
            before = tuple(dict.fromkeys(ends))
        elif token in ("(", ")"):
            if optional == (token == "("):
                raise ValueError(f"parentheses must be in pairs, got {text!r}.")
            optional = token == "("
        elif token == "}":
            raise ValueError(f"a brace is not opened in {text!r}.")
        else:
            words.append(_Word(token.rstrip("*") or token, optional, before))
            before = (len(words) - 1,)
    if inside:
        raise ValueError(f"a brace is not closed in {text!r}.")
    if optional:
        raise ValueError(f"parentheses must be in pairs, got {text!r}.")
    return before
