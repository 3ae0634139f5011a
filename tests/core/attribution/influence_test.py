"""Influence functions against closed forms, and against training again without an example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gossamer.core.attribution import (
    CG,
    Arnoldi,
    Fisher,
    GaussNewton,
    Hessian,
    LiSSA,
    influence_function,
    inverse_products,
)

SOLVERS = [
    CG(steps=20, tolerance=1e-12),
    LiSSA(steps=2000),
    Arnoldi(rank=4, steps=4),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_regression_in_closed_form(regression, solver, damping):
    found = influence_function(
        regression.loss,
        regression.params,
        regression.train,
        regression.queries,
        method=solver,
        damping=damping,
    )
    inverse = np.linalg.inv(regression.hessian + damping * np.eye(4))
    expected = regression.query_gradients @ inverse @ regression.gradients.T
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_random_blocks_of_lissa_agree_on_average(regression):
    solver = LiSSA(steps=400, repeats=60)
    vectors = {"bias": jnp.eye(4)[:, :1], "kernel": jnp.eye(4)[:, 1:]}
    found = inverse_products(
        Hessian(regression.loss),
        regression.params,
        regression.train,
        vectors,
        method=solver,
        damping=0.5,
        block_size=12,
    )
    inverse = np.linalg.inv(regression.hessian + 0.5 * np.eye(4))
    matrix = np.hstack([found.vectors["bias"], found.vectors["kernel"]])
    # 60 series; one of them is off by up to a third of the largest entry, and so is the mean by
    # an eighth of that.
    np.testing.assert_allclose(matrix, inverse, atol=0.08)


def test_leaving_one_out_of_ridge_regression(regression):
    scores = influence_function(
        regression.loss, regression.params, regression.train, regression.queries, damping=0.0
    )
    losses = jax.vmap(regression.loss, (None, 0))
    x = np.column_stack([np.ones(23), regression.train["x"]])
    y = np.asarray(regression.train["y"])

    def rise(n):
        kept = np.arange(23) != n
        hessian = x[kept].T @ x[kept] / 22 + 0.1 * np.eye(4)
        weights = np.linalg.solve(hessian, x[kept].T @ y[kept] / 22)
        params = {"bias": weights[:1], "kernel": weights[1:]}
        return losses(params, regression.queries) - losses(regression.params, regression.queries)

    rises = np.stack([rise(n) for n in range(23)], axis=1)
    for query in range(5):  # the rest is second order in 1 / N
        assert np.corrcoef(scores[query] / 22, rises[query])[0, 1] > 0.95


def test_leaving_one_out_of_logistic_regression(float64):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(40, 3))
    y = (x @ [1.5, -1.0, 0.5] + generator.logistic(size=40) > 0).astype(float)

    def predict(params, example):
        return example["x"] @ params

    def divergence(logit, example):
        return jax.nn.softplus(logit) - example["y"] * logit

    def loss(params, example):
        logit = predict(params, example)
        return divergence(logit, example) + 0.05 * jnp.sum(params**2)

    @jax.jit
    def fit(weights):
        def mean(params):
            each = jax.vmap(loss, (None, 0))(params, {"x": x, "y": y})
            return weights @ each / weights.sum()

        def newton(params, _):
            return params - jnp.linalg.solve(jax.hessian(mean)(params), jax.grad(mean)(params)), 0

        return jax.lax.scan(newton, jnp.zeros(3), None, length=12)[0]

    train = {"x": jnp.asarray(x), "y": jnp.asarray(y)}
    queries = {"x": jnp.asarray(generator.normal(size=(4, 3))), "y": jnp.array([0.0, 1, 0, 1])}
    params = fit(jnp.ones(40))
    scores = influence_function(loss, params, train, queries, damping=0.0)
    losses = jax.vmap(loss, (None, 0))
    without = jnp.ones((40, 40)) - jnp.eye(40)
    rises = jax.vmap(lambda weights: losses(fit(weights), queries) - losses(params, queries))(
        without
    )
    for query in range(4):
        assert stats.spearmanr(scores[query], rises[:, query]).statistic > 0.97
    # Linear in its parameters, the model has no curvature of its own: Gauss-Newton and the ridge
    # make the Hessian.
    other = influence_function(
        loss, params, train, queries, curvature=GaussNewton(predict, divergence), damping=0.1
    )
    np.testing.assert_allclose(other, scores, rtol=1e-4, atol=1e-6)


def test_fisher_is_the_second_moment(regression):
    vectors = {"bias": jnp.eye(4)[:, :1], "kernel": jnp.eye(4)[:, 1:]}
    found = inverse_products(
        Fisher(regression.loss),
        regression.params,
        regression.train,
        vectors,
        method=CG(tolerance=1e-12),
        damping=0.3,
    )
    moment = regression.gradients.T @ regression.gradients / 23
    matrix = np.hstack([found.vectors["bias"], found.vectors["kernel"]])
    np.testing.assert_allclose(matrix, np.linalg.inv(moment + 0.3 * np.eye(4)), rtol=1e-8)
    assert found.residuals.max() < 1e-12


def test_damping_comes_from_the_spectrum(regression):
    found = inverse_products(
        Hessian(regression.loss),
        regression.params,
        regression.train,
        jax.tree.map(lambda leaf: leaf[None], regression.params),
    )
    largest = np.linalg.eigvalsh(regression.hessian)[-1]
    np.testing.assert_allclose(found.damping, 1e-2 * largest, rtol=1e-2)  # 20 products


def test_an_indefinite_hessian_is_made_definite(float64):
    diagonal = jnp.array([-2.0, 1.0, 3.0])

    def loss(params, example):
        return params @ (diagonal * params) / 2 + example @ params

    train, vectors = jnp.ones((2, 3)), jnp.ones((1, 3))
    found = inverse_products(Hessian(loss), jnp.zeros(3), train, vectors)
    np.testing.assert_allclose(found.damping, 2 + 0.03, rtol=1e-3)
    np.testing.assert_allclose(found.vectors, 1 / (diagonal + found.damping)[None], rtol=1e-4)


def test_what_diverges_says_so(regression):
    arguments = (regression.loss, regression.params, regression.train, regression.queries)
    with pytest.raises(FloatingPointError, match=r"LiSSA.* diverged"):
        influence_function(*arguments, method=LiSSA(steps=100, scale=0.1))
    with pytest.raises(ValueError, match="`damping` must be at least 0"):
        influence_function(*arguments, damping=-1.0)
    with pytest.raises(ValueError, match=r"`method` must be a solver or one of \['arnoldi'"):
        influence_function(*arguments, method="newton")  # type: ignore
