"""Learners of AD-PSGD as threads: what they share, and the life of one.

See `async_runtime`, which starts and watches the threads.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .event_scan import AsyncState
from .journal import Journal
from .schemes import HALVES, neighbors
from .topology import Topology
from .traces import NOBODY, Read

Learn = Callable[[int], tuple[Any, dict[str, float]]]


class Board:
    """What the threads share; the entries of learner i change under ``locks[i]`` only.

    Args:
        state: where the run begins, [num_learners, ...].
        topology: whose edges are the pairs that average.
        num_updates: see `journal.Journal`.
        devices: JAX devices of the learners, in turn.
    """

    def __init__(self, state: AsyncState, topology: Topology, num_updates: int, devices):
        n = topology.num_learners
        self.neighbors = neighbors(topology)
        self.devices = [devices[i % len(devices)] for i in range(n)]
        rows = [
            jax.device_put(jax.tree.map(lambda x, i=i: x[i], (state.params, state.opt_state)), home)
            for i, home in enumerate(self.devices)
        ]
        self.params = [params for params, _ in rows]
        self.opt_states = [opt_state for _, opt_state in rows]
        self.snapshots = list(self.params)
        self.steps = [int(step) for step in state.steps]
        self.alive = [True] * n
        self.failures: list[list[Exception]] = [[] for _ in range(n)]
        self.locks = [threading.Lock() for _ in range(n)]
        self.journal = Journal(n, num_updates, self.steps)
        self.stopped = False
        self.changed = threading.Condition()  # guards the journal; notified of updates and deaths
        self._start = time.perf_counter()

    @property
    def finished(self) -> bool:
        """Whether the learners must stop."""
        return self.stopped or self.journal.finished

    @contextlib.contextmanager
    def hold(self, *learners: int):
        """Holds the locks of learners, taken in the order of their numbers."""
        with contextlib.ExitStack() as stack:
            for i in sorted({i for i in learners if i != NOBODY}):
                stack.enter_context(self.locks[i])
            yield

    def log(self, learner: int, **event) -> bool:
        """Logs an event while its learners are held; false, without it, when the run is over."""
        with self.changed:
            if self.finished:
                return False
            now = time.perf_counter() - self._start
            self.journal.add(now, learner, reads=Read.AFTER, **event)
            self.changed.notify_all()
            return True

    def choose(self, learner: int, generator: np.random.Generator) -> int:
        """A random living neighbor."""
        living = [j for j in self.neighbors[learner] if self.alive[j]]
        return living[generator.integers(len(living))] if living else NOBODY

    def bury(self, learner: int, failure: Exception) -> int:
        """Notes a death; returns how often the learner has died."""
        with self.changed:
            self.failures[learner].append(failure)
            self.alive[learner] = False
            self.changed.notify_all()
        return len(self.failures[learner])


def live(board: Board, i: int, learn: Learn, update, max_restarts: int, generator) -> None:
    """The life of a learner: updates until the run is over, deaths and returns.

    Args:
        board: what the learners share.
        i: the number of the learner.
        learn: ``learn(i) -> (gradients, metrics)`` at the learner's snapshot.
        update: ``update(gradients, opt_state, params, progress) -> (params, opt_state)``.
        max_restarts: how often it may return.
        generator: of the choice of neighbors.
    """
    while not board.finished:
        try:
            _step(board, i, *learn(i), update, generator)
        except Exception as failure:  # Whatever it is, the others must go on.
            if board.bury(i, failure) > max_restarts:
                return
            _rejoin(board, i, generator)


def _step(board: Board, i: int, gradients: Any, metrics: Any, update, generator) -> None:
    """Averages with a neighbor and applies a gradient, in one event."""
    j = board.choose(i, generator)
    with board.hold(i, j):
        mine, theirs, event = board.params[i], None, {}
        if j != NOBODY:
            theirs = jax.device_put(board.params[j], board.devices[i])
            mine, theirs = average(mine, theirs)
            theirs = jax.device_put(theirs, board.devices[j])
            event = {"members": (i, j), "matrix": HALVES}
        progress = np.int32(board.journal.progress(i))
        mine, opt_state = update(gradients, board.opt_states[i], mine, progress)
        # Nothing fails from here on: an event is in the log and in the weights, or in neither.
        if not board.log(i, applies=True, metrics=metrics, **event):
            return
        board.params[i] = board.snapshots[i] = mine
        board.opt_states[i] = opt_state
        board.steps[i] += 1
        if j != NOBODY:
            board.params[j] = theirs


def _rejoin(board: Board, i: int, generator) -> None:
    """Starts again from the weights and the optimizer state of a living neighbor."""
    j = board.choose(i, generator)
    with board.hold(i, j):
        if board.log(i, pulls=j) and j != NOBODY:
            board.params[i] = jax.device_put(board.params[j], board.devices[i])
            board.opt_states[i] = jax.device_put(board.opt_states[j], board.devices[i])
        board.snapshots[i] = board.params[i]
        board.alive[i] = True


@jax.jit
def average(mine: Any, other: Any) -> tuple[Any, Any]:
    """Both replaced by their mean, in differences and in float32 or better, as in `replay`."""

    def wide(x):
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    halves = jax.tree.map(lambda x, y: 0.5 * (wide(y) - wide(x)), mine, other)
    mine = jax.tree.map(lambda x, d: (wide(x) + d).astype(x.dtype), mine, halves)
    other = jax.tree.map(lambda x, d: (wide(x) - d).astype(x.dtype), other, halves)
    return mine, other


def apply(
    optimizer: optax.GradientTransformation,
    gradients: Any,
    opt_state: Any,
    params: Any,
    progress: Any = 0,
) -> tuple[Any, Any]:
    """One learner's update: its new parameters and optimizer state."""
    update = optax.with_extra_args_support(optimizer).update
    updates, opt_state = update(gradients, opt_state, params, progress=progress)
    return optax.apply_updates(params, updates), opt_state
