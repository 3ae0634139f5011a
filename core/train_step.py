"""The training step of one learner: a train state and a pure function with a guard.

A step is written from the view of one learner,

    k = fold_in(key, step),   (loss, g) = value_and_grad(loss)(x, batch, k),   x <- x + u(g),

and runs for one learner under ``jax.jit`` or for n under `learners.spread`.  Where loss or gradient
is not finite on any learner, all of them skip the step: if only that one did, the mixing matrix of
gossip would not be doubly stochastic and the mean of the learners would drift.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import gossip, learners, mixing, processes
from .diagnostics import Diagnostics, measure_if
from .microbatches import Loss, gradient_in_parts


class TrainState(NamedTuple):
    """What a training step carries; with n learners each leaf has a leading axis [num_learners]."""

    step: jax.Array  # [] int32: number of steps done, skipped ones included
    params: Any  # pytree of arrays
    opt_state: Any  # state of the optimizer
    key: jax.Array  # [] typed random key: constant, each step folds its number into it
    skipped: jax.Array  # [] int32: number of steps skipped in a row, up to now
    statistics: Any = ()  # pytree of arrays: moving averages of what the loss saw, of batch norm


def init_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    num_learners: int | None = None,
    statistics: Any = (),
) -> TrainState:
    """The state before the first step.

    Args:
        params: pytree of arrays, without a leading axis.
        optimizer: the transform given to `train_step`.
        key: typed random key, ``jax.random.key(seed)``.
        num_learners: None for one learner; else all n start from the same parameters, each with
            its own key, and every leaf has a leading axis [num_learners, ...].
        statistics: pytree of the first statistics, without a leading axis, see `train_step`.

    Returns:
        A `TrainState`.

    Raises:
        TypeError: if `key` is not a typed random key.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"`key` must be a typed random key, got {key.dtype}{list(key.shape)}; make it with "
            "jax.random.key(seed)."
        )
    zero = jnp.zeros([], jnp.int32)
    state = TrainState(zero, params, optimizer.init(params), key, zero, statistics)
    if num_learners is None:
        return state
    shared = learners.replicate(state._replace(key=None), num_learners)
    return shared._replace(key=jax.random.split(key, num_learners))


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    num_parts: int = 1,
    diagnostics: Diagnostics | None = None,
    consensus_every: int | None = 1,
    statistics_decay: float | None = None,
    **update_options: Any,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """Builds the training step of one learner, a pure function that is not jitted yet.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, {name: scalar})`` on one learner's batch.
        optimizer: an optax transform; its links may use collectives over `axis_name`.  It gets the
            gradient at `gossip.gradient_params`, which are x unless it asks for delayed weights.
        axis_name: the axis of learners, None for a single learner.
        num_parts: parts of a learner's batch that are worked on one after another, see
            `microbatches`.
        diagnostics: measures the step beside the update, for instance `landscape.diagnose`:
            ``diagnostics(state, batch, key, gradients) -> {name: scalar}`` with the state before
            the step, what `loss` was given, and its gradients.
        consensus_every: number of steps from one measurement of the consensus distance to the next,
            the first after ``consensus_every - 1`` steps; None for none.  It takes an all-reduce of
            all weights, as many bytes as gossip on a ring: where learners are devices, measure as
            often as you log.
        statistics_decay: None for a loss without statistics.  Else the loss returns
            ``(scalar, (metrics, statistics))``, the latter those of its batch, such as means and
            variances of batch norm, and ``state.statistics`` moves by
            s <- decay s + (1 - decay) statistics.  They are no parameters: each learner keeps those
            of its own data, see `learners.average`.
        update_options: further arguments of the optimizer's update, such as ``compress=False``.

    Returns:
        ``step(state, batch) -> (state, metrics)``.  Metrics are [] floats, averaged over the
        learners: those of `loss` and `diagnostics`, and "loss", "grad_norm", "finite" (1, or 0 for
        a skipped step) and, with an axis, "consensus_distance", NaN in steps that do not measure
        it.  A skipped step advances ``state.step`` and ``state.skipped`` and nothing else.

    Raises:
        ValueError: if `consensus_every` or `num_parts` is below 1, or `statistics_decay` outside
            [0, 1).

    Example:
        >>> step = jax.jit(train_step(loss, optax.adam(1e-3)), donate_argnums=0)
        >>> optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(8))
        >>> step = learners.spread(
        ...     train_step(loss, optimizer, axis_name="learner"), 8, donate_argnums=0)
    """
    if consensus_every is not None and consensus_every < 1:
        raise ValueError(f"`consensus_every` must be at least 1, got {consensus_every}.")
    if statistics_decay is not None and not 0 <= statistics_decay < 1:
        raise ValueError(f"`statistics_decay` must be in [0, 1), got {statistics_decay}.")
    gradient = gradient_in_parts(loss, num_parts)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        (value, details), gradients = gradient(
            gossip.gradient_params(state.opt_state, state.params), batch, key
        )
        statistics = state.statistics
        if statistics_decay is not None:
            details, found = details
            statistics = optax.tree.update_moment(found, statistics, statistics_decay, order=1)
        grad_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
        if axis_name is not None:
            finite = jax.lax.pmin(finite.astype(jnp.int32), axis_name) == 1
        measured = {}
        if diagnostics is not None:
            measured = diagnostics(state, batch, key, gradients)
        updates, opt_state = optimizer.update(
            gradients, state.opt_state, state.params, **update_options
        )
        params = optax.apply_updates(state.params, updates)
        params, opt_state, statistics = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, statistics),
            (state.params, state.opt_state, state.statistics),
        )
        state = TrainState(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            key=state.key,
            skipped=jnp.where(finite, 0, state.skipped + 1),
            statistics=statistics,
        )
        report = details | measured | {"loss": value, "grad_norm": grad_norm, "finite": finite}
        report = {name: _widen(x) for name, x in report.items()}
        if axis_name is not None:
            report = jax.lax.pmean(report, axis_name)
            if consensus_every is not None:
                report["consensus_distance"] = _consensus_distance(
                    params, state.step, consensus_every, axis_name
                )
        return state, report

    return step


def staged(
    first: Callable[[TrainState, Any], Any], num_first: int, then: Callable[[TrainState, Any], Any]
) -> Callable[[TrainState, Any], Any]:
    """One step function for the first steps and another one from there on.

    Each is a program of its own, so neither holds branches for the other: dense gradients first,
    compressed ones later, at one structure of the state.  As long as the first is in use, a step
    waits for the one before it.

    Args:
        first: the jitted step of steps 0 ... num_first - 1, see `train_step`.
        num_first: how many steps.
        then: the jitted step of all others.

    Returns:
        A step for `fit`.

    Example:
        >>> optimizer = optax.chain(scalecom(100), optax.sgd(0.1))
        >>> dense = learners.spread(train_step(loss, optimizer, compress=False), 8)
        >>> sparse = learners.spread(train_step(loss, optimizer), 8)
        >>> step = staged(dense, 500, sparse)
    """
    past = False

    def step(state, batch):
        nonlocal past
        past = past or int(np.max(processes.local(state.step))) >= num_first
        return (then if past else first)(state, batch)

    return step


def _consensus_distance(params: Any, step: jax.Array, every: int, axis_name: str) -> jax.Array:
    """`gossip.consensus_distance` after each `every` steps, else NaN."""
    measure = functools.partial(gossip.consensus_distance, axis_name=axis_name)
    is_due = mixing.share_step(step, axis_name) % every == 0 if every > 1 else True
    return measure_if(is_due, measure, params)


def _widen(value: Any) -> jax.Array:
    """A scalar in float32 or better."""
    return jnp.asarray(value, jnp.promote_types(jnp.result_type(value), jnp.float32))
