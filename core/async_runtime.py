"""AD-PSGD for real: one thread for each learner, on local JAX devices, without a barrier.

A learner computes a gradient of the weights it read, averages its weights with those of a random
neighbor, d = (x_j - x_i) / 2, x_i <- x_i + d, x_j <- x_j - d, and applies its update to x_i.  The
last two happen under the locks of both learners, taken in the order of their numbers: no two
threads wait for each other in a circle, no exchange is half done, and the sum of the weights is
conserved.  The log is written under the same locks.  Events of one learner stand in it in the
order in which they happened, and events without a common learner commute, so that
`asynchrony.replay` of the log gives the weights of the run.

References:
    X. Lian et al., "Asynchronous Decentralized Parallel Stochastic Gradient Descent", 2017,
        arXiv:1710.06952.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import asynchrony
from .asynchrony import AsyncState, Gradient
from .schemes import HALVES, neighbors
from .topology import Topology
from .traces import NOBODY, Read, Recorder, Trace


class Run(NamedTuple):
    """What an asynchronous run leaves."""

    state: AsyncState  # after the last event, [num_learners, ...] on the default device
    trace: Trace  # in seconds since the start
    failures: dict[int, list[Exception]]  # by learner, those without any left out


def run_threads(
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    params: Any,
    key: jax.Array,
    topology: Topology,
    *,
    num_updates: int,
    batches: Any = None,
    before_gradient: Callable[[int, int], None] | None = None,
    max_restarts: int = 0,
    devices: Sequence[Any] | None = None,
    seed: int = 0,
) -> Run:
    """Trains learners in threads until they have made `num_updates` updates together.

    A learner whose gradient raises dies: nobody chooses it any more and all others go on.  While it
    has restarts left it returns, with the weights and optimizer state of a living neighbor.

    Args:
        gradient: see `asynchrony.replay`; it is jitted here.
        optimizer: the optimizer that each learner runs.
        params: pytree [num_learners, ...].
        key: typed random key.
        topology: whose edges are the pairs that average.
        num_updates: updates of all learners together; faster learners make more of them.
        batches: see `asynchrony.replay`.
        before_gradient: called as ``before_gradient(learner, step)`` in the learner's thread before
            each gradient, to slow it down or let it fail in experiments.
        max_restarts: how often each learner may return.
        devices: JAX devices of the learners, in turn; the default is ``jax.local_devices()``.
        seed: of the choice of neighbors; the order of events remains that of the machine.

    Returns:
        A `Run`.  Its trace replays to the same weights: bit for bit where the compiler rounds a
        gradient inside the scan as it does alone (averages are the same in any case), else up to
        that rounding.

    Raises:
        ValueError: if `params` is not for the learners of the topology.
        RuntimeError: if all learners died; the first failure is its cause.

    Example:
        >>> run = run_threads(gradient, optax.sgd(0.1), start, key, ring(4), num_updates=1000)
        >>> model = learners.average(run.state.params)
    """
    n = topology.num_learners
    check_arguments(params, n, num_updates)
    board = _Board(params, optimizer, topology, num_updates, devices or jax.local_devices())
    gradient, update = jax.jit(gradient), jax.jit(functools.partial(apply, optimizer))

    def learn(i):
        step = board.num_steps[i]
        if before_gradient is not None:
            before_gradient(i, step)
        inputs = jax.device_put(asynchrony.sample(batches, key, i, step), board.devices[i])
        return jax.block_until_ready(gradient(board.snapshots[i], *inputs))

    threads = [
        threading.Thread(
            target=_live,
            args=(board, i, learn, update, max_restarts, np.random.default_rng([seed, i])),
            name=f"learner {i}",
            daemon=True,
        )
        for i in range(n)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = {i: found for i, found in enumerate(board.failures) if found}
    if not board.finished:
        raise RuntimeError(
            f"all {n} learners died before `num_updates`; see the first failure, or raise "
            "`max_restarts`."
        ) from failures[min(failures)][0]
    return Run(board.state(), board.record.trace(), failures)


def check_arguments(params: Any, num_learners: int, num_updates: int) -> None:
    """Refuses parameters without a row for each learner, and runs without updates."""
    for leaf in jax.tree.leaves(params):
        if jnp.shape(leaf)[:1] != (num_learners,):
            raise ValueError(
                f"`params` must have a leading axis of {num_learners} learners on every leaf, as "
                f"the topology has, got shape {jnp.shape(leaf)}; use learners.replicate for one "
                "start of all."
            )
    if num_updates < 1:
        raise ValueError(f"`num_updates` must be at least 1, got {num_updates}.")


def apply(
    optimizer: optax.GradientTransformation, gradients: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """One learner's update: its new parameters and optimizer state."""
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def stack(trees: Sequence[Any]) -> Any:
    """The pytrees of the learners as one, [num_learners, ...], on the default device."""
    host = [jax.device_get(tree) for tree in trees]
    return jax.tree.map(lambda *x: jnp.stack(x), *host)


class _Board:
    """What the threads share; the entries of learner i change under ``locks[i]`` only."""

    def __init__(self, params, optimizer, topology: Topology, num_updates: int, devices):
        n = topology.num_learners
        self.neighbors = neighbors(topology)
        self.devices = [devices[i % len(devices)] for i in range(n)]
        rows = [jax.tree.map(lambda x, i=i: x[i], params) for i in range(n)]
        self.params = [jax.device_put(*x) for x in zip(rows, self.devices, strict=True)]
        self.snapshots = list(self.params)
        self.opt_states = [optimizer.init(x) for x in self.params]
        self.num_steps = [0] * n
        self.alive = [True] * n
        self.failures: list[list[Exception]] = [[] for _ in range(n)]
        self.locks = [threading.Lock() for _ in range(n)]
        self.record = Recorder(n, min(2, n))
        self._log_lock = threading.Lock()
        self._updates_left = num_updates
        self._start = time.perf_counter()

    @property
    def finished(self) -> bool:
        return self._updates_left <= 0

    @contextlib.contextmanager
    def hold(self, *learners: int):
        """Holds the locks of learners, taken in the order of their numbers."""
        with contextlib.ExitStack() as stack:
            for i in sorted({i for i in learners if i != NOBODY}):
                stack.enter_context(self.locks[i])
            yield

    def log(self, learner: int, *, applies: bool = False, **event) -> bool:
        """Logs an event while its learners are held; false, without it, when the run is over."""
        with self._log_lock:
            if self.finished:
                return False
            now = time.perf_counter() - self._start
            self.record.add(now, learner, applies=applies, reads=Read.AFTER, **event)
            self._updates_left -= applies
            return True

    def choose(self, learner: int, generator: np.random.Generator) -> int:
        living = [j for j in self.neighbors[learner] if self.alive[j]]
        return living[generator.integers(len(living))] if living else NOBODY

    def state(self) -> AsyncState:
        """The state of all learners, stacked."""
        steps = jnp.asarray(self.num_steps, jnp.int32)
        return AsyncState(stack(self.params), stack(self.snapshots), stack(self.opt_states), steps)


def _live(board: _Board, i: int, learn, update, max_restarts: int, generator) -> None:
    """The life of a learner: updates until the run is over, deaths and returns."""
    while not board.finished:
        try:
            _step(board, i, learn(i), update, generator)
        except Exception as failure:  # Whatever it is, the others must go on.
            board.failures[i].append(failure)
            board.alive[i] = False
            if len(board.failures[i]) > max_restarts:
                return
            _rejoin(board, i, generator)


def _step(board: _Board, i: int, gradients: Any, update, generator) -> None:
    """Averages with a neighbor and applies a gradient, in one event."""
    j = board.choose(i, generator)
    with board.hold(i, j):
        mine, theirs, event = board.params[i], None, {}
        if j != NOBODY:
            theirs = jax.device_put(board.params[j], board.devices[i])
            mine, theirs = _average(mine, theirs)
            theirs = jax.device_put(theirs, board.devices[j])
            event = {"members": (i, j), "matrix": HALVES}
        mine, opt_state = update(gradients, board.opt_states[i], mine)
        # Nothing fails from here on: an event is in the log and in the weights, or in neither.
        if not board.log(i, applies=True, **event):
            return
        board.params[i] = board.snapshots[i] = mine
        board.opt_states[i] = opt_state
        board.num_steps[i] += 1
        if j != NOBODY:
            board.params[j] = theirs


def _rejoin(board: _Board, i: int, generator) -> None:
    """Starts again from the weights and the optimizer state of a living neighbor."""
    j = board.choose(i, generator)
    with board.hold(i, j):
        if board.log(i, pulls=j) and j != NOBODY:
            board.params[i] = jax.device_put(board.params[j], board.devices[i])
            board.opt_states[i] = jax.device_put(board.opt_states[j], board.devices[i])
        board.snapshots[i] = board.params[i]
        board.alive[i] = True


@jax.jit
def _average(mine: Any, other: Any) -> tuple[Any, Any]:
    """Both replaced by their mean, in differences and in float32 or better, as in `replay`."""

    def wide(x):
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    halves = jax.tree.map(lambda x, y: 0.5 * (wide(y) - wide(x)), mine, other)
    mine = jax.tree.map(lambda x, d: (wide(x) + d).astype(x.dtype), mine, halves)
    other = jax.tree.map(lambda x, d: (wide(x) - d).astype(x.dtype), other, halves)
    return mine, other
