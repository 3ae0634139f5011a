"""The events of an asynchronous run through gradients and optimizer, as one compiled scan.

An event may be, in this order: a pull of another learner's weights, a mixing among some members, a
gradient applied by one learner or by all of them, and a snapshot, at which the next gradient is
taken.  See `asynchrony.replay`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import push_pull
from .traces import ALL, NOBODY, Read

Gradient = Callable[[Any, Any, jax.Array], Any]
Batches = Any  # pytree [num_learners, num_batches, ...], or (learner, step) -> batch


class AsyncState(NamedTuple):
    """What the learners hold between events; each leaf has a leading axis [num_learners]."""

    params: Any  # pytree [num_learners, ...]
    snapshots: Any  # pytree like `params`: the weights at which the gradients in flight are taken
    opt_state: Any  # state of each learner's optimizer
    steps: jax.Array  # [num_learners] int32: gradients applied so far
    offers: Any = None  # pytree like `params`, float32 or better: offers, and halves that answer


class Events(NamedTuple):
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


class Kinds(NamedTuple):
    """Which kinds of events a trace has at all: the scan leaves out the others."""

    rounds: bool  # of all learners together
    halves: bool  # of exchanges


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


@functools.partial(jax.jit, static_argnames=("gradient", "optimizer", "observe", "kinds"))
def scan(events, differences, gradient, optimizer, state, key, batches, observe, kinds):
    """Runs events through the update.

    Args:
        events: `Events` of [num_events, ...].
        differences: [num_mixings, members, members], W - I of each kind of mixing.
        gradient: see `asynchrony.replay`.
        optimizer: the optimizer that each learner runs.
        state: an `AsyncState`, with offers if there are halves.
        key: typed random key.
        batches: pytree [num_learners, num_batches, ...], or None.
        observe: see `asynchrony.replay`.
        kinds: what the events are.

    Returns:
        The state after the last event, and the observations.
    """
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


def _exchange(state: AsyncState, event: Events) -> AsyncState:
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


def _offer(state: AsyncState, event: Events) -> AsyncState:
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
