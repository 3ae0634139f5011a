"""Explanations of a prediction by training texts, span by span.

`explain` answers three questions about a text: which class the model gives it, which span of it
decides that, and which spans of which training texts made the model think so.

1. The spans of the text are hidden one at a time; the one that takes most from the logit of the
   class is the test span.  Shorter spans come first: a longer one must earn each further word.
2. Every training text is scored by its influence on what the test span says alone: the margin of
   the class with all other words hidden (TracInF with `losses.Margin` for a query).  This is one
   forward pass with a derivative for each variant of the parameters; no gradient of a training text
   is ever formed.  (The importance itself is no such query: where the model is sure, training on
   texts of the same class raises the logit of what is left without the span more than that of the
   whole, so that texts of the other class come first.)
3. Texts are ranked by that over the length of their own gradient, known from the end of training.
   Else a few texts that the model never learned, whose gradients are hundreds of times longer than
   those of the others, would explain everything.
4. Of the first ones, both ways, every span is taken alone, too: how much it speaks for the label of
   its text, times how strongly the model ties it to the test span (the size of the product of the
   gradients of their margins, over the length of its own).

References:
    W. Zhang et al., "On Sample Based Explanation Methods for NLP: Efficiency, Faithfulness, and
        Semantic Evaluation", 2021, arXiv:2106.04753.
    E. Barshan, M.-E. Brunet, G. K. Dziugaite, "RelatIF: Identifying Explanatory Training Samples
        via Relative Influence", 2020, arXiv:2003.11630.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.attribution import Blocks, directional_scores, example_gradients, gradient_norms
from . import spans
from .classifier import TrainedClassifier, predict, predict_ids
from .data import Text, as_arrays
from .losses import Margin, Nll
from .padding import TEXTS
from .spans import Span
from .tokens import Encoded

FLOOR = 0.1  # of the length of a gradient, over the median
PRICE = 0.15  # share by which the importance of a test span must grow with each further word


class Scored(NamedTuple):
    """A span of a text, by its characters."""

    start: int
    end: int
    score: float


class Evidence(NamedTuple):
    """A training text and what it did."""

    text: Text
    score: float  # relative influence of the whole text on the test span; positive supports
    span: Scored  # the span that matters most for it
    spans: list[Scored]  # all of its spans, in falling order of |score|


class Explanation(NamedTuple):
    """Why a text was given a class."""

    text: str
    classes: tuple[str, ...]
    probabilities: np.ndarray  # [classes]
    label: int  # the class that is explained
    span: Scored  # the test span with its importance, a difference of logits
    importances: list[Scored]  # of all spans that were considered
    supporting: list[Evidence]  # falling
    opposing: list[Evidence]  # the strongest first
    scores: np.ndarray  # [N] relative influence of every training text on the test span


def explain(
    model: TrainedClassifier,
    train: Sequence[Text],
    test_text: str,
    *,
    span: tuple[int, int] | str | None = None,
    label: int | None = None,
    top: int = 5,
    candidates: int = 10,
    longest: int = 4,
    block_size: int = 64,
    report: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explains the class of a text by spans of training texts.

    Args:
        model: a trained classifier.
        train: the texts it was trained on, all of them in their order.
        test_text: what to explain.
        span: the characters (from, to) of the test span, or its words as they stand in the text;
            by default the most important span.
        label: the class to explain; the predicted one by default.
        top: supporting and opposing training texts to give, each.
        candidates: training texts whose spans are scored, on each side; at least `top`.
        longest: words of a span at most.
        block_size: texts in a batch.
        report: called with the number of training texts that are scored and of all.

    Returns:
        The explanation.

    Raises:
        ValueError: if an argument is out of range or the text has no words.
        FloatingPointError: if a score is not finite.

    Example:
        >>> explanation = explain(classifier.load("runs/one"), corpus.train, "A dull film.")
        >>> explanation.supporting[0].text
    """
    if not 1 <= top <= candidates:
        raise ValueError(f"`candidates` must be at least `top` >= 1, got {candidates} and {top}.")
    if len(train) != len(model.gradient_norms):
        raise ValueError(
            f"`train` must hold the {len(model.gradient_norms)} texts that the model was trained "
            f"on, got {len(train)}; {model.corpus!r} is their corpus."
        )
    probabilities = predict(model, [test_text])[0]
    label = int(probabilities.argmax()) if label is None else label
    if not 0 <= label < len(model.classes):
        raise ValueError(f"`label` must be below {len(model.classes)} classes, got {label}.")
    encoded = model.tokenizer.encode(test_text)
    found = spans.enumerate_spans(test_text, encoded, longest=longest)
    if not found:
        raise ValueError("`test_text` must have at least one word.")
    chosen = None if span is None else _locate(test_text, encoded, span)
    considered = found if chosen is None or chosen in found else [*found, chosen]
    hidden = spans.hide(_padded(model, encoded), considered, label, mask_id=model.tokenizer.mask_id)
    importances = spans.span_importance(model.model, model.params, hidden, block_size=block_size)
    place = considered.index(chosen) if chosen else _decisive(encoded, considered, importances)
    mask_id = model.tokenizer.mask_id
    query = spans.keep(
        _padded(model, encoded), considered[place : place + 1], label, mask_id=mask_id
    )
    total = len(train) * len(model.variants)
    finished = _Counter(len(train), total, report)
    vectors = [example_gradients(Margin(model.model), params, query) for params in model.variants]
    blocks = Blocks(block_size, report=finished, padding=TEXTS)
    scores = _mean_scores(
        Nll(model.model), model, vectors, as_arrays(train, model.tokenizer), blocks
    )
    # The floor keeps texts that are learned to perfection, with no gradient to speak of, in place.
    scores = scores / (model.gradient_norms + FLOOR * np.median(model.gradient_norms))
    order = np.argsort(-scores, kind="stable")
    best, worst = order[:candidates], order[::-1][:candidates]
    supporting, opposing = (
        _examine(model, train, rows, scores, vectors, longest, Blocks(block_size, padding=TEXTS))[
            :top
        ]
        for rows in (best[scores[best] > 0], worst[scores[worst] < 0])
    )
    return Explanation(
        test_text,
        model.classes,
        probabilities,
        label,
        _scored(encoded, considered[place], importances[place]),
        _sorted([_scored(encoded, *pair) for pair in zip(considered, importances, strict=True)]),
        supporting,
        opposing,
        scores,
    )


def _examine(
    model: TrainedClassifier,
    train: Sequence[Text],
    rows: np.ndarray,
    scores: np.ndarray,
    vectors: list[Any],
    longest: int,
    blocks: Blocks,
) -> list[Evidence]:
    """The spans of some training texts, all scored in one go."""
    parts, places = [], []
    for row in rows:
        text = train[row]
        encoded = model.tokenizer.encode(text.text)
        found = spans.enumerate_spans(text.text, encoded, longest=longest)
        if found:
            mask_id = model.tokenizer.mask_id
            parts.append(spans.keep(_padded(model, encoded), found, text.label, mask_id=mask_id))
            places.append((row, encoded, found))
    if not parts:
        return []
    alone = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    loss = Margin(model.model)
    influence = _mean_scores(loss, model, vectors, alone, blocks)
    norms = gradient_norms(loss, model.params, alone, blocks=blocks)
    influence = influence / (norms + FLOOR * np.median(norms))
    influence = np.abs(influence) * np.maximum(_margins(model, alone), 0)
    evidence, start = [], 0
    for row, encoded, found in places:
        values = influence[start : start + len(found)]
        start += len(found)
        if not np.any(values > 0):
            continue  # no span of it speaks for its label
        best = _decisive(encoded, found, values)
        signed = np.sign(scores[row]) * values
        listed = [_scored(encoded, *pair) for pair in zip(found, signed, strict=True)]
        evidence.append(Evidence(train[row], float(scores[row]), listed[best], _sorted(listed)))
    return evidence


def _margins(model: TrainedClassifier, examples: dict[str, np.ndarray]) -> np.ndarray:
    """What `losses.Margin` is the negative of, [S]."""
    logits = predict_ids(model.model, model.params, examples["ids"])
    label = np.take_along_axis(logits, examples["label"][:, None], 1)[:, 0]
    return label - (logits.sum(1) - label) / (logits.shape[1] - 1)


def _mean_scores(
    loss: Any, model: TrainedClassifier, vectors: list[Any], examples: Any, blocks: Blocks
) -> np.ndarray:
    """TracInF of one query, whose vector at each variant is given; [N]."""
    passes = [
        directional_scores(loss, params, vector, examples, blocks=blocks)[0]
        for params, vector in zip(model.variants, vectors, strict=True)
    ]
    return np.mean(passes, axis=0)


def _decisive(encoded: Encoded, found: Sequence[Span], values: np.ndarray) -> int:
    """The place of the span with the largest value for its length."""
    words = [len({encoded.words[number] for number in range(*span)}) for span in found]
    price = 1 + PRICE * (np.array(words) - 1)
    return int(np.argmax(np.where(values > 0, values / price, values * price)))


def _locate(text: str, encoded: Encoded, span: tuple[int, int] | str) -> Span:
    if isinstance(span, str):
        start = text.lower().find(span.lower())
        if start < 0 or not span.strip():
            raise ValueError(f"`span` must stand in the text, got {span!r}.")
        span = (start, start + len(span))
    return spans.find_span(encoded, *span)


def _padded(model: TrainedClassifier, encoded: Encoded) -> np.ndarray:
    room = model.tokenizer.max_length - len(encoded.ids)
    return np.pad(encoded.ids, (0, room))


def _scored(encoded: Encoded, span: Span, score: float) -> Scored:
    return Scored(*spans.characters(encoded, span), float(score))


def _sorted(scored: list[Scored]) -> list[Scored]:
    return sorted(scored, key=lambda each: -abs(each.score))


class _Counter:
    """Progress over all variants, each of which reports its own."""

    def __init__(self, each: int, total: int, report: Callable[[int, int], None] | None):
        self._each, self._total, self._report, self._passes = each, total, report, 0

    def __call__(self, done: int, of: int) -> None:
        if self._report is not None:
            self._report(self._passes * self._each + done, self._total)
        self._passes += done == of
