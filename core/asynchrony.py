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

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import push_pull, traces
from .schemes import Pairwise, Ring, Setting, Synchronous
from .stragglers import Link, Pace
from .traces import ALL, NOBODY, Read, Trace

Gradient = Callable[[Any, Any, jax.Array], Any]
Batches = Any  # pytree [num_learners, num_batches, ...], or (learner, step) -> batch
Scheme = Pairwise | Ring | Synchronous


class AsyncState(NamedTuple):
    """What the learners hold between events; each leaf has a leading axis [num_learners]."""

    params: Any  # pytree [num_learners, ...]
    snapshots: Any  # pytree like `params`: the weights at which the gradients in flight are taken
    opt_state: Any  # state of each learner's optimizer
    steps: jax.Array  # [num_learners] int32: gradients applied so far
    offers: Any = None  # pytree like `params`, float32 or better: offers, and halves that answer


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
    events = _Events(
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
    kinds = _Kinds(rounds, halves=bool(np.any(trace.offers)))
    if kinds.halves:
        state = state._replace(offers=push_pull.widen(state.params))

    def run(events, state, batches):
        return _scan(events, differences, gradient, optimizer, state, key, batches, observe, kinds)

    if callable(batches):
        return _run_one_by_one(run, events, state, batches)
    return run(events, state, batches)


def sample(batches: Batches, key: jax.Array, learner: Any, step: Any) -> tuple[Any, jax.Array]:
    """The batch and the key of a learner's gradient, which depend on nothing else.

    Args:
        batches: pytree [num_learners, num_batches, ...], a function, or None.
        key: the key of the run.
        learner: [] int: whose gradient.
        step: [] int: number of its gradients before.

    Returns:
        The batch, without the two leading axes, and a key.
    """
    if callable(batches):
        batch = batches(learner, step)
    else:
        batch = jax.tree.map(lambda x: x[learner, step % x.shape[1]], batches)
    return batch, jax.random.fold_in(jax.random.fold_in(key, learner), step)


def _run_one_by_one(run, events: "_Events", state: AsyncState, batches) -> tuple[AsyncState, Any]:
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


class _Events(NamedTuple):
    """What the scan needs of a trace, see `Trace`."""

    learner: Any
    pulls: Any
    mixing: Any
    members: Any
    applies: Any
    reads: Any
    answers: Any
    settles: Any
    offers: Any
    progress: Any


class _Kinds(NamedTuple):
    """Which kinds of events a trace has at all: the scan leaves out the others."""

    rounds: bool  # of all learners together
    halves: bool  # of exchanges


@functools.partial(jax.jit, static_argnames=("gradient", "optimizer", "observe", "kinds"))
def _scan(events, differences, gradient, optimizer, state, key, batches, observe, kinds):
    num_learners = len(state.steps)
    update = optax.with_extra_args_support(optimizer).update

    def learn(state, learner, progress):
        """One gradient of one learner, on its slice of the state."""
        gradients = gradient(state.snapshots, *sample(batches, key, learner, state.steps))
        updates, opt_state = update(gradients, state.opt_state, state.params, progress=progress)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, opt_state=opt_state, steps=state.steps + 1)

    def act_alone(state, found, event):
        """Touches the slices of one learner only: the whole state is large."""
        i = event.learner
        mine = jax.lax.cond(event.applies, learn, _keep, _slice(state, i), i, event.progress)
        snapshots = _read(event.reads, mine, _slice(found, i))
        return _set(state, i, mine._replace(snapshots=snapshots))

    def act_together(state, found, event):
        everyone = jnp.arange(num_learners)
        learn_all = jax.vmap(learn, in_axes=(0, 0, None))
        state = jax.lax.cond(event.applies, learn_all, _keep, state, everyone, event.progress)
        return state._replace(snapshots=_read(event.reads, state, found))

    def step(state, event):
        found = state.params
        if kinds.halves:
            state = _exchange(state, event)
        pulled = state.params, state.opt_state
        params, opt_state = _pull(pulled, event.learner, event.pulls)
        mix = functools.partial(_mix, members=event.members, matrix=differences[event.mixing])
        if event.members.size < num_learners:
            params = mix(params)
        else:  # A copy of all weights, which a branch makes, is then the cheaper part.
            params = jax.lax.cond(event.mixing != 0, mix, _keep, params)
        state = state._replace(params=params, opt_state=opt_state)
        if kinds.rounds:
            together = event.learner == ALL
            state = jax.lax.cond(together, act_together, act_alone, state, found, event)
        else:
            state = act_alone(state, found, event)
        if kinds.halves:
            state = _offer(state, event)
        return state, None if observe is None else observe(state.params)

    return jax.lax.scan(step, state, events)


def _keep(x: Any, *_: Any) -> Any:
    return x


def _slice(tree: Any, learner: jax.Array) -> Any:
    return jax.tree.map(lambda x: x[learner], tree)


def _set(tree: Any, learner: jax.Array, values: Any) -> Any:
    return jax.tree.map(lambda x, value: x.at[learner].set(value), tree, values)


def _pull(tree: Any, learner: jax.Array, source: jax.Array) -> Any:
    source = jnp.where(source == NOBODY, learner, source)
    return _set(tree, learner, _slice(tree, source))


def _exchange(state: AsyncState, event: _Events) -> AsyncState:
    """The learner adds its half of an exchange, or answers the offer of another one."""
    i = event.learner
    whose = jnp.where(event.answers == NOBODY, i, event.answers)
    which = jnp.where(event.answers == NOBODY, event.settles.astype(jnp.int32), 2)
    branches = [
        lambda mine, offer: (mine, offer),
        lambda mine, half: (push_pull.settle(mine, half), half),
        push_pull.answer,
    ]
    operands = _slice(state.params, i), _slice(state.offers, whose)
    mine, offer = jax.lax.switch(which, branches, *operands)
    return state._replace(
        params=_set(state.params, i, mine), offers=_set(state.offers, whose, offer)
    )


def _offer(state: AsyncState, event: _Events) -> AsyncState:
    i = event.learner
    offer = jax.tree.map(
        lambda new, old: jnp.where(event.offers, new, old),
        push_pull.widen(_slice(state.params, i)),
        _slice(state.offers, i),
    )
    return state._replace(offers=_set(state.offers, i, offer))


def _read(reads: jax.Array, state: AsyncState, found: Any) -> Any:
    """The snapshots after an event that found the weights `found`."""

    def choose(kept, after, before):
        return jnp.where(reads == Read.NOTHING, kept, jnp.where(reads == Read.AFTER, after, before))

    return jax.tree.map(choose, state.snapshots, state.params, found)


def _mix(params: Any, members: jax.Array, matrix: jax.Array) -> Any:
    """Adds (W - I) x among the members, for `matrix` = W - I, in float32 or better."""

    def mix(x):
        wide = jnp.promote_types(x.dtype, jnp.float32)
        mine = x[members].astype(wide)
        change = jnp.tensordot(matrix.astype(wide), mine, 1, precision="highest")
        return x.at[members].set((mine + change).astype(x.dtype), unique_indices=True)

    return jax.tree.map(mix, params)
