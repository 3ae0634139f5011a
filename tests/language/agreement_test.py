"""Sag on embeddings made by hand; baselines stand beside every method."""

import numpy as np
import pytest

from gossamer.language.agreement import compare, semantic_agreement
from gossamer.language.data import Text

EMBEDDINGS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])


def test_the_first_texts_count():
    query = np.array([[1.0, 0.0]])
    scores = np.array([[0.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(semantic_agreement(query, EMBEDDINGS, scores, top=1), 0.6)
    np.testing.assert_allclose(semantic_agreement(query, EMBEDDINGS, scores, top=2), 0.3)
    with pytest.raises(ValueError, match="`top` must be from 1 to 4"):
        semantic_agreement(query, EMBEDDINGS, scores, top=5)


def test_baselines_stand_beside_every_method():
    train = [Text(str(n), text, n % 2) for n, text in enumerate(("a b", "b c", "c d", "d a"))]
    queries = [Text("q", "a b", 0)]
    generator = np.random.default_rng(0)
    subsets = (generator.random((30, 4)) < 0.5).astype(float)
    truth = np.array([[2.0, -1.0, 0.5, 0.1]])
    arguments = {
        "query_embeddings": EMBEDDINGS[:1],
        "train_embeddings": EMBEDDINGS,
        "subsets": subsets,
        "losses": -subsets @ truth.T,
        "top": 1,
    }
    found = compare({"truth": truth, "lie": -truth}, queries, train, **arguments)
    assert set(found) == {"truth", "lie", "BM25", "cosine", "chance"}
    np.testing.assert_allclose([found["truth"].lds, found["lie"].lds], [1, -1])
    np.testing.assert_allclose(found["truth"].sag, 1)
    np.testing.assert_allclose(found["lie"].sag, 0.6)
    np.testing.assert_allclose(found["cosine"].sag, 1)
    with pytest.raises(ValueError, match=r"`methods` must be scores \[1, 4\]"):
        compare({"short": truth[:, :2]}, queries, train, **arguments)
