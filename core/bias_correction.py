"""Exact decentralized training on learners with different data: D2 and gradient tracking.

With a constant step size, D-PSGD on learners whose data differ stops where each learner's own
gradient balances the pull of its neighbors: apart from each other and, unless all have the same
curvature, off the optimum of the mean loss.  Both methods here add to each learner's vector v_i a
correction that integrates what mixing does to it,

    y_i = v_i + c_i,    c_i <- c_i + sum_j W_ij y_j - y_i,    c_i = 0 at the start.

W is doubly stochastic, so the corrections sum to zero over the learners and mean(y) = mean(v) at
every step, exactly up to rounding.  They come to rest only where all y_i agree.

    gradient tracking   v = g: the optimizer of each learner sees an estimate y_i of the mean
                        gradient, y <- W y + g_new - g_old
    D2                  v = x + u, the weights after the local update u: with the new c_i,
                        x + u + c = W y, that is x_new = W (2 x - x_old + u - u_old)

References:
    P. Di Lorenzo and G. Scutari, "NEXT: In-Network Nonconvex Optimization", 2016,
        arXiv:1602.00591.
    A. Nedic, A. Olshevsky, W. Shi, "Achieving Geometric Convergence for Distributed Optimization
        over Time-Varying Graphs", 2017, arXiv:1607.03218.
    H. Tang et al., "D2: Decentralized Training over Decentralized Data", 2018, arXiv:1803.07068.
    Y. Takezawa et al., "Momentum Tracking: Momentum Acceleration for Decentralized Deep Learning on
        Heterogeneous Data", 2022, arXiv:2209.15505.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import gossip, mixing, mixing_analysis
from .topology import Topology


class CorrectionState(NamedTuple):
    """State of `track` and `d2`."""

    step: jax.Array  # [] int32: number of updates so far; selects the mixing matrix
    correction: Any  # c, shapes of the parameters, float32 or better; zero mean over the learners


def track(
    topology: Topology, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """Replaces a learner's updates g by a running estimate y of their mean over the learners.

    The link of `gradient_tracking`, for chains of one's own.  First in a chain it tracks gradients;
    between a momentum and the learning rate it tracks the momentum, as Momentum Tracking does:

        optax.chain(optax.trace(0.9), track(graph), optax.scale_by_learning_rate(0.1),
                    gossip.mix(graph, order="atc"))

    Args:
        topology: who averages with whom.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.

    Returns:
        A transform that exchanges updates and keeps their dtype.

    Raises:
        ValueError: in ``update``, if the size of the axis is not the topology's, or the learners
            share the parameters given.
    """

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if axis_name is None:
            return updates, state
        mixing.check_learners(params, topology.num_learners, axis_name)
        updates = jax.tree.map(mixing.rounded, updates)
        return _integrate(updates, state, topology, axis_name)

    return optax.GradientTransformationExtraArgs(_init, update)


def gradient_tracking(
    inner: optax.GradientTransformation,
    topology: Topology,
    *,
    axis_name: str | None = "learner",
    order: gossip.Order = "atc",
) -> optax.GradientTransformationExtraArgs:
    """Decentralized SGD that reaches the optimum of the mean loss whatever each learner's data.

        x <- W (x + u(y)),    y <- W y + g_new - g_old,

    and mean(y) = mean(g) at every step.  Any inner optimizer whose update vanishes with its
    gradient rests at the optimum.  A step sends twice what `gossip.dpsgd` sends.

    Args:
        inner: the optimizer each learner runs on its tracked gradients.
        topology: who averages with whom, symmetric or not, static or changing.
        axis_name: the axis of learners; None for a single learner.
        order: "atc" as written above, or "awc", W x + u(y), which overlaps and tolerates smaller
            steps only.

    Returns:
        ``optax.chain(track(topology), inner, gossip.mix(topology, order=order))``.

    Example:
        >>> optimizer = gradient_tracking(optax.sgd(0.1), ring(8))

    References:
        A. Nedic, A. Olshevsky, W. Shi, 2017, arXiv:1607.03218.
    """
    return optax.chain(
        track(topology, axis_name), inner, gossip.mix(topology, axis_name, order=order)
    )


def d2(
    inner: optax.GradientTransformation,
    topology: Topology,
    *,
    axis_name: str | None = "learner",
) -> optax.GradientTransformationExtraArgs:
    """D2: no bias from different data, at the traffic of `gossip.dpsgd`.

        x <- W (2 x - x_old + u - u_old),    the first step x <- W (x + u).

    The mean iterate follows the mean of the updates.  Stationary learners agree and their updates
    average to zero, which is the optimum for updates linear in the gradient (SGD, with momentum
    too, without clipping); for Adam use `gradient_tracking`.

    Args:
        inner: the optimizer each learner runs on its own gradients.
        topology: static and symmetric, with lambda_min > -1/3, below which D2 diverges.
        axis_name: the axis of learners; None for a single learner.

    Returns:
        A transform whose ``update`` needs `params`; the exchanged arrays have their dtype.

    Raises:
        ValueError: if the topology changes, is not symmetric, or has lambda_min <= -1/3; in
            ``update`` as for `gossip.mix`.

    Example:
        >>> optimizer = d2(optax.sgd(0.1), lazy(ring(8)))

    References:
        H. Tang et al., 2018, arXiv:1803.07068.
    """
    _check_matrix_of_d2(topology)

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if axis_name is None:
            return updates, state
        if params is None:
            raise ValueError("`params` must be given to the update of D2, which averages them.")
        mixing.check_learners(params, topology.num_learners, axis_name)
        updates = jax.tree.map(mixing.rounded, updates)
        moved = optax.apply_updates(params, updates)
        _, state = _integrate(moved, state, topology, axis_name)
        return _add(updates, state.correction), state

    return optax.chain(inner, optax.GradientTransformationExtraArgs(_init, update))


def _init(params) -> CorrectionState:
    def zeros(x):
        return jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32))

    return CorrectionState(jnp.zeros([], jnp.int32), jax.tree.map(zeros, params))


def _integrate(vectors, state, topology, axis_name) -> tuple[Any, CorrectionState]:
    """The vectors y = v + c, and the state with c + (W - I) y; y travels in the dtype of v."""
    y = _add(vectors, state.correction)
    pulls = mixing.pull(y, topology, state.step, axis_name)
    correction = jax.tree.map(lambda c, pulled: c + pulled, state.correction, pulls)
    return y, CorrectionState(jnp.asarray(optax.safe_increment(state.step)), correction)


def _add(tree, corrections):
    return jax.tree.map(lambda x, c: (x + c).astype(x.dtype), tree, corrections)


def _check_matrix_of_d2(topology: Topology) -> None:
    if topology.period > 1:
        raise ValueError(
            f"`topology` of D2 must be static, got one of period {topology.period}; use "
            "`gradient_tracking`, which takes changing topologies."
        )
    smallest = mixing_analysis.lambda_min(topology)
    if not smallest > -1.0 / 3.0 + 1e-9:  # An even ring is at the limit, up to rounding.
        raise ValueError(
            f"`topology` of D2 must have lambda_min > -1/3, got {smallest:.6f}; give "
            "`topology_algebra.lazy(topology)`, of matrix (I + W)/2."
        )
