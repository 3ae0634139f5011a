"""What was read in a recording, and how the readings of its pieces join."""

import heapq
from typing import NamedTuple


class Transcript(NamedTuple):
    """What was read in one recording."""

    text: str
    labels: list[tuple[str, float]]  # each character with the second at which it was emitted
    score: float  # log probability: of the path if greedy, of all alignments found by a beam


def join_pieces(pieces: list[list[Transcript]], nbest: int) -> list[Transcript]:
    """The best of all ways to choose one transcript of each piece, of equal texts only the best.

    Args:
        pieces: the alternatives of each piece of a recording, in order.
        nbest: how many to keep.

    Returns:
        Up to `nbest` transcripts, the best first.

    Example:
        >>> pieces = [[Transcript("a", [], -1.0)], [Transcript("b", [], -2.0)]]
        >>> join_pieces(pieces, nbest=1)
        [Transcript(text='a b', labels=[], score=-3.0)]
    """
    best = [Transcript("", [], 0.0)]
    for piece in pieces:
        pairs = [_concatenate(left, right) for left in best for right in piece]
        ranked = sorted(pairs, key=lambda transcript: -transcript.score)
        distinct = {transcript.text: transcript for transcript in reversed(ranked)}
        best = heapq.nlargest(nbest, distinct.values(), key=lambda transcript: transcript.score)
    return best


def _concatenate(left: Transcript, right: Transcript) -> Transcript:
    return Transcript(
        " ".join(text for text in (left.text, right.text) if text),
        left.labels + right.labels,
        left.score + right.score,
    )
