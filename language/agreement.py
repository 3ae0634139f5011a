"""Semantic Agreement (Sag): whether an explanation is about what the text is about.

    Sag = mean over queries q and their first k training texts e of cos( E(q), E(e) )

with the embeddings E of a sentence encoder, of whole texts or of spans.  The paper proposes the
measure and finds that it follows human judgment; pooling and encoder are our choice.

Sag rewards plain retrieval, whatever the model does: the cosine of the same embeddings is best by
construction.  So `compare` gives it only together with a measure of faithfulness, and always beside
retrieval and chance.

References:
    W. Zhang et al., "On Sample Based Explanation Methods for NLP: Efficiency, Faithfulness, and
        Semantic Evaluation", 2021, arXiv:2106.04753.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..core.attribution.faithfulness import datamodeling_score
from . import retrieval
from .data import Text


class Measures(NamedTuple):
    """One method on all queries."""

    sag: float
    lds: float


def semantic_agreement(
    queries: np.ndarray, train: np.ndarray, scores: np.ndarray, *, top: int = 5
) -> float:
    """Mean cosine of each query and its `top` most supporting training texts.

    Args:
        queries: [Q, D] embeddings of length 1, of texts or spans.
        train: [N, D] the same of training texts or their spans.
        scores: [Q, N].
        top: k, from 1 to N.

    Returns:
        From -1 to 1.

    Raises:
        ValueError: if `top` is out of range.
    """
    if not 1 <= top <= len(train):
        raise ValueError(f"`top` must be from 1 to {len(train)} training texts, got {top}.")
    first = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return float(np.einsum("qd,qkd->qk", queries, train[first]).mean())


def compare(
    methods: Mapping[str, np.ndarray],
    queries: Sequence[Text],
    train: Sequence[Text],
    *,
    query_embeddings: np.ndarray,
    train_embeddings: np.ndarray,
    subsets: np.ndarray,
    losses: np.ndarray,
    top: int = 5,
    seed: int = 0,
) -> dict[str, Measures]:
    """Sag and the linear datamodeling score of methods, with the baselines beside them.

    Args:
        methods: scores [Q, N] by name.
        queries: [Q] texts that are explained.
        train: [N] training texts.
        query_embeddings: [Q, D] of length 1.
        train_embeddings: [N, D] of length 1.
        subsets: [S, N], see `gossamer.core.attribution.faithfulness`.
        losses: [S, Q] after training on each subset.
        top: texts of an explanation.
        seed: of the scores by chance.

    Returns:
        Measures by name; "BM25", "cosine" and "chance" are always there.

    Raises:
        ValueError: if scores have another shape.
    """
    labels = [np.array([each.label for each in texts]) for texts in (queries, train)]
    texts = [[each.text for each in group] for group in (queries, train)]
    everything = {
        **methods,
        "BM25": retrieval.sign_by_label(retrieval.bm25_scores(*texts), *labels),
        "cosine": retrieval.sign_by_label(
            retrieval.cosine_scores(query_embeddings, train_embeddings), *labels
        ),
        "chance": retrieval.chance_scores(len(queries), len(train), seed),
    }
    for name, scores in everything.items():
        if scores.shape != (len(queries), len(train)):
            raise ValueError(
                f"`methods` must be scores [{len(queries)}, {len(train)}], got {name!r} with "
                f"{list(scores.shape)}."
            )
    return {
        name: Measures(
            semantic_agreement(query_embeddings, train_embeddings, scores, top=top),
            float(datamodeling_score(scores, subsets, losses).mean()),
        )
        for name, scores in everything.items()
    }
