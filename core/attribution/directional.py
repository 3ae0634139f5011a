"""Scores of training examples along directions: <v_q, g_n>, the one primitive of this package.

With g_n = grad l_n(params) for training example n, and v_q a direction in the space of parameters
for query q,

    score[q, n] = <v_q, g_n> = d/de l_n(params + e v_q)  at e = 0.

The right side is one forward-mode derivative of the vector of all losses of a block: no
per-example gradient ever exists, and every parameter counts, whatever layer it belongs to.  It
costs a forward pass for each query, so beyond a few queries it is cheaper to form the gradients of
a block one after another and multiply them with all directions at once.  Three engines:

    forward    one Jacobian-vector product for each query; memory of activations only
    gradient   per-example gradients of one block at a time, then a matrix product
    auto       forward up to `FORWARD_UP_TO` queries, else gradient

A positive score means: training on n moves parameters so that what v_q is the gradient of falls.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from .blocks import Blocks, count, describe

Loss = Callable[[Any, Any], jax.Array]  # (params, one example) -> scalar
Engine = Literal["auto", "forward", "gradient"]
FORWARD_UP_TO = 3  # queries; measured on a Transformer, see docs/explanation.md
GRADIENT_BYTES = 2**28  # of the per-example gradients that may exist at once


def directional_scores(
    loss: Loss,
    params: Any,
    vectors: Any,
    train: Any,
    *,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """<v_q, g_n> for all queries and training examples.

    Args:
        loss: ``loss(params, example) -> scalar`` of one example, pure.
        params: pytree of arrays.
        vectors: directions, like `params` with a leading axis [Q, ...] on every leaf.
        train: pytree of arrays with a leading axis [N, ...].
        engine: how, see the module; "auto" chooses by the number of queries.
        blocks: block size, devices, journal, progress.

    Returns:
        [Q, N] scores, on the host.

    Raises:
        ValueError: if the engine is unknown, or `vectors` do not fit `params`.
        FloatingPointError: if a score is not finite.

    Example:
        >>> loss = lambda w, example: (w @ example["x"] - example["y"]) ** 2 / 2
        >>> train = {"x": jnp.eye(2), "y": jnp.array([1.0, 2.0])}
        >>> directional_scores(loss, jnp.zeros(2), jnp.ones((1, 2)), train)
        array([[-1., -2.]], dtype=float32)
    """
    number = check_vectors(params, vectors)
    blocks = blocks or Blocks()
    if engine not in ("auto", "forward", "gradient"):
        raise ValueError(f'`engine` must be "auto", "forward" or "gradient", got {engine!r}.')
    if engine == "auto":
        engine = "forward" if number <= FORWARD_UP_TO else "gradient"
    if engine == "gradient":
        blocks = fit_blocks(blocks, params)
    function = _forward if engine == "forward" else _gradient
    scores = blocks.map(
        functools.partial(function, loss),
        train,
        params,
        vectors,
        label=f"{describe(loss)} {engine}",
    )
    return check_finite(scores.T, "scores")


def example_gradients(loss: Loss, params: Any, examples: Any) -> Any:
    """The gradient of each example: like `params` with a leading axis [Q, ...].

    Meant for queries; those of training examples are better never stored.

    Raises:
        FloatingPointError: if one is not finite.
    """
    count(examples)
    gradients = _gradients(loss, params, jax.tree.map(jnp.asarray, examples))
    check_finite(jax.tree.leaves(jax.tree.map(jnp.sum, gradients)), "gradients of the queries")
    return gradients


def gradient_norms(
    loss: Loss, params: Any, examples: Any, *, blocks: Blocks | None = None
) -> np.ndarray:
    """||g_n|| of every example [N]; its square is the self-influence of Hessian-free methods."""
    blocks = fit_blocks(blocks or Blocks(), params)
    norms = blocks.map(
        functools.partial(_norms, loss), examples, params, label=f"{describe(loss)} norms"
    )
    return check_finite(norms, "norms of gradients")


def fit_blocks(blocks: Blocks, params: Any) -> Blocks:
    """Blocks so small that the gradients of their examples take `GRADIENT_BYTES` at most."""
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return dataclasses.replace(blocks, size=max(1, min(blocks.size, GRADIENT_BYTES // each)))


def check_vectors(params: Any, vectors: Any) -> int:
    """The number of directions.

    Raises:
        ValueError: if they do not have the tree and shapes of the parameters.
    """
    expected = jax.tree.map(jnp.shape, params)
    shapes = jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], vectors)
    if jax.tree.structure(params) != jax.tree.structure(vectors) or expected != shapes:
        raise ValueError(
            "`vectors` must have the tree of `params` with a leading axis of queries on every "
            f"leaf, got {jax.tree.map(jnp.shape, vectors)} for {expected}."
        )
    return count(vectors)


def check_finite(values: Any, what: str) -> Any:
    """The values, if all are finite.

    Raises:
        FloatingPointError: else.
    """
    if not all(np.all(np.isfinite(value)) for value in np.atleast_1d(np.asarray(values))):
        raise FloatingPointError(
            f"{what} are not finite: look for overflow in `loss` at these parameters, or for "
            "examples that make it infinite; more damping helps where a curvature is inverted."
        )
    return values


@functools.partial(jax.jit, static_argnums=0)
def _forward(loss: Loss, block: Any, params: Any, vectors: Any) -> jax.Array:
    def losses(params):
        return jax.vmap(loss, (None, 0))(params, block)

    if count(vectors) == 1:  # nothing of the forward pass is kept
        direction = jax.tree.map(lambda leaf: leaf[0], vectors)
        return jax.jvp(losses, (params,), (direction,))[1][:, None]
    _, push = jax.linearize(losses, params)
    return jax.vmap(push)(vectors).T


@functools.partial(jax.jit, static_argnums=0)
def _gradient(loss: Loss, block: Any, params: Any, vectors: Any) -> jax.Array:
    gradients = jax.vmap(jax.grad(loss), (None, 0))(params, block)
    return sum_products(gradients, vectors)


def sum_products(left: Any, right: Any) -> jax.Array:
    """Inner products of all pairs from two stacks of trees: [B, ...], [Q, ...] -> [B, Q]."""
    products = jax.tree.map(
        lambda x, y: x.reshape(len(x), -1) @ y.reshape(len(y), -1).T, left, right
    )
    return functools.reduce(jnp.add, jax.tree.leaves(products))


@functools.partial(jax.jit, static_argnums=0)
def _gradients(loss: Loss, params: Any, examples: Any) -> Any:
    # One after another: vectorized, embeddings alone would take their size for each query twice.
    return jax.lax.map(lambda example: jax.grad(loss)(params, example), examples, batch_size=8)


@functools.partial(jax.jit, static_argnums=0)
def _norms(loss: Loss, block: Any, params: Any) -> jax.Array:
    gradients = jax.vmap(jax.grad(loss), (None, 0))(params, block)
    squares = jax.tree.map(lambda x: jnp.sum(jnp.square(x.reshape(len(x), -1)), 1), gradients)
    return jnp.sqrt(functools.reduce(jnp.add, jax.tree.leaves(squares)))
