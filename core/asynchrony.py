"""Asynchronous training made exact: simulate who is when ready, then replay it through the update.

Collectives run in lockstep and cannot express learners that do not wait.  But asynchrony is only
an order of events, so that it splits in two: `simulate` plays the clocks of n learners and yields a
trace of events without touching a weight, and `replay` runs a trace through gradients and optimizer
as one ``lax.scan``, deterministic and differentiable.  A trace may as well come from a real run,
see `async_runtime`.  Synchronous schemes have the same form, one event for a round of all
learners, so that one replay compares all of them on one clock.

The k-th gradient of learner i sees the key ``fold_in(fold_in(key, i), k)`` and the k-th of its
batches, whatever the order of events: two schemes train on the same data.  An optimizer that takes
it as a further argument is told the `progress` of the run, see `traces.progress`.

References:
    X. Lian et al., "Asynchronous Decentralized Parallel Stochastic Gradient Descent", 2017,
        arXiv:1710.06952.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import push_pull, traces
from .event_scan import AsyncState, Batches, Events, Gradient, Kinds, scan
from .schemes import Pairwise, Ring, Setting, Synchronous
from .stragglers import Link, Pace
from .traces import ALL, Read, Trace

Scheme = Pairwise | Ring | Synchronous


def simulate(
    scheme: Scheme,
    paces: Sequence[Pace],
    *,
    horizon: float,
    link: Link | None = None,
    num_bytes: float = 0.0,
    seed: int = 0,
) -> Trace:
    """Plays the clocks of the learners.

    Args:
        scheme: who averages when, see `schemes`.
        paces: how fast each of n learners is, see `stragglers`.
        horizon: time at which to stop; events after it are left out.
        link: cost of a message; the default costs nothing.
        num_bytes: size of one learner's parameters.
        seed: of all draws.  Learner i draws the same times under every scheme.

    Returns:
        A trace, the same for the same arguments.

    Raises:
        ValueError: if an argument is out of range or the scheme is for another number of learners.

    Example:
        >>> trace = simulate(Pairwise(ring(16)), straggler(16, 10.0, variation=0.1), horizon=100.0)
        >>> traces.summarize(trace).throughput  # About 15 + 1 / 10.
    """
    if not paces:
        raise ValueError("`paces` must hold at least one learner, got none.")
    if not 0.0 <= horizon < math.inf:
        raise ValueError(f"`horizon` must be at least 0 and finite, got {horizon}.")
    if not 0.0 <= num_bytes < math.inf:
        raise ValueError(f"`num_bytes` must be at least 0 and finite, got {num_bytes}.")
    return scheme.run(Setting(tuple(paces), link or Link(), num_bytes, horizon, seed))


def init_state(params: Any, optimizer: optax.GradientTransformation) -> AsyncState:
    """The state before the first event: every learner has begun a gradient at its own weights.

    Args:
        params: pytree [num_learners, ...], see `learners.replicate`.
        optimizer: the optimizer that each learner runs.

    Returns:
        An `AsyncState`.
    """
    num_learners = len(jax.tree.leaves(params)[0])
    opt_state = jax.vmap(optimizer.init)(params)
    return AsyncState(params, params, opt_state, jnp.zeros(num_learners, jnp.int32))


def replay(
    trace: Trace,
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    params: Any,
    key: jax.Array,
    *,
    batches: Batches = None,
    observe: Callable[[Any], Any] | None = None,
    state: AsyncState | None = None,
) -> tuple[AsyncState, Any]:
    """Runs the events of a trace through the update, as one jitted scan.

    The state holds two copies of the weights of each learner, whatever the staleness, and a third
    one if the trace has exchanges in two halves.  An optimizer sees its own gradients only; a
    learner that returns from a failure takes its neighbor's state of it, as it takes the weights.

    Args:
        trace: from `simulate`, a runtime, or `traces.load`.
        gradient: ``gradient(params, batch, key) -> pytree like params``, for one learner.
        optimizer: the optimizer that each learner runs; without gossip, which the trace brings.
        params: pytree [num_learners, ...]; equal rows, unless disagreement is the subject.
        key: typed random key.
        batches: pytree [num_learners, num_batches, ...], used around and around; None for
            gradients that need none or draw their own from the key; or a function
            ``(learner, step) -> batch``, also of several shapes, under which the events run one by
            one.
        observe: function of the params [num_learners, ...], evaluated after each event.
        state: where the trace begins, instead of `params` that nobody has updated yet.

    Returns:
        The state after the last event, and the observations [num_events, ...] (None without
        `observe`).

    Raises:
        ValueError: if `params` has no leading axis of the trace's learners.

    Example:
        >>> start = learners.replicate(params, trace.num_learners)
        >>> state, _ = replay(trace, gradient, optax.sgd(0.1), start, jax.random.key(0))
        >>> model = learners.average(state.params)
    """
    rows = params, None if callable(batches) else batches
    for path, leaf in jax.tree_util.tree_leaves_with_path(rows):
        if jnp.shape(leaf)[:1] != (trace.num_learners,):
            raise ValueError(
                f"`params` and `batches` must have a leading axis of {trace.num_learners} learners "
                f"on every leaf, got shape {jnp.shape(leaf)} at {jax.tree_util.keystr(path)}; "
                "use learners.replicate for one start of all."
            )
    state = init_state(params, optimizer) if state is None else state
    if state.snapshots is None:
        state = state._replace(snapshots=state.params)
    events = Events(
        learner=trace.learner,
        pulls=trace.pulls,
        mixing=trace.mixing,
        members=trace.members,
        applies=trace.applies,
        reads=trace.reads,
        answers=trace.answers,
        settles=trace.settles,
        offers=trace.offers,
        progress=traces.progress(trace, int(np.sum(state.steps))).astype(np.int32),
    )
    # W - I: what leaves one learner reaches another, and learners that agree stay as they are.
    differences = trace.matrices - np.eye(trace.members.shape[1])
    acts = trace.applies | (trace.reads != Read.NOTHING)
    rounds = bool(np.any(acts & (trace.learner == ALL)))
    kinds = Kinds(rounds, halves=bool(np.any(trace.offers)))
    if kinds.halves:
        state = state._replace(offers=push_pull.widen(state.params))

    def run(events, state, batches):
        return scan(events, differences, gradient, optimizer, state, key, batches, observe, kinds)

    if callable(batches):
        return _run_one_by_one(run, events, state, batches)
    return run(events, state, batches)


def _run_one_by_one(run, events: Events, state: AsyncState, batches) -> tuple[AsyncState, Any]:
    """Draws each gradient's batch on the host; one compilation for each shape of batches."""
    steps = np.array(state.steps)  # a copy, counted on the host
    batch, observed = jax.tree.map(np.asarray, batches(0, 0)), []
    for number, learner in enumerate(events.learner):
        everyone = range(len(steps)) if learner == ALL else [learner]
        if events.applies[number]:
            drawn = [batches(int(i), int(steps[i])) for i in everyone]
            steps[everyone] += 1
            batch = jax.tree.map(lambda *x: np.stack(x), *drawn)
            batch = jax.tree.map(
                lambda x: np.broadcast_to(x[:, None], (len(steps), 1, *x.shape[1:])), batch
            )
        elif number == 0:
            batch = jax.tree.map(lambda x: np.stack([x[None]] * len(steps)), batch)
        event = jax.tree.map(lambda x, number=number: x[number : number + 1], events)
        state, seen = run(event, state, batch)
        observed.append(seen)
    return state, jax.tree.map(lambda *x: jnp.concatenate(x), *observed) if observed else None
