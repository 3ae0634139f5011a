"""Metagradients against finite differences of whole trainings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core.attribution import metagradient_scores, train_unrolled

ORDER = np.random.default_rng(0).integers(0, 23, (15, 4))


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1, momentum=0.5), optax.adam(0.05, eps_root=1e-8)],
    ids=["sgd", "adam"],
)
def test_finite_differences_of_training(regression, optimizer):
    start = jax.tree.map(jnp.zeros_like, regression.params)
    found = metagradient_scores(
        regression.loss, optimizer, start, regression.train, regression.queries, ORDER
    )

    @jax.jit
    def losses(weights):
        run = functools.partial(train_unrolled, regression.loss, optimizer, start)
        params = run(regression.train, jnp.asarray(ORDER), weights)
        return jax.vmap(regression.loss, (None, 0))(params, regression.queries)

    shift = 1e-5
    for n in (0, 7, 22):
        moved = shift * jnp.eye(23)[n]
        slope = (losses(1 + moved) - losses(1 - moved)) / (2 * shift)
        np.testing.assert_allclose(found[:, n], -slope, rtol=1e-5, atol=1e-8)


def test_examples_out_of_every_batch_have_no_score(regression):
    found = metagradient_scores(
        regression.loss,
        optax.sgd(0.1),
        regression.params,
        regression.train,
        regression.queries,
        ORDER % 20,
    )
    np.testing.assert_array_equal(found[:, 20:], 0)
    assert np.abs(found[:, :20]).max() > 0


def test_adam_without_a_smooth_root_is_explained(float64):
    def loss(params, example):  # the gradient of the second parameter is zero throughout
        return (params @ (example * jnp.array([1.0, 0.0])) - 1) ** 2

    with pytest.raises(FloatingPointError, match="eps_root"):
        metagradient_scores(
            loss,
            optax.adam(0.1),
            jnp.zeros(2),
            jnp.ones(3),
            jnp.ones(1),
            np.array([[0, 1], [1, 2]]),
        )
