"""Baselines that know nothing of the model: retrieval of similar training texts, and chance.

    bm25      words in common, rare ones more (Okapi BM25)
    cosine    of sentence embeddings
    chance    independent normal numbers

An explanation that does no better than these on a measure has not been shown to explain.

References:
    S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.
"""

import collections
from collections.abc import Sequence

import numpy as np

from .tokens import split_words

K1, B = 1.2, 0.75  # the usual values


def bm25_scores(queries: Sequence[str], train: Sequence[str]) -> np.ndarray:
    """BM25 of each training text for each query, [Q, N]."""
    documents = [collections.Counter(split_words(text)) for text in train]
    lengths = np.array([sum(document.values()) for document in documents], float)
    penalty = K1 * (1 - B + B * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    for number, document in enumerate(documents):
        for word, count in document.items():
            postings[word].append((number, count))
    scores = np.zeros((len(queries), len(train)))
    for row, query in zip(scores, queries, strict=True):
        for word in split_words(query):
            found = postings.get(word)
            if found is not None:
                rows, counts = np.array(found).T
                rarity = np.log(1 + (len(train) - len(rows) + 0.5) / (len(rows) + 0.5))
                row[rows] += rarity * counts * (K1 + 1) / (counts + penalty[rows])
    return scores


def cosine_scores(queries: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Cosines of embeddings of length 1, [Q, D] and [N, D], as scores [Q, N]."""
    return queries @ train.T


def chance_scores(num_queries: int, num_train: int, seed: int) -> np.ndarray:
    """Scores [Q, N] at random."""
    return np.random.default_rng(seed).normal(size=(num_queries, num_train))


def sign_by_label(scores: np.ndarray, queries: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Similarities as support: positive for training texts of the query's label, else negative.

    Args:
        scores: [Q, N] similarities.
        queries: [Q] labels.
        train: [N] labels.
    """
    return np.where(queries[:, None] == train[None], scores, -scores)
