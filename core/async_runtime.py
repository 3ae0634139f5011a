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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import asynchrony, event_scan, thread_learner
from .event_scan import AsyncState, Batches, Gradient
from .journal import Update
from .thread_learner import Board
from .topology import Topology
from .traces import Trace

_SECONDS_BETWEEN_LOOKS = 5.0


class Run(NamedTuple):
    """What an asynchronous run leaves, or has come to."""

    state: AsyncState  # after the last event, [num_learners, ...] on the default device
    trace: Trace  # in seconds since the start
    failures: dict[int, list[Exception]]  # by learner, those without any left out


class Runtime(Protocol):
    """Learners at work, which a driver starts, watches and stops; a context manager."""

    def __enter__(self) -> "Runtime": ...

    def __exit__(self, *exception: Any) -> None:
        """Stops the learners."""

    def start(self, state: AsyncState) -> None:
        """Lets the learners begin, each at its own weights and with its own number of updates."""

    def advance(self, num_updates: int) -> list[Update]:
        """Waits until all learners together have made `num_updates` updates since the first start.

        With all the updates of the run, waits until every learner has ended.

        Returns:
            The updates since the last call, which may be more.

        Raises:
            RuntimeError: if all learners died before.
        """
        ...

    def snapshot(self) -> Run:
        """State, trace and failures by now, while the learners go on."""
        ...

    def failures(self) -> dict[int, list[Exception]]:
        """The failures so far, by learner, those without any left out."""
        ...


class Threads:
    """The `Runtime` of threads; see `run_threads` for the arguments."""

    def __init__(
        self,
        gradient: Gradient,
        optimizer: optax.GradientTransformation,
        key: jax.Array,
        topology: Topology,
        *,
        num_updates: int,
        batches: Batches = None,
        has_aux: bool = False,
        before_gradient: Callable[[int, int], None] | None = None,
        max_restarts: int = 0,
        devices: Sequence[Any] | None = None,
        seed: int = 0,
    ):
        self._gradient = jax.jit(gradient if has_aux else without_metrics(gradient))
        self._update = jax.jit(functools.partial(thread_learner.apply, optimizer))
        self._key, self._topology, self._num_updates = key, topology, num_updates
        self._batches, self._before_gradient = batches, before_gradient
        self._max_restarts, self._devices, self._seed = max_restarts, devices, seed
        self._compiling = threading.Lock()
        self._compiled: set[Any] = set()  # by device and shapes of the batch
        self._threads: list[threading.Thread] = []
        self._board: Board

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *exception) -> None:
        """See `Runtime.__exit__`; gradients in flight are waited for."""
        if self._threads:
            self._board.stopped = True
            self._join()

    def start(self, state: AsyncState) -> None:
        """See `Runtime.start`."""
        devices = self._devices or jax.local_devices()
        self._board = Board(state, self._topology, self._num_updates, devices)
        self._threads = [
            threading.Thread(
                target=thread_learner.live,
                args=(
                    self._board,
                    i,
                    self._learn,
                    self._update,
                    self._max_restarts,
                    np.random.default_rng([self._seed, i]),
                ),
                name=f"learner {i}",
                daemon=True,
            )
            for i in range(self._topology.num_learners)
        ]
        for thread in self._threads:
            thread.start()

    def advance(self, num_updates: int) -> list[Update]:
        """See `Runtime.advance`."""
        board, target = self._board, min(num_updates, self._num_updates)
        with board.changed:
            while board.journal.total < target and any(x.is_alive() for x in self._threads):
                board.changed.wait(_SECONDS_BETWEEN_LOOKS)
        if board.journal.total < target:
            give_up(self.failures(), len(self._threads))
        if board.finished:
            self._join()
        with board.changed:
            return board.journal.drain()

    def snapshot(self) -> Run:
        """See `Runtime.snapshot`; an exact cut: the trace replays to this state."""
        board = self._board
        with board.hold(*range(len(board.locks))), board.changed:
            columns = list(board.params), list(board.snapshots), list(board.opt_states)
            steps, trace = jnp.asarray(board.steps, jnp.int32), board.journal.trace()
        params, snapshots, opt_state = map(stack, columns)
        return Run(AsyncState(params, snapshots, opt_state, steps), trace, self.failures())

    def failures(self) -> dict[int, list[Exception]]:
        """See `Runtime.failures`."""
        return {i: list(found) for i, found in enumerate(self._board.failures) if found}

    def _learn(self, i: int) -> tuple[Any, dict[str, float]]:
        board, step = self._board, self._board.steps[i]
        if self._before_gradient is not None:
            self._before_gradient(i, step)
        sample = event_scan.sample(self._batches, self._key, i, step)
        inputs = jax.device_put(sample, board.devices[i])
        program = board.devices[i], tuple(x.shape for x in jax.tree.leaves(inputs))
        # One thread compiles; JAX alone would let all of them compile the same.
        turn = contextlib.nullcontext() if program in self._compiled else self._compiling
        with turn:
            gradients, metrics = jax.block_until_ready(self._gradient(board.snapshots[i], *inputs))
        self._compiled.add(program)
        return gradients, as_floats(metrics)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()


def run_threads(
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    params: Any,
    key: jax.Array,
    topology: Topology,
    *,
    num_updates: int,
    **options: Any,
) -> Run:
    """Trains learners in threads until they have made `num_updates` updates together.

    A learner whose gradient raises dies: nobody chooses it any more and all others go on.  While it
    has restarts left it returns, with the weights and optimizer state of a living neighbor.

    Args:
        gradient: see `asynchrony.replay`; it is jitted here, once for each shape of batches.
        optimizer: the optimizer that each learner runs.
        params: pytree [num_learners, ...].
        key: typed random key.
        topology: whose edges are the pairs that average.
        num_updates: updates of all learners together; faster learners make more of them.
        **options: of `Threads`:
            batches, see `asynchrony.replay`; a function is called in the learner's thread.
            has_aux, whether `gradient` returns (gradients, metrics), metrics [] floats by name.
            before_gradient, called as ``before_gradient(learner, step)`` in the learner's thread
            before each gradient, to slow it down or let it fail in experiments.
            max_restarts, how often each learner may return, 0 by default.
            devices, JAX devices of the learners, in turn; by default ``jax.local_devices()``.
            seed, of the choice of neighbors; the order of events remains that of the machine.

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
    check_arguments(params, topology.num_learners, num_updates)
    with Threads(gradient, optimizer, key, topology, num_updates=num_updates, **options) as run:
        run.start(asynchrony.init_state(params, optimizer))
        run.advance(num_updates)
        return run.snapshot()


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


def without_metrics(gradient: Gradient) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A gradient that reports nothing, in the form of one that does."""

    @functools.wraps(gradient)
    def report(*arguments):
        return gradient(*arguments), {}

    return report


def as_floats(metrics: Any) -> dict[str, float]:
    """Metrics on the host."""
    return {name: float(value) for name, value in jax.device_get(metrics).items()}


def stack(trees: Sequence[Any]) -> Any:
    """The pytrees of the learners as one, [num_learners, ...], on the default device."""
    host = [jax.device_get(tree) for tree in trees]
    return jax.tree.map(lambda *x: jnp.stack(x), *host)


def give_up(failures: dict[int, list[Exception]], num_learners: int) -> Any:
    """Ends a run that nobody is left to finish.

    Raises:
        RuntimeError: always; the first failure of the first learner that has one is its cause.
    """
    cause = failures[min(failures)][0] if failures else None
    raise RuntimeError(
        f"all {num_learners} learners died before `num_updates`; see the first failure, or raise "
        "`max_restarts`."
    ) from cause
