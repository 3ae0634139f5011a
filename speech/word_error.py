"""Word and character error rates, their confidence interval, and alignments to show.

    rate = (substitutions + deletions + insertions) / words in the references

over the cheapest alignment of every hypothesis with its reference, counted over the whole corpus.
The interval is a bootstrap: utterances are drawn with replacement, since words within one are not
independent, and the rate is taken of each draw.

References:
    Bisani, Ney, Bootstrap estimates for confidence intervals in ASR performance evaluation, ICASSP
    2004.
"""

from collections.abc import Sequence
from typing import NamedTuple

import kaldialign
import numpy as np

Column = tuple[str | None, str | None]
_GAP = ""  # no word is empty


class WordErrorRate(NamedTuple):
    """Errors of a recognizer on a corpus."""

    rate: float  # errors per word of the references; above 1 where insertions abound
    low: float  # ends of the bootstrap interval
    high: float
    substitutions: int
    deletions: int
    insertions: int
    words: int  # in the references
    character_error_rate: float  # spaces between words count as characters


def word_error_rate(
    references: Sequence[str],
    hypotheses: Sequence[str],
    *,
    confidence: float = 0.95,
    num_samples: int = 10_000,
    seed: int = 0,
) -> WordErrorRate:
    """Scores hypotheses against their references.

    Args:
        references: what was said, one text per utterance; words are separated by white space.
        hypotheses: what was recognized, in the same order.
        confidence: probability mass of the interval, split evenly over its two sides.
        num_samples: bootstrap draws.
        seed: seed of the draws.

    Returns:
        The rates.  Where the references hold no word at all, a rate is 0 without errors and
        infinite with insertions.

    Raises:
        TypeError: if a text comes in place of a sequence of texts.
        ValueError: if there is no utterance, the numbers of texts differ, or an option is out of
            range.

    Example:
        >>> errors = word_error_rate(["thank you", "goodbye"], ["thank", "good bye"])
        >>> errors.rate, errors.deletions, errors.words
        (1.0, 1, 3)
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise TypeError("`references` and `hypotheses` must be sequences of texts, got one text.")
    if not len(references) == len(hypotheses) > 0:
        raise ValueError(
            "`references` and `hypotheses` must have the same positive length, got "
            f"{len(references)} and {len(hypotheses)}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1, got {confidence}.")
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be positive, got {num_samples}.")

    counts = np.array([_count(*pair) for pair in zip(references, hypotheses, strict=True)])
    substitutions, deletions, insertions, words, character_errors, characters = counts.sum(axis=0)
    errors = counts[:, :3].sum(axis=1)
    low, high = _bootstrap(errors, counts[:, 3], confidence, num_samples, seed)
    return WordErrorRate(
        rate=_ratio(errors.sum(), words),
        low=low,
        high=high,
        substitutions=int(substitutions),
        deletions=int(deletions),
        insertions=int(insertions),
        words=int(words),
        character_error_rate=_ratio(character_errors, characters),
    )


def align(reference: str, hypothesis: str) -> list[Column]:
    """Sets the words of a hypothesis under those of its reference.

    Args:
        reference: what was said.
        hypothesis: what was recognized.

    Returns:
        Pairs of a reference and a hypothesis word in order: equal words are right, different ones a
        substitution, ``(word, None)`` is a deletion and ``(None, word)`` an insertion.

    Example:
        >>> align("thank you very much", "thank her very")
        [('thank', 'thank'), ('you', 'her'), ('very', 'very'), ('much', None)]
    """
    pairs = kaldialign.align(reference.split(), hypothesis.split(), _GAP)
    return [(spoken or None, heard or None) for spoken, heard in pairs]


def _count(reference: str, hypothesis: str) -> tuple[int, int, int, int, int, int]:
    """Counts substitutions, deletions, insertions, words, character errors and characters."""
    columns = align(reference, hypothesis)
    deletions = sum(heard is None for _, heard in columns)
    insertions = sum(spoken is None for spoken, _ in columns)
    errors = sum(spoken != heard for spoken, heard in columns)
    spoken, heard = (" ".join(text.split()) for text in (reference, hypothesis))
    character_errors = int(kaldialign.edit_distance(spoken, heard)["total"])
    substitutions = errors - deletions - insertions
    words = len(columns) - insertions
    return substitutions, deletions, insertions, words, character_errors, len(spoken)


def _bootstrap(
    errors: np.ndarray, words: np.ndarray, confidence: float, num_samples: int, seed: int
) -> tuple[float, float]:
    if words.sum() == 0:
        rate = _ratio(errors.sum(), 0)
        return rate, rate
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(words), size=len(words)) for _ in range(num_samples))
    sums = np.array([(errors[draw].sum(), words[draw].sum()) for draw in draws])
    sums = sums[sums[:, 1] > 0]  # a draw of empty references alone has no rate
    tail = (1 - confidence) / 2
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return float(low), float(high)


def _ratio(errors: int, length: int) -> float:
    if length == 0:
        return float("inf") if errors else 0.0
    return float(errors / length)
