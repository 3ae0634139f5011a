"""Gossip of nodes: exact averages of gradients inside a node, averages of weights across nodes.

The m learners of a node sit close together, often in one machine, and act as one learner of m
times the batch.  With J = 11^T/m, a mixing matrix T of the nodes and the update u of the gradient,

    AWC:  x <- (T kron I) x + u((I kron J) g(x))
    ATC:  x <- (T kron I) (x + u((I kron J) g(x)))

All learners of a node start from the same weights and keep them in common, so that T kron I does
to them what T kron J, the matrix of `topology.hierarchical`, does.  In AWC all that crosses nodes
can overlap with the gradient.  With M bytes of weights, and d neighbors of a node, a learner sends

    inside its node    2 (m - 1) / m M of gradients, an all-reduce
                       (m - 1) / m M of weights, an all-gather, in float32 or better
    across nodes       d / m M of weights, and a node thus d M

since each member exchanges its own m-th part of the weights, and hands it on inside the node.

References:
    W. Zhang et al., "A Highly Efficient Distributed Deep Learning System For Automatic Speech
        Recognition", 2019, arXiv:1907.05701: H-ADPSGD, the asynchronous relative.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import gossip, mixing
from .mixture import Topology, check_positive
from .topology_algebra import node_stages


def node_dpsgd(
    inner: optax.GradientTransformation,
    across: Topology,
    learners_per_node: int,
    *,
    axis_name: str | None = "learner",
    order: gossip.Order = "awc",
) -> optax.GradientTransformationExtraArgs:
    """Decentralized SGD of nodes, each of which is synchronous inside.

    Start all learners from identical parameters: those of a node then stay the same bit for bit.
    Engines agree up to rounding, as the mean of gradients is the engine's all-reduce.

    Args:
        inner: the optimizer of a node; it sees the mean of the node's gradients.
        across: topology of the nodes, with matrices T.
        learners_per_node: number of learners m >= 1 in each node; learner ``node * m + i`` is the
            i-th of its node.
        axis_name: the axis of all learners; None for a single learner.
        order: "awc" or "atc", see `gossip.mix`.

    Returns:
        ``optax.chain(all_reduce_inside(m), inner, mix_across(across, m))``.

    Raises:
        ValueError: if `learners_per_node` is below 1 or `order` unknown.

    Example:
        >>> optimizer = node_dpsgd(optax.sgd(0.1, momentum=0.9), ring(4), learners_per_node=2)

    References:
        W. Zhang et al., 2019, arXiv:1907.05701.
    """
    return optax.chain(
        all_reduce_inside(learners_per_node, axis_name),
        inner,
        mix_across(across, learners_per_node, axis_name, order),
    )


def all_reduce_inside(
    learners_per_node: int, axis_name: str | None = "learner"
) -> optax.GradientTransformation:
    """Averages gradients over the learners of a node, as the first link of an optax chain.

    Args:
        learners_per_node: number of learners m >= 1 in each node.
        axis_name: the axis of all learners; None for a single learner.

    Returns:
        A transform without state.

    Raises:
        ValueError: if `learners_per_node` is below 1.
    """
    size = check_positive(learners_per_node, "learners_per_node")
    if axis_name is None:
        return optax.identity()

    def average(x):
        groups = _groups(size, axis_name)
        if mixing.have_devices(axis_name):
            return jax.lax.pmean(x, axis_name, axis_index_groups=groups)
        # `jax.vmap` knows no groups; to gather costs nothing where all learners are in one place.
        learners = jax.lax.all_gather(x, axis_name).reshape(len(groups), size, *x.shape)
        return jnp.mean(learners, axis=1)[jax.lax.axis_index(axis_name) // size]

    return optax.stateless(lambda updates, params: jax.tree.map(average, updates))


def mix_across(
    across: Topology,
    learners_per_node: int,
    axis_name: str | None = "learner",
    order: gossip.Order = "awc",
) -> optax.GradientTransformationExtraArgs:
    """Averages the weights of neighboring nodes; the last link of an optax chain.

    Args:
        across: topology of the nodes.
        learners_per_node: number of learners m >= 1 in each node, all with the same parameters.
        axis_name: the axis of all learners; None for a single learner, where it is the identity.
        order: "awc" for W x + u, "atc" for W (x + u).

    Returns:
        A transform like `gossip.mix`, of the same state.

    Raises:
        ValueError: as `gossip.mix`.
    """
    between = node_stages(across, learners_per_node)[1]
    name = str(axis_name)

    def pull(weights, step):
        if not mixing.have_devices(name):  # Messages cost nothing there, and parts of them a copy.
            return mixing.pull(weights, between, step, name)
        exchange = functools.partial(
            _exchange, between=between, size=learners_per_node, step=step, axis_name=name
        )
        return mixing.map_packed(exchange, weights)

    return gossip.mix_by(pull, between.num_learners, axis_name, order)


def _exchange(
    vector: jax.Array, *, between: Topology, size: int, step: jax.Array, axis_name: str
) -> jax.Array:
    """`mixing.pull` of a vector that a node has in common, each member for its m-th part."""
    parts = jnp.pad(vector, (0, -vector.size % size)).reshape(size, -1)
    own = parts[jax.lax.axis_index(axis_name) % size]
    pulled = mixing.pull(own, between, step, axis_name)
    groups = _groups(size, axis_name)
    whole = jax.lax.all_gather(pulled, axis_name, axis_index_groups=groups, tiled=True)
    return whole[: vector.size]


def _groups(size: int, axis_name: str) -> list[list[int]]:
    num_learners = jax.lax.axis_size(axis_name)
    if num_learners % size:
        raise ValueError(
            f"`learners_per_node` must divide the number of learners, {num_learners}; got {size}."
        )
    return np.arange(num_learners).reshape(-1, size).tolist()
