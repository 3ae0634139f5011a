"""Gossip averaging as the last link of an optax chain: decentralized SGD in two orders.

Each of n learners holds its own weights x_i and computes its update u_i (for SGD, -a g_i) at x_i.
Instead of averaging gradients, learners average weights with their neighbors through a doubly
stochastic matrix W (see `topology`).  The two orders of averaging and update are

    AWC, adapt while communicate (D-PSGD):    x_i <- sum_j W_ij x_j + u_i
    ATC, adapt, then combine:                 x_i <- sum_j W_ij (x_j + u_j)

AWC can overlap communication with the gradient, but on a quadratic of curvature h its consensus
modes are lambda_k - a h, so that it needs a h < 1 + lambda_min(W): 2/3 on a ring of even n.  The
modes of ATC are lambda_k (1 - a h), never worse than those of synchronous SGD.

A learner is a position on a named axis; `learners` runs the same function under ``jax.vmap``,
``jax.shard_map`` and ``jax.pmap``.  Every sum here has one fixed order, so in float32 and float64
the engines agree bit for bit.  Whatever precedes the link sees one learner only: a clipping by
global norm is local, and momenta are not averaged.

References:
    X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", 2017,
        arXiv:1705.09056.
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
"""

import functools
import itertools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .topology import Exchange, Topology

Order = Literal["awc", "atc"]


class MixState(NamedTuple):
    """State of `mix`."""

    step: jax.Array  # [] int32: number of updates so far; selects the mixing matrix


def mix(
    topology: Topology, axis_name: str | None = "learner", order: Order = "awc"
) -> optax.GradientTransformationExtraArgs:
    """Averages the parameters of neighboring learners; the last link of an optax chain.

    With y = x (AWC) or y = x + u (ATC) the link turns the update u into

        u_i + sum_j W_ij (y_j - y_i),

    which ``optax.apply_updates`` adds to x.  Written in differences, learners that agree are left
    exactly as they are, and what one neighbor gains the other loses.  Sums run in float32 or
    better, in the order of the topology's exchanges; learners exchange the dtype of the parameters,
    one array for each exchange with others: ring gossip moves as many bytes as an all-reduce around
    a ring, in one step.  A uniform W gathers all arrays instead, which fixes the order of its sum
    but moves n / 2 times the bytes of an all-reduce.

    Args:
        topology: who averages with whom; as many learners as `axis_name` has positions.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        order: "awc" for W x + u, "atc" for W (x + u).

    Returns:
        A transform whose ``update`` needs `params` and keeps the dtype of the updates.

    Raises:
        ValueError: if `order` is unknown; in ``update``, if `params` is missing or the size of the
            axis is not the topology's.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1, momentum=0.9), mix(ring(8)))

    References:
        X. Lian et al., 2017, arXiv:1705.09056.
    """
    if order not in get_args(Order):
        raise ValueError(f'`order` must be "awc" or "atc", got {order!r}.')

    def init(params):
        del params
        return MixState(step=jnp.zeros([], jnp.int32))

    def update(updates, state, params=None, **extra_args):
        del extra_args
        next_state = MixState(step=jnp.asarray(optax.safe_increment(state.step)))
        if axis_name is None:
            return updates, next_state
        if params is None:
            raise ValueError("`params` must be given to the update of gossip, which averages them.")
        _check_axis(topology, axis_name)
        updates = jax.tree.map(_rounded, updates)
        weights = params if order == "awc" else optax.apply_updates(params, updates)
        corrections = _correct(weights, topology, state.step, axis_name)
        updates = jax.tree.map(lambda u, c: (u + c).astype(u.dtype), updates, corrections)
        return updates, next_state

    return optax.GradientTransformationExtraArgs(init, update)


def dpsgd(
    inner: optax.GradientTransformation,
    topology: Topology,
    *,
    axis_name: str | None = "learner",
    order: Order = "awc",
) -> optax.GradientTransformationExtraArgs:
    """Decentralized parallel SGD: any local optimizer, followed by gossip averaging.

    Start all learners from identical parameters: the initial disagreement otherwise dominates.
    The model to evaluate is the mean over the learners, see `learners.average`.

    Args:
        inner: the optimizer each learner runs on its own gradients.
        topology: who averages with whom.
        axis_name: the axis of learners; None for a single learner.
        order: "awc" or "atc", see `mix`.

    Returns:
        ``optax.chain(inner, mix(topology, axis_name, order))``.

    Example:
        >>> optimizer = dpsgd(optax.adam(1e-3), ring(8), order="atc")

    References:
        X. Lian et al., 2017, arXiv:1705.09056.
    """
    return optax.chain(inner, mix(topology, axis_name, order))


def consensus_distance(params: optax.Params, axis_name: str = "learner") -> jax.Array:
    """How far the learners are apart: sigma_w^2 = (1/n) sum_i ||x_i - mean_j x_j||^2.

    Call it where `axis_name` is bound, with each learner's own parameters.  A diagnostic: it uses
    the engine's all-reduce, so engines agree up to rounding only.

    Args:
        params: pytree of one learner's parameters.
        axis_name: the axis of learners.

    Returns:
        [] float32 (float64 for float64 parameters), the same on every learner.
    """

    def squared_distance(x):
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return jnp.sum(jnp.square(x - jax.lax.pmean(x, axis_name)))

    return jax.lax.pmean(optax.tree.sum(jax.tree.map(squared_distance, params)), axis_name)


def _check_axis(topology: Topology, axis_name: str) -> None:
    axis_size = jax.lax.axis_size(axis_name)
    if axis_size != topology.num_learners:
        raise ValueError(
            f"`topology` must have one learner for each position on the axis {axis_name!r}: got "
            f"{topology.num_learners} learners on an axis of size {axis_size}; build the topology "
            f"for {axis_size} learners."
        )


def _correct(params, topology, step, axis_name):
    """The pytree (W - I) x of the step's mixing matrix, in float32 or better."""

    def branch(index):
        exchanges = topology.mixings[index]
        if np.allclose(topology.matrix(index), 1.0 / topology.num_learners, rtol=1e-12):
            pull = functools.partial(_pull_to_mean, axis_name=axis_name)
        else:
            pull = functools.partial(_pull_to_neighbors, exchanges=exchanges, axis_name=axis_name)
        return functools.partial(jax.tree.map, pull)

    branches = [branch(index) for index in range(topology.period)]
    if topology.period == 1:
        return branches[0](params)
    # All learners count the same steps. Taking their maximum tells so to `vmap`, which otherwise
    # computes every branch for every learner.
    index = jax.lax.pmax(step, axis_name) % topology.period
    return jax.lax.switch(index, branches, params)


def _pull_to_neighbors(x: jax.Array, exchanges: tuple[Exchange, ...], axis_name: str) -> jax.Array:
    """sum_k w_k (x[sources_k] - x), the exchanges of equal weight summed first."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    terms = []
    for weight, group in itertools.groupby(exchanges, key=lambda exchange: exchange.weight):
        differences = [
            _receive(x, exchange.sources, axis_name).astype(wide) - x.astype(wide)
            for exchange in group
        ]
        terms.append(_rounded(weight * functools.reduce(jnp.add, differences)))
    return functools.reduce(jnp.add, terms)


def _receive(x: jax.Array, sources: tuple[int, ...], axis_name: str) -> jax.Array:
    if sources == tuple(range(len(sources))):
        return x
    return jax.lax.ppermute(x, axis_name, [(source, i) for i, source in enumerate(sources)])


def _pull_to_mean(x: jax.Array, axis_name: str) -> jax.Array:
    """mean_j x_j - x_i, the mean summed in the order of the learners.

    An all-reduce sums in an order of the engine's choice.  This gathers instead: every learner
    sends its array n - 1 times and holds n of them, one leaf of the tree at a time.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    gathered = jax.lax.all_gather(x, axis_name)  # [num_learners, ...]
    first = gathered[0].astype(wide)
    # A loop: XLA would compute a sum of n terms anew for every learner that `vmap` simulates. It
    # starts from zeros that vary over the learners, as the type checks of `shard_map` ask.
    total, _ = jax.lax.scan(
        lambda total, other: (total + (other.astype(wide) - first), None), first - first, gathered
    )
    return first + _rounded(total / len(gathered)) - x.astype(wide)


def _rounded(x: jax.Array) -> jax.Array:
    """The value x, rounded to its dtype.

    XLA may contract a product and a following sum to one operation with a single rounding; whether
    it does depends on its fusions, which differ between engines.  A selection keeps the two apart.
    """
    return jnp.where(jnp.isnan(x), jnp.nan, x)
