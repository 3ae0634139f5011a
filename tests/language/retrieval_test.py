"""BM25 by its formula, word by word."""

import numpy as np

from gossamer.language import retrieval


def test_bm25_by_hand():
    train = ["a b b", "b c", "d"]
    found = retrieval.bm25_scores(["b c x"], train)

    def term(count, length, documents):
        rarity = np.log(1 + (3 - documents + 0.5) / (documents + 0.5))
        return rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / 2))

    expected = [term(2, 3, 2), term(1, 2, 2) + term(1, 2, 1), 0]
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_labels_give_signs():
    found = retrieval.sign_by_label(np.ones((2, 3)), np.array([0, 1]), np.array([0, 1, 1]))
    np.testing.assert_array_equal(found, [[1, -1, -1], [-1, 1, 1]])


def test_cosines_and_chance():
    found = retrieval.cosine_scores(np.eye(2), np.array([[0.6, 0.8]]))
    np.testing.assert_allclose(found, [[0.6], [0.8]])
    first, second = (retrieval.chance_scores(2, 3, seed) for seed in (0, 1))
    assert first.shape == (2, 3)
    assert (first != second).all()
