"""Statistics of batch norm, estimated anew for a model that no learner has trained.

The mean of the learners' weights is another model than each of theirs, and after few steps moving
averages still remember the first weights.  So the averaged model looks at some batches of training
images, its weights fixed.  From means m and variances v of each batch,

    mean = E[m],    var = E[v + m^2] - mean^2.

References:
    Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, arXiv:2105.07576, section 3.
    P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018,
        arXiv:1803.05407, section 3.2 (the same for averaged weights).
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from . import recipe
from .classifier import create_network
from .run_config import VisionConfig


def estimate(
    config: VisionConfig,
    num_classes: int,
    variables: Any,
    batches: Iterator[recipe.Batch],
    *,
    number: int,
) -> Any:
    """Estimates the statistics of a model from training images.

    Args:
        config: the run.
        num_classes: of its data.
        variables: "params" and, if quantized, "clips", of one model.
        batches: batches with axes of learners and rows in front, see `loader.batches`.
        number: of batches to look at, at least 1.

    Returns:
        The collection "batch_stats": "mean" and "var" for each channel of each batch norm.
    """
    found = []
    for batch in itertools.islice(batches, number):
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        found.append(_of_batch(config, num_classes, variables, rows))
    return jax.tree.map(_pool, *found, is_leaf=_is_norm)


def _is_norm(node: Any) -> bool:
    return isinstance(node, dict) and "mean" in node


def _pool(*norms: dict[str, jax.Array]) -> dict[str, jax.Array]:
    means = jnp.stack([norm["mean"] for norm in norms])
    variances = jnp.stack([norm["var"] for norm in norms])
    return {"mean": jnp.mean(means, 0), "var": jnp.mean(variances, 0) + jnp.var(means, 0)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _of_batch(config: VisionConfig, num_classes: int, variables: Any, batch: recipe.Batch) -> Any:
    network = create_network(config.network, num_classes)
    _, (_, statistics) = recipe.loss_function(config, network)(variables, batch, jax.random.key(0))
    return statistics
