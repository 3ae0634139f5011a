"""The regression that tests of attribution share, known in closed form."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest


class Regression(NamedTuple):
    """Ridge regression at its minimum, with everything that is known in closed form."""

    loss: Callable[[Any, Any], jax.Array]  # of one example, its share of the ridge included
    params: dict[str, jax.Array]
    train: dict[str, jax.Array]
    queries: dict[str, jax.Array]
    gradients: np.ndarray  # [N, 4]
    query_gradients: np.ndarray  # [Q, 4]
    hessian: np.ndarray  # [4, 4] of the mean loss


@pytest.fixture
def regression(float64) -> Regression:
    """A line through 23 points in three dimensions, with a bias in a leaf of its own."""
    generator = np.random.default_rng(0)
    ridge = 0.1

    def draw(number):
        x = generator.normal(size=(number, 3))
        return {"x": x, "y": x @ [1.0, -2.0, 0.5] + 0.3 + 0.5 * generator.normal(size=number)}

    def loss(params, example):
        error = example["x"] @ params["kernel"] + params["bias"][0] - example["y"]
        squares = jnp.sum(params["kernel"] ** 2) + jnp.sum(params["bias"] ** 2)
        return error**2 / 2 + ridge * squares / 2

    train, queries = draw(23), draw(5)
    rows = np.column_stack([np.ones(23), train["x"]])  # leaves in the order of JAX: bias, kernel
    hessian = rows.T @ rows / 23 + ridge * np.eye(4)
    weights = np.linalg.solve(hessian, rows.T @ train["y"] / 23)

    def gradients(data):
        rows = np.column_stack([np.ones(len(data["y"])), data["x"]])
        return rows * (rows @ weights - data["y"])[:, None] + ridge * weights

    return Regression(
        loss,
        {"bias": jnp.asarray(weights[:1]), "kernel": jnp.asarray(weights[1:])},
        jax.tree.map(jnp.asarray, train),
        jax.tree.map(jnp.asarray, queries),
        gradients(train),
        gradients(queries),
        hessian,
    )
