"""Both engines against closed forms and finite differences; no parameter is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import Blocks, directional_scores, example_gradients, gradient_dot
from gossamer.core.attribution.directional import gradient_norms


def draw_network(key):
    """A classifier with all that peers forget: embedding, position, normalization, biases."""
    keys = jax.random.split(key, 4)
    return {
        "embedding": jax.random.normal(keys[0], (11, 6)),
        "position": jax.random.normal(keys[1], (5, 6)),
        "norm": {"scale": jnp.ones(6), "bias": jnp.zeros(6)},
        "dense": {"kernel": jax.random.normal(keys[2], (6, 6)) / 2, "bias": jnp.zeros(6)},
        "head": {"kernel": jax.random.normal(keys[3], (6, 3)) / 2, "bias": jnp.zeros(3)},
    }


def network_loss(params, example):
    x = params["embedding"][example["tokens"]] + params["position"]
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    x = x * params["norm"]["scale"][None] + params["norm"]["bias"][None]
    x = jnp.tanh(x @ params["dense"]["kernel"] + params["dense"]["bias"][None]).mean(0)
    logits = x @ params["head"]["kernel"] + params["head"]["bias"]
    return -jax.nn.log_softmax(logits)[example["label"]]


def draw_examples(number, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "tokens": generator.integers(0, 11, (number, 5)),
        "label": generator.integers(0, 3, number),
    }


@pytest.mark.parametrize("engine", ["forward", "gradient", "auto"])
@pytest.mark.parametrize("number", [1, 5])
def test_regression_in_closed_form(regression, engine, number):
    queries = jax.tree.map(lambda leaf: leaf[:number], regression.queries)
    found = gradient_dot(
        regression.loss,
        regression.params,
        regression.train,
        queries,
        engine=engine,
        blocks=Blocks(7),
    )
    expected = regression.query_gradients[:number] @ regression.gradients.T
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["forward", "gradient"])
def test_every_parameter_counts(float64, key, engine):
    params = draw_network(key)
    train, queries = draw_examples(7), draw_examples(2, seed=1)
    found = gradient_dot(network_loss, params, train, queries, engine=engine)
    # The oracle: one small step on each training example, and the loss before and after.
    losses = jax.vmap(network_loss, (None, 0))
    rate = 1e-5
    for n in range(7):
        example = jax.tree.map(lambda leaf, n=n: leaf[n], train)
        gradient = jax.grad(network_loss)(params, example)
        up, down = (
            losses(jax.tree.map(lambda x, g, s=s: x + s * rate * g, params, gradient), queries)
            for s in (1, -1)
        )
        # Central differences: an error of order rate^2 ||g||^3.
        np.testing.assert_allclose(found[:, n], (up - down) / (2 * rate), rtol=1e-6, atol=1e-9)
    # Each leaf alone makes a difference, so that none may be dropped.
    vectors = example_gradients(network_loss, params, queries)
    names = [path for path, _ in jax.tree.leaves_with_path(vectors)]
    for name in names:
        lacking = jax.tree.map_with_path(
            lambda path, leaf, name=name: leaf * (path != name), vectors
        )
        scores = directional_scores(network_loss, params, lacking, train, engine=engine)
        assert np.abs(scores - found).max() > 1e-4, name


def test_devices_give_the_same_scores(key):
    params, train = draw_network(key), draw_examples(21)
    one = gradient_dot(network_loss, params, train, draw_examples(2, 1))
    many = gradient_dot(
        network_loss, params, train, draw_examples(2, 1), blocks=Blocks(5, jax.devices())
    )
    np.testing.assert_allclose(one, many, rtol=1e-5, atol=1e-6)  # sums in another order


def test_lengths_of_gradients(regression):
    found = gradient_norms(regression.loss, regression.params, regression.train)
    np.testing.assert_allclose(found, np.linalg.norm(regression.gradients, axis=1), rtol=1e-10)


def test_bad_input_is_refused(regression):
    loss, params, train = regression.loss, regression.params, regression.train
    vectors = jax.tree.map(lambda leaf: leaf[None], params)
    with pytest.raises(ValueError, match="`engine` must be"):
        directional_scores(loss, params, vectors, train, engine="backward")  # type: ignore
    with pytest.raises(ValueError, match="`vectors` must have the tree"):
        directional_scores(loss, params, params, train)
    with pytest.raises(FloatingPointError, match="scores are not finite"):
        directional_scores(loss, params, vectors, train | {"x": train["x"] * np.inf})
    with pytest.raises(FloatingPointError, match="gradients of the queries"):
        example_gradients(loss, params, train | {"x": train["x"] * np.nan})
