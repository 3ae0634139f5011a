"""Common directions against dense algebra."""

import jax
import numpy as np

from gossamer.core.attribution import example_gradients, gradient_norms
from gossamer.language.common_directions import common_directions, remove
from gossamer.language.data import as_arrays
from gossamer.language.losses import Nll


def as_matrix(tree):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def test_they_span_the_mean_directions_of_the_classes(phrases):
    model, texts = phrases["model"], phrases["corpus"].train[:30]
    loss, train = Nll(model.model), as_arrays(texts, model.tokenizer)
    norms = gradient_norms(loss, model.params, train)
    found = common_directions(loss, model.params, train, norms, 2)
    gradients = as_matrix(example_gradients(loss, model.params, train)) / norms[:, None]
    sums = np.stack([gradients[train["label"] == label].sum(0) for label in (0, 1)])
    basis = as_matrix(found)
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-4)
    # float32, and directions that are almost opposite
    inside = sums @ basis.T @ basis
    np.testing.assert_allclose(inside, sums, atol=1e-3 * np.abs(sums).max())
    rest = remove(found, example_gradients(loss, model.params, train))
    assert np.abs(as_matrix(rest) @ basis.T).max() < 1e-4 * norms.max()
