r"""Spans of a text as the units of an explanation.

A span is any run of whole words.  Hiding it puts [MASK] in the place of each of its tokens, so that
the text keeps its length.  Its importance for a class y is what that takes from the logit,

    imp(s) = logit_y(x) - logit_y(x \ s),

and the influence of a training span s on a test span s' is, by TracIn++,

    score(s', s) = (1 / M) sum_m < -grad imp(s' | theta_m), g(z; theta_m) - g(z \ s; theta_m) >

in our formulation, where a positive score supports: training on s makes s' matter more.  Both texts
of a pair are rows of one batch, and the score is one forward-mode derivative.

References:
    W. Zhang et al., "On Sample Based Explanation Methods for NLP: Efficiency, Faithfulness, and
        Semantic Evaluation", 2021, arXiv:2106.04753.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..core.attribution import Blocks, tracin_f
from .losses import Importance, Removal
from .models import Classifier
from .padding import TEXTS
from .tokens import WORDS, Encoded, fold

BREAKS = frozenset(
    "and or but yet so because although though while whereas however which who that".split()  # noqa: SIM905
)


class Span(NamedTuple):
    """Tokens start ... end - 1 of an encoded text."""

    start: int
    end: int


class Hidden(NamedTuple):
    """A text, or many, with a span hidden: the examples of `losses.Removal` and `Importance`."""

    ids: np.ndarray  # [S, T]
    masked: np.ndarray  # [S, T]
    label: np.ndarray  # [S]

    def examples(self) -> dict[str, np.ndarray]:
        """As the losses want them."""
        return self._asdict()


def enumerate_spans(
    text: str, encoded: Encoded, *, longest: int = 4, shortest: int = 1
) -> list[Span]:
    """All runs of whole words that neither start nor end with a sign.

    Args:
        text: what was encoded.
        encoded: the text as numbers.
        longest: words (and signs between them) of a span at most.
        shortest: words of a span at least.

    Raises:
        ValueError: if the lengths are out of range.
    """
    if not 1 <= shortest <= longest:
        raise ValueError(f"`shortest` must be from 1 to `longest`, got {shortest} and {longest}.")
    units = _units(encoded)
    solid = [_is_word(text, encoded, unit) for unit in units]
    return [
        Span(units[first].start, units[last].end)
        for first in range(len(units))
        for last in range(first + shortest - 1, min(first + longest, len(units)))
        if solid[first] and solid[last]
    ]


def split_clauses(text: str, encoded: Encoded) -> list[Span]:
    """The clauses of a text: what lies between signs and conjunctions."""
    clauses: list[Span] = []
    goes_on = False
    for unit in _units(encoded):
        word = _text_of(text, encoded, unit)
        if fold(word) in BREAKS or not _is_word(text, encoded, unit):
            goes_on = False  # conjunctions and signs belong to no clause
        elif goes_on:
            clauses[-1] = Span(clauses[-1].start, unit.end)
        else:
            clauses.append(Span(*unit))
            goes_on = True
    return clauses


def find_span(encoded: Encoded, start: int, end: int) -> Span:
    """The tokens that characters start ... end - 1 of the text touch, as whole words.

    Raises:
        ValueError: if they touch none.
    """
    touched = {
        word
        for word, (first, last) in zip(encoded.words, encoded.offsets, strict=True)
        if first < end and last > start
    }
    tokens = [number for number, word in enumerate(encoded.words) if word in touched]
    if not tokens:
        raise ValueError(
            f"`span` must touch a word of the text, got characters {start} to {end}; what lies "
            "past the longest input is cut."
        )
    return Span(tokens[0], tokens[-1] + 1)


def characters(encoded: Encoded, span: Span) -> tuple[int, int]:
    """Where a span stands in the text: its first character, and the one after its last."""
    return encoded.offsets[span.start][0], encoded.offsets[span.end - 1][1]


def hide(ids: np.ndarray, spans: Sequence[Span], label: int, *, mask_id: int) -> Hidden:
    """A text [T] beside itself with each span hidden."""
    rows = np.repeat(ids[None], len(spans), axis=0)
    masked = rows.copy()
    for row, span in zip(masked, spans, strict=True):
        row[span.start : span.end] = mask_id
    return Hidden(rows, masked, np.full(len(spans), label, np.int32))


def keep(ids: np.ndarray, spans: Sequence[Span], label: int, *, mask_id: int) -> dict:
    """A text [T] with all but a span hidden, for each span: examples of `losses.Margin`.

    Args:
        ids: the text, padded.
        spans: S of its spans.
        label: the class that is asked for.
        mask_id: number of [MASK]; what is special stands before it, and stays.

    Returns:
        ``{"ids": [S, T], "label": [S]}``.
    """
    rows = np.repeat(np.where(ids < mask_id, ids, mask_id)[None], len(spans), axis=0)
    for row, span in zip(rows, spans, strict=True):
        row[span.start : span.end] = ids[span.start : span.end]
    return {"ids": rows, "label": np.full(len(spans), label, np.int32)}


def span_importance(
    model: Classifier, params: Any, hidden: Hidden, *, block_size: int = 64
) -> np.ndarray:
    """imp(s) of each span, [S]; positive where the span speaks for the label."""
    found = Blocks(block_size, padding=TEXTS).map(
        functools.partial(_importance, Importance(model)), hidden.examples(), params
    )
    return found


def span_influence(
    model: Classifier,
    variants: Sequence[Any],
    train: Hidden,
    test: Hidden,
    *,
    block_size: int = 64,
) -> np.ndarray:
    """TracIn++: the influence of training spans on test spans.

    Args:
        model: the classifier.
        variants: parameters near the final ones, see `gossamer.core.attribution.variants`.
        train: [S] training texts, each with a span hidden, labels of the training set.
        test: [Q] test texts, each with a span hidden, the label that is explained.
        block_size: pairs in a batch.

    Returns:
        [Q, S] scores; a positive one supports.
    """
    return tracin_f(
        Removal(model),
        variants,
        train.examples(),
        test.examples(),
        query_loss=Importance(model),
        blocks=Blocks(block_size, padding=TEXTS),
    )


@functools.partial(jax.jit, static_argnums=0)
def _importance(loss: Importance, block: Any, params: Any) -> jax.Array:
    return -jax.vmap(loss, (None, 0))(params, block)


def _units(encoded: Encoded) -> list[Span]:
    """The words and signs of a text as spans."""
    units: list[Span] = []
    for number, word in enumerate(encoded.words):
        if word < 0:
            continue
        if units and encoded.words[number - 1] == word:
            units[-1] = Span(units[-1].start, number + 1)
        else:
            units.append(Span(number, number + 1))
    return units


def _text_of(text: str, encoded: Encoded, span: Span) -> str:
    start, end = characters(encoded, span)
    return text[start:end]


def _is_word(text: str, encoded: Encoded, unit: Span) -> bool:
    """Whether a unit has letters or digits."""
    found = _text_of(text, encoded, unit)
    match = WORDS.fullmatch(found)
    return bool(match) and (found[0].isalnum() or found[0] == "_")
