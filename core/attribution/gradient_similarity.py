"""Similarity of gradients at one set of parameters: the simplest influence scores.

    gradient_dot[q, n]    = <g_q, g_n>
    gradient_cosine[q, n] = <g_q, g_n> / (||g_q|| ||g_n||)
    self_influence[n]     = ||g_n||^2

A positive score: a small step on training example n lowers the loss of query q.

References:
    G. Charpiat et al., "Input Similarity from the Neural Network Perspective", 2019,
        arXiv:2102.05262.
"""

from typing import Any

import numpy as np

from .blocks import Blocks
from .directional import Engine, Loss, directional_scores, example_gradients, gradient_norms


def gradient_dot(
    loss: Loss,
    params: Any,
    train: Any,
    queries: Any,
    *,
    query_loss: Loss | None = None,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """<g_q, g_n>: how much a step on n lowers the loss of q.

    Args:
        loss: ``loss(params, example) -> scalar`` of one training example, pure.
        params: pytree of arrays.
        train: training examples, pytree with a leading axis [N, ...].
        queries: what is to be explained, pytree with a leading axis [Q, ...].
        query_loss: what is explained of a query, something that training would lower; `loss` by
            default.
        engine: see `directional`.
        blocks: block size, devices, journal, progress.

    Returns:
        [Q, N] scores.

    Raises:
        FloatingPointError: if a score is not finite.
    """
    vectors = example_gradients(query_loss or loss, params, queries)
    return directional_scores(loss, params, vectors, train, engine=engine, blocks=blocks)


def gradient_cosine(
    loss: Loss,
    params: Any,
    train: Any,
    queries: Any,
    *,
    query_loss: Loss | None = None,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """The cosine of the angle between g_q and g_n, 0 where one of them is zero.

    Arguments, result and errors are those of `gradient_dot`.  It forms per-example gradients block
    by block, for their lengths.
    """
    query_loss = query_loss or loss
    dots = gradient_dot(
        loss, params, train, queries, query_loss=query_loss, engine=engine, blocks=blocks
    )
    # A journal holds one computation, and that was the one above.
    plain = None if blocks is None else Blocks(blocks.size, blocks.devices)
    lengths = np.outer(
        gradient_norms(query_loss, params, queries, blocks=plain),
        gradient_norms(loss, params, train, blocks=plain),
    )
    return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)


def self_influence(
    loss: Loss, params: Any, train: Any, *, blocks: Blocks | None = None
) -> np.ndarray:
    """||g_n||^2 of every training example [N]; large where a label is at odds with the rest."""
    return np.square(gradient_norms(loss, params, train, blocks=blocks))
