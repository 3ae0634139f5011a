"""Training without a barrier, as steps of the one training loop.

A step of `training.fit` is here n updates of n learners together, whoever makes them: the loop asks
for the next step, and `Steps` waits until a runtime of `async_runtime` or `ray_runtime` has made
that many.  A fast learner makes more than one update in a step, a slow one none.

Learning rates follow the progress of the run and not a learner's own count: with u updates of all
learners before the read of a gradient, `scale_by_progress` takes the schedule at u / n.  By its own
count a learner that is ten times slower would still warm up when the others are done, and pull them
with its high rate; those would have left the schedule behind.  Its data follow its own count, so
that the k-th batch of learner i is the same in any order of events.

A learner whose loss or gradient is not finite leaves out that update, see `guard`; it still
averages, and nobody else notices.

A run that continues goes on from weights, optimizer states and counts of all learners; gradients
and messages that were on their way are computed anew, in another order of events, so that it does
not end in the same bits.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import gossip, traces
from .async_runtime import Run, Runtime
from .event_scan import AsyncState
from .journal import Update
from .microbatches import Loss, gradient_in_parts

_NEVER = np.iinfo(np.int32).max


def scale_by_progress(
    schedule: optax.Schedule, num_learners: int
) -> optax.GradientTransformationExtraArgs:
    """Scales updates by schedule(progress / n), a learning rate that all learners share.

    Args:
        schedule: learning rate by step of n updates.
        num_learners: number of learners n.

    Returns:
        The last link of an optimizer, with a rate of 1 before it, for a runtime or a replay, which
        give it `progress`, see `traces.progress`.

    Example:
        >>> optimizer = optax.chain(optax.adam(1.0), scale_by_progress(schedule, 8))
    """

    def update(updates, state, params=None, **extra):
        del params
        rate = schedule(extra["progress"] // num_learners)
        return jax.tree.map(lambda x: jnp.asarray(rate, x.dtype) * x, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def guard(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """An optimizer that leaves out, and counts, updates by gradients that are not finite."""
    guarded = optax.apply_if_finite(optimizer, max_consecutive_errors=_NEVER)
    return optax.with_extra_args_support(guarded)


def gradient_of(
    loss: Loss, *, num_parts: int = 1
) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """The gradient of one learner's loss, with its report.

    Args:
        loss: see `training.train_step`.
        num_parts: as there.

    Returns:
        ``gradient(params, batch, key) -> (gradients, metrics)``.  Metrics are those of the loss and
        "loss", "grad_norm" and "finite" (1, or 0 where gradients are NaN, for `guard`).
    """
    value_and_gradient = gradient_in_parts(loss, num_parts)

    def gradient(params, batch, key):
        (value, details), gradients = value_and_gradient(params, batch, key)
        grad_norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
        gradients = jax.tree.map(lambda x: jnp.where(finite, x, jnp.nan), gradients)
        return gradients, details | {"loss": value, "grad_norm": grad_norm, "finite": finite}

    return gradient


class Steps:
    """Steps for `training.fit` that the learners of a runtime make.

    Give `fit` the object itself as the step, ``itertools.count(1)`` as the batches (the learners
    have their own; the loop's are the numbers of the steps), and `read` and `totals`.

    Args:
        runtime: not started yet, its context entered.
        num_learners: number of learners n.
        folder: where traces go, as ``<step>.npz`` from the step at which each start of the run
            began.  Where the run later continued from an earlier checkpoint, the next file begins
            before this one ends.
    """

    def __init__(self, runtime: Runtime, num_learners: int, folder: str | Path):
        self._runtime, self._num_learners = runtime, num_learners
        self._folder = Path(folder)
        self._first: int | None = None  # the number of the first step
        self._queue: list[Update] = []
        self._steps = np.zeros(num_learners, np.int64)  # updates of each learner
        self._mark = (0, 0.0)  # updates and seconds at the last log line
        self._time = 0.0  # of the last update
        self._found: Run | None = None  # the snapshot of this step
        self._distance: float | None = None  # consensus distance of a snapshot, not logged yet
        self._num_failures: dict[int, int] = {}

    def __call__(self, state: AsyncState, number: int) -> tuple[AsyncState, dict[str, float]]:
        """Waits for the updates of a step; the state is as old as it was, see `read`."""
        if self._first is None:
            self._first = number
            self._steps += np.asarray(state.steps)
            self._mark = (int(self._steps.sum()), 0.0)
            self._runtime.start(state)
        self._found = None
        self._queue += self._runtime.advance(number * self._num_learners)
        self._report_failures(self._runtime.failures())
        wanted = max(number * self._num_learners - int(self._steps.sum()), 0)
        updates, self._queue = self._queue[:wanted], self._queue[wanted:]
        for update in updates:
            self._steps[update.learner] += 1
            self._time = update.time
        return state, _means(updates)

    def read(self, state: AsyncState) -> AsyncState:
        """The state of all learners in this step, without the gradients in flight.

        It may be some updates ahead of the step, by those made since.  The trace is written, too.
        """
        if self._first is None:
            return state
        if self._found is None:
            self._found = self._runtime.snapshot()
            self._distance = float(_consensus_distance(self._found.state.params))
            _store(self._folder / f"{self._first - 1:06d}.npz", self._found.trace)
        return self._found.state._replace(snapshots=None)

    def totals(self) -> Mapping[str, float]:
        """Updates, their speed since the last call, and the consensus distance of a snapshot."""
        total = int(self._steps.sum())
        before, then = self._mark
        found = {f"updates/{i}": float(step) for i, step in enumerate(self._steps)}
        found["updates"] = float(total)
        if self._time > then:
            found["updates_per_second"] = (total - before) / (self._time - then)
        self._mark = (total, self._time)
        if self._distance is not None:
            found["consensus_distance"], self._distance = self._distance, None
        return found

    def _report_failures(self, failures: Mapping[int, list[Exception]]) -> None:
        for i, found in failures.items():
            for failure in found[self._num_failures.get(i, 0) :]:
                cause = getattr(failure, "cause", None) or failure  # what Ray wraps
                reason = str(cause).strip().splitlines() or [type(cause).__name__]
                line = f"learner {i} died ({reason[0]:.200}); the others go on."
                print(line, file=sys.stderr)
            self._num_failures[i] = len(found)


def _means(updates: list[Update]) -> dict[str, float]:
    """The mean metrics of the updates of a step."""
    rows = [{"staleness": float(update.staleness), **update.metrics} for update in updates]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


@jax.jit
def _consensus_distance(params: Any) -> jax.Array:
    return jax.vmap(gossip.consensus_distance, axis_name="learner")(params)[0]


def _store(path: Path, trace: traces.Trace) -> None:
    """Writes a trace, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    traces.save(path, trace)
