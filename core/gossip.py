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
the engines agree bit for bit; only after Adam, on a CPU and jax 0.12, the compiler contracts a
product with such a sum in one engine, and last bits differ.  Whatever precedes the link sees one
learner only: a clipping by global norm is local, and momenta are not averaged.  Statistics of batch
normalization are no parameters and are not mixed: each learner keeps its own, of its own data, and
evaluation takes their mean together with that of the weights, see `learners.average`.

References:
    X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", 2017,
        arXiv:1705.09056.
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
    X. Cui et al., "Asynchronous Decentralized Distributed Training of Acoustic Models", 2021,
        arXiv:2110.11199.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from . import mixing
from .topology import Topology, complete

Order = Literal["awc", "atc"]
Form = Literal["A", "B"]


class MixState(NamedTuple):
    """State of `mix`."""

    step: jax.Array  # [] int32: number of updates so far; selects the mixing matrix


class DelayState(NamedTuple):
    """State of form B in `delay_by_one`."""

    previous: Any  # the parameters of one step before, their tree, shapes and dtypes


def mix(
    topology: Topology, axis_name: str | None = "learner", order: Order = "awc"
) -> optax.GradientTransformationExtraArgs:
    """Averages the parameters of neighboring learners; the last link of an optax chain.

    With y = x (AWC) or y = x + u (ATC) the link turns the update u into

        u_i + sum_j W_ij (y_j - y_i),

    which ``optax.apply_updates`` adds to x.  Written in differences, learners that agree are left
    exactly as they are, and what one neighbor gains the other loses.  Sums run in float32 or
    better; learners exchange the dtype of the parameters, one array for each exchange with others,
    see `mixing.pull`: ring gossip moves as many bytes as an all-reduce around a ring, in one step.

    Args:
        topology: who averages with whom; as many learners as `axis_name` has positions.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        order: "awc" for W x + u, "atc" for W (x + u).

    Returns:
        A transform whose ``update`` needs `params` and keeps the dtype of the updates.

    Raises:
        ValueError: if `order` is unknown; in ``update``, if `params` is missing, the size of the
            axis is not the topology's, or the learners share parameters, whose gradient would be a
            sum over them, see `mixing.check_learners`.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1, momentum=0.9), mix(ring(8)))

    References:
        X. Lian et al., 2017, arXiv:1705.09056.
    """

    def pull(weights, step):
        # Old weights are ready before any gradient; new ones are, array by array, as it goes on.
        return mixing.pull(weights, topology, step, str(axis_name), together=order == "awc")

    return mix_by(pull, topology.num_learners, axis_name, order)


def mix_by(
    pull: Callable[[Any, jax.Array], Any],
    num_learners: int,
    axis_name: str | None = "learner",
    order: Order = "awc",
) -> optax.GradientTransformationExtraArgs:
    """The link of `mix` for any way of exchanging weights.

    Args:
        pull: ``pull(y, step) -> (W - I) y``, in float32 or better, for one learner's weights y and
            the [] number of the step.
        num_learners: as many learners as `axis_name` must have positions.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        order: "awc" for W x + u, "atc" for W (x + u).

    Returns:
        A transform as `mix` gives.

    Raises:
        ValueError: as `mix` does.
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
        mixing.check_learners(params, num_learners, axis_name)
        updates = jax.tree.map(mixing.rounded, updates)
        weights = params if order == "awc" else optax.apply_updates(params, updates)
        corrections = pull(weights, state.step)
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


def all_reduce(axis_name: str | None = "learner") -> optax.GradientTransformation:
    """Averages gradients over all learners: synchronous SGD, as the first link of an optax chain.

    Learners that start from the same parameters keep them in common.  The mean is the engine's
    all-reduce, so that engines agree up to rounding only.

    Args:
        axis_name: the axis of learners; None for a single learner, where the link is the identity.

    Returns:
        A transform without state.

    Example:
        >>> optimizer = optax.chain(all_reduce(), optax.sgd(0.1))
    """
    if axis_name is None:
        return optax.identity()
    return optax.stateless(lambda updates, params: jax.lax.pmean(updates, axis_name))


def delay_by_one(
    inner: optax.GradientTransformation,
    num_learners: int,
    *,
    form: Form = "A",
    axis_name: str | None = "learner",
) -> optax.GradientTransformationExtraArgs:
    """Averages all weights while the gradient is computed: D1, delay by one.

    The mean over the learners, an all-reduce of weights, overlaps with the gradient, so the
    gradient does not know it yet:

        form A:  x_i(k+1) = mean_j x_j(k) + u_i(x_i(k)),    `dpsgd` with W = 11^T/n
        form B:  x_i(k+1) = mean_j x_j(k) + u_i(x_i(k-1)).

    Form B leaves a whole step for the average.  Its gradient belongs at the weights of one step
    before, which `gradient_params` finds in the state; `training.train_step` does so.  On a
    quadratic of curvature h, form A needs a h < 1 and form B, whose mean follows
    x <- x - a h x(k-1), needs a h < 1 as well.

    Args:
        inner: the optimizer each learner runs on its own gradients; weight decay in it sees x(k).
        num_learners: number of learners n >= 1.
        form: "A" or "B".
        axis_name: the axis of learners; None for a single learner, which delays nothing.

    Returns:
        A transform whose ``update`` needs `params`.

    Raises:
        ValueError: if `form` is unknown or `num_learners` is below 1.

    Example:
        >>> optimizer = delay_by_one(optax.sgd(0.1), 8, form="B")
        >>> gradient = jax.grad(loss)(gradient_params(state, params))
        >>> updates, state = optimizer.update(gradient, state, params)

    References:
        X. Cui et al., 2021, arXiv:2110.11199.
    """
    if form not in get_args(Form):
        raise ValueError(f'`form` must be "A" or "B", got {form!r}.')
    synchronous = dpsgd(inner, complete(num_learners), axis_name=axis_name)
    if form == "A" or axis_name is None:
        return synchronous
    return optax.chain(synchronous, _remember())


def gradient_params(opt_state: optax.OptState, params: optax.Params) -> optax.Params:
    """The weights at which an optimizer expects the gradient: `params`, unless it is delayed.

    Args:
        opt_state: state of any optimizer, for instance a chain with `delay_by_one` in it.
        params: pytree of parameters x(k).

    Returns:
        x(k-1) for form B of `delay_by_one`, else `params`.
    """

    def is_delayed(state):
        return isinstance(state, DelayState)

    states = jax.tree.leaves(opt_state, is_leaf=is_delayed)
    return next((state.previous for state in states if is_delayed(state)), params)


def _remember() -> optax.GradientTransformation:
    """Keeps the parameters of a step for the gradient of the next one."""

    def init(params):
        return DelayState(previous=jax.tree.map(jnp.copy, params))

    def update(updates, state, params=None):
        del state
        return updates, DelayState(previous=params)

    return optax.GradientTransformation(init, update)


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
