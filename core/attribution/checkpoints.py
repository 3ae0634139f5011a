"""TracIn over checkpoints, and TracInF over variants of the final parameters.

    tracin[q, n]   = sum_c eta_c <g_q(theta_c), g_n(theta_c)>
    tracin_f[q, n] = (1 / M) sum_m <g_q(theta_m), g_n(theta_m)>

TracIn adds up what each example did for a query while the model was trained; its checkpoints are
correlated, and the early ones explain a model that is no longer there.  TracInF looks at parameters
theta_m = theta_F + d_m close to the final optimum instead, so that what it explains is the final
model.  How the d_m are made is our choice, see `variants`: the paper's own construction is not
known to us beyond its abstract.

References:
    G. Pruthi et al., "Estimating Training Data Influence by Tracing Gradient Descent", 2020,
        arXiv:2002.08484.
    W. Zhang et al., "On Sample Based Explanation Methods for NLP: Efficiency, Faithfulness, and
        Semantic Evaluation", 2021, arXiv:2106.04753.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .blocks import Blocks
from .directional import Engine, Loss
from .gradient_similarity import gradient_dot


def tracin(
    loss: Loss,
    checkpoints: Iterable[Any],
    train: Any,
    queries: Any,
    *,
    weights: Sequence[float] | None = None,
    query_loss: Loss | None = None,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """The weighted sum over checkpoints of <g_q, g_n>.

    Args:
        loss: ``loss(params, example) -> scalar`` of one training example, pure.
        checkpoints: parameters; an iterator is read one at a time.
        train: training examples, pytree with a leading axis [N, ...].
        queries: what is to be explained, pytree with a leading axis [Q, ...].
        weights: eta_c, the learning rate at each checkpoint; 1 by default.
        query_loss: see `gradient_dot`.
        engine: see `directional`.
        blocks: block size, devices, journal (a folder for each checkpoint in it), progress.

    Returns:
        [Q, N] scores.

    Raises:
        ValueError: if there are no checkpoints, or not as many as weights.
        FloatingPointError: if a score is not finite.
    """
    total, number = None, 0
    for number, params in enumerate(checkpoints, start=1):
        if weights is not None and number > len(weights):
            break
        inner = blocks
        if blocks is not None and blocks.journal is not None:
            inner = dataclasses.replace(blocks, journal=Path(blocks.journal) / f"{number:04d}")
        scores = gradient_dot(
            loss, params, train, queries, query_loss=query_loss, engine=engine, blocks=inner
        )
        scores = scores * (1.0 if weights is None else weights[number - 1])
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("`checkpoints` must hold at least one set of parameters, got none.")
    if weights is not None and number != len(weights):
        raise ValueError(
            f"`weights` must be one for each checkpoint, got {len(weights)} for "
            f"{'more' if number > len(weights) else number}."
        )
    return total


def tracin_f(
    loss: Loss,
    variants: Sequence[Any],
    train: Any,
    queries: Any,
    *,
    query_loss: Loss | None = None,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """The mean over variants of the final parameters of <g_q, g_n>.

    Args:
        loss: see `tracin`.
        variants: parameters near the final ones, see `variants`.
        train: see `tracin`.
        queries: see `tracin`.
        query_loss: see `gradient_dot`.
        engine: see `directional`.
        blocks: see `tracin`.

    Returns:
        [Q, N] scores.

    Raises:
        ValueError: if there are no variants.
        FloatingPointError: if a score is not finite.
    """
    return tracin(
        loss,
        variants,
        train,
        queries,
        weights=[1 / max(1, len(variants))] * len(variants),
        query_loss=query_loss,
        engine=engine,
        blocks=blocks,
    )
