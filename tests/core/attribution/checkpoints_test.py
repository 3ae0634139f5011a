"""TracIn by its definition, and its meaning: the losses that steps of training took off."""

import jax
import numpy as np
import pytest

from gossamer.core.attribution import Blocks, gradient_dot, tracin, tracin_f


def other_params(regression, factor):
    return jax.tree.map(lambda leaf: factor * leaf, regression.params)


def test_checkpoints_add_up(regression, tmp_path):
    loss, train, queries = regression.loss, regression.train, regression.queries
    checkpoints = [other_params(regression, 0.5), regression.params]
    first, second = (gradient_dot(loss, each, train, queries) for each in checkpoints)
    found = tracin(loss, iter(checkpoints), train, queries, weights=[0.1, 2.0])
    np.testing.assert_allclose(found, 0.1 * first + 2 * second, rtol=1e-12)
    found = tracin_f(loss, checkpoints, train, queries, blocks=Blocks(8, journal=tmp_path))
    np.testing.assert_allclose(found, (first + second) / 2, rtol=1e-12)
    assert {path.name for path in tmp_path.iterdir()} == {"0001", "0002"}


def test_scores_are_what_training_took_off(regression):
    rate, params = 1e-4, other_params(regression, 0.0)
    losses = jax.vmap(regression.loss, (None, 0))
    start, checkpoints = losses(params, regression.queries), []
    for n in range(23):
        checkpoints.append(params)
        example = jax.tree.map(lambda leaf, n=n: leaf[n], regression.train)
        gradient = jax.grad(regression.loss)(params, example)
        params = jax.tree.map(lambda x, g: x - rate * g, params, gradient)
    # The score of example n at the checkpoint of its own step.
    taken = sum(
        tracin(
            regression.loss,
            [checkpoints[n]],
            jax.tree.map(lambda leaf, n=n: leaf[n : n + 1], regression.train),
            regression.queries,
            weights=[rate],
        )[:, 0]
        for n in range(23)
    )
    # First order in the rate: what is left is of order rate^2 ||g||^2 ||H||.
    np.testing.assert_allclose(
        start - losses(params, regression.queries), taken, rtol=2e-3, atol=1e-5
    )


def test_bad_input_is_refused(regression):
    arguments = (regression.train, regression.queries)
    with pytest.raises(ValueError, match="`checkpoints` must hold"):
        tracin(regression.loss, [], *arguments)
    with pytest.raises(ValueError, match="`checkpoints` must hold"):
        tracin_f(regression.loss, [], *arguments)
    for weights in ([1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="`weights` must be one for each"):
            tracin(regression.loss, [regression.params] * 2, *arguments, weights=weights)
