"""Whether scores say what training does: measures against models trained again.

    leave-one-out     correlation of scores with what each query's loss rises when n is left out
    datamodeling      rank correlation, over random subsets, of the loss after training on a subset
                      with minus the sum of the subset's scores (LDS)
    subset removal    rise of a query's loss when its k most supporting examples are left out
    mislabel AUC      probability that an example with a wrong label has a higher score than another

All take scores [queries, training examples], of which a positive one supports.  Off convex models
the effect of one example drowns in the noise of training, so trust the others there.

References:
    S. Park et al., "TRAK: Attributing Model Behavior at Scale", 2023, arXiv:2303.14186.
    P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence Functions", 2017,
        arXiv:1703.04730.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .directional import Loss
from .unrolling import train_unrolled


def losses_after_training(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    params: Any,
    train: Any,
    queries: Any,
    order: Any,
    weights: np.ndarray,
) -> np.ndarray:
    """Trains again under other weights of the examples, one training after another.

    Args:
        loss: ``loss(params, example) -> scalar`` of one example, pure.
        optimizer: see `unrolling.train_unrolled`.
        params: where each training starts.
        train: training examples, pytree with a leading axis [N, ...].
        queries: pytree with a leading axis [Q, ...].
        order: [T, B] int, the examples of each step.
        weights: [S, N] of the examples in each of S trainings; 0 leaves one out.

    Returns:
        [S, Q] losses of the queries.
    """
    arguments = jax.tree.map(jnp.asarray, (params, train, queries, order))
    return np.stack(
        [np.asarray(_retrain((loss, optimizer), *arguments, jnp.asarray(w))) for w in weights]
    )


def draw_subsets(key: jax.Array, number: int, total: int, share: float) -> np.ndarray:
    """Random subsets of a training set: [number, total] of 0 and 1, each with that share of ones.

    Raises:
        ValueError: if a subset would be empty or everything.
    """
    kept = round(share * total)
    if not 0 < kept < total:
        raise ValueError(f"`share` must keep some of {total} examples and not all, got {share}.")
    ranks = jax.random.uniform(key, (number, total)).argsort(1).argsort(1)
    return np.asarray(ranks < kept, float)


def datamodeling_score(scores: np.ndarray, subsets: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """LDS of each query.

    Args:
        scores: [Q, N].
        subsets: [S, N] of 0 and 1, see `draw_subsets`.
        losses: [S, Q] after training on each subset, see `losses_after_training`.

    Returns:
        [Q] rank correlations, from -1 to 1; 0 for scores that are all equal.
    """
    predicted = -subsets @ scores.T  # support lowers the loss
    return np.array([_spearman(*pair) for pair in zip(predicted.T, losses.T, strict=True)])


def leave_one_out_correlation(scores: np.ndarray, rises: np.ndarray) -> np.ndarray:
    """Rank correlation [Q] of scores [Q, N] with the rises [Q, N] when each example is left out."""
    return np.array([_spearman(*pair) for pair in zip(scores, rises, strict=True)])


def removal_weights(scores: np.ndarray, number: int) -> np.ndarray:
    """[Q, N] of 0 and 1 that leave out the `number` most supporting examples of each query.

    Train with each row and compare the loss of its query: ``losses[q, q]``.
    """
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return (ranks >= number).astype(float)


def mislabel_auc(suspicion: np.ndarray, mislabeled: np.ndarray) -> float:
    """Area under the curve of finding wrong labels.

    Args:
        suspicion: [N], high where a label looks wrong, such as `self_influence`.
        mislabeled: [N] bool.

    Raises:
        ValueError: if no label is wrong, or all are.
    """
    mislabeled = np.asarray(mislabeled, bool)
    wrong = int(mislabeled.sum())
    right = len(mislabeled) - wrong
    if not wrong or not right:
        raise ValueError("`mislabeled` must hold wrong and right labels.")
    return float((_ranks(suspicion)[mislabeled].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the mean one for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (_ranks(values) - (len(values) + 1) / 2 for values in (x, y))
    length = np.linalg.norm(x) * np.linalg.norm(y)
    return float(x @ y / length) if length else 0.0


@functools.partial(jax.jit, static_argnums=0)
def _retrain(options, params, train, queries, order, weights):
    loss, optimizer = options
    trained = train_unrolled(loss, optimizer, params, train, order, weights)
    return jax.vmap(loss, (None, 0))(trained, queries)
