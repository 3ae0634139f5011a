"""Metagradients: the derivative of a query's loss through the whole training, the gold standard.

Training example n gets a weight w_n = 1 in the loss of every batch it is in,

    theta_{t+1} = theta_t + u( sum_{n in batch t} w_n g_n(theta_t) / B ),
    score[q, n] = - d l_q(theta_T) / d w_n,

and the derivative goes back through all steps, which are recomputed one by one on the way.  It is
exact for the training that took place, optimum or not; it costs a few trainings for each query and
holds the parameters and optimizer state of every step.

References:
    A. Ilyas, L. Engstrom, "MAGIC: Near-Optimal Data Attribution for Deep Learning", 2025,
        arXiv:2504.16430.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .blocks import count
from .directional import Loss


def train_unrolled(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    params: Any,
    train: Any,
    order: jax.Array,
    weights: jax.Array,
) -> Any:
    """Small-scale training as one differentiable function.

    Args:
        loss: ``loss(params, example) -> scalar`` of one training example, pure.
        optimizer: an optax transform, smooth: Adam needs ``eps_root`` > 0.
        params: where training starts.
        train: training examples, pytree with a leading axis [N, ...].
        order: [T, B] int, the examples of each step.
        weights: [N] of each example in the loss; 0 leaves it out.

    Returns:
        The parameters after T steps.
    """

    @jax.checkpoint
    def advance(carry, rows):
        params, state = carry
        batch = jax.tree.map(lambda leaf: leaf[rows], train)

        def mean(params):
            return jnp.mean(weights[rows] * jax.vmap(loss, (None, 0))(params, batch))

        updates, state = optimizer.update(jax.grad(mean)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(advance, (params, optimizer.init(params)), order)[0][0]


def metagradient_scores(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    params: Any,
    train: Any,
    queries: Any,
    order: Any,
    *,
    query_loss: Loss | None = None,
) -> np.ndarray:
    """-d l_q / d w_n for all queries and training examples.

    Args:
        loss: see `train_unrolled`.
        optimizer: see `train_unrolled`.
        params: where training started.
        train: training examples, pytree with a leading axis [N, ...].
        queries: what is to be explained, pytree with a leading axis [Q, ...].
        order: [T, B] int, the examples of each step.
        query_loss: see `gradient_dot`.

    Returns:
        [Q, N] scores; each estimates the rise of the query's loss when n is left out.

    Raises:
        FloatingPointError: if a derivative is not finite.
    """
    train, queries = jax.tree.map(jnp.asarray, (train, queries))
    weights = jnp.ones(count(train))
    options = (query_loss or loss, loss, optimizer)
    scores = np.asarray(_backward(options, params, train, queries, jnp.asarray(order), weights))
    if not np.all(np.isfinite(scores)):
        raise FloatingPointError(
            "metagradients are not finite: give Adam `eps_root` > 0, whose square root has no "
            "derivative at zero, or lower the learning rate until training is smooth."
        )
    return scores


@functools.partial(jax.jit, static_argnums=0)
def _backward(options, params, train, queries, order, weights):
    query_loss, loss, optimizer = options

    def final(weights):
        return train_unrolled(loss, optimizer, params, train, order, weights)

    trained, pull = jax.vjp(final, weights)
    return jax.lax.map(lambda query: -pull(jax.grad(query_loss)(trained, query))[0], queries)
