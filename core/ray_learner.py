"""One learner of AD-PSGD as a Ray actor: one thread computes, another serves its neighbors.

While the actor computes a gradient of the weights it read, its offer of these weights travels to a
random neighbor, see `push_pull`.  `ray_runtime` starts and watches the actors.
"""

import contextlib
import fcntl
import functools
import importlib
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import async_runtime, event_scan, thread_learner
from .push_pull import Deadline, Member, Offer

_SECONDS_BETWEEN_LOOKS = 5.0


class Task(NamedTuple):
    """What all learners do."""

    gradient: Callable[..., tuple[Any, dict[str, Any]]]
    optimizer: optax.GradientTransformation
    key_data: np.ndarray
    key_impl: str
    batches: Callable[[int, int], Any] | None  # None for those that each learner is given
    before_gradient: Callable[[int, int], None] | None
    deadline: tuple[float, float]
    seed: int


class Life(NamedTuple):
    """What a learner begins with, at the start or after a failure."""

    number: int  # how often it has returned
    params: Any
    opt_state: Any
    steps: int  # updates made before
    progress: int  # see `push_pull.Receipt`


class Learner:
    """The actor: `live` runs in one thread, everything else is served by another."""

    def __init__(self, task: Task, i: int, life: Life, batches: Any, log: Any):
        self._task, self._i, self._batches = task, i, batches
        self._step, self._progress = life.steps, life.progress
        update = jax.jit(functools.partial(thread_learner.apply, task.optimizer))
        params, opt_state = jax.device_put((life.params, life.opt_state))
        write = log.add.remote
        self._member = Member(i, life.number, params, opt_state, update, write, life.steps)
        self._peers: dict[int, Any] = {}
        self._deadline = Deadline(*task.deadline)
        self._generator = np.random.default_rng([task.seed, i, life.number])
        self._key = jax.random.wrap_key_data(jnp.asarray(task.key_data), impl=task.key_impl)
        self._ray = import_ray()
        self._gradient = jax.jit(task.gradient)
        self._shapes: set[Any] = set()
        self._evaluate(self._sample())  # Compiled before anybody waits for the learner.

    def meet(self, peer: int, life: int, handle: Any) -> None:
        """Learns who plays a neighbor in which life; nobody, if the handle is None."""
        self._confirmed(self._member.retire(peer, life))
        self._peers = {j: other for j, other in self._peers.items() if j != peer}
        if handle is not None:
            self._peers = self._peers | {peer: handle}

    def answer(self, offer: Offer) -> Any:
        """The half for a neighbor's offer, see `Member.answer`."""
        half, receipt = self._member.answer(offer)
        return self._confirmed(receipt, half)

    def give(self, learner: int, life: int) -> Any:
        """Weights, optimizer state and progress for a new life, see `Member.give`."""
        params, opt_state, receipt = self._member.give(learner, life)
        progress = self._ray.get(receipt).progress
        return (*jax.device_get((params, opt_state)), progress)

    def state(self) -> Any:
        """Weights, snapshot, optimizer state and number of updates."""
        return jax.device_get(self._member.state())

    def ping(self) -> None:
        """Shows that the process answers."""

    def live(self) -> None:
        """Gradient after gradient until the log says that the run is over."""
        exchange = self._exchange(self._choose())
        finished = False
        while not finished:
            gradients, metrics = self._next_gradients()
            settled, half = True, None
            if exchange is not None:
                settled, half = exchange.outcome(self._deadline)
            peer = self._choose() if settled else None
            receipt = self._member.advance(
                gradients,
                half,
                offers=peer is not None,
                progress=self._progress,
                metrics=async_runtime.as_floats(metrics),
            )
            self._step += 1
            finished, self._progress, _ = self._ray.get(receipt)
            if settled:
                exchange = None if finished else self._exchange(peer)
        if exchange is not None and (half := exchange.last_outcome()) is not None:
            self._ray.get(self._member.settle(half))

    def _next_gradients(self) -> Any:
        if self._task.before_gradient is not None:
            self._task.before_gradient(self._i, self._step)
        return self._evaluate(self._sample())

    def _evaluate(self, sample: Any) -> Any:
        """Gradients and metrics.  A shape that is new is compiled by one learner at a time."""
        shapes = tuple(x.shape for x in jax.tree.leaves(sample))
        turn = contextlib.nullcontext() if shapes in self._shapes else _turn()
        self._shapes.add(shapes)
        with turn:
            return jax.block_until_ready(self._gradient(self._member.snapshot, *sample))

    def _sample(self) -> tuple[Any, jax.Array]:
        """See `event_scan.sample`; arrays are those of this learner."""

        def row(_: int, step: int) -> Any:
            return jax.tree.map(lambda x: x[step % len(x)], self._batches)

        return event_scan.sample(self._task.batches or row, self._key, self._i, self._step)

    def _choose(self) -> Any:
        peers = list(self._peers.values())
        return peers[self._generator.integers(len(peers))] if peers else None

    def _exchange(self, peer: Any) -> "_Exchange | None":
        if peer is None:
            return None
        offer = self._member.offer()
        return _Exchange(self._ray, peer, offer._replace(weights=jax.device_get(offer.weights)))

    def _confirmed(self, receipt: Any, message: Any = None) -> Any:
        """The message, once the entry it stems from is in the log."""
        if receipt is not None:
            self._ray.get(receipt)
        return jax.device_get(message)


class _Exchange:
    """An offer on its way to a neighbor, and what came of it."""

    def __init__(self, ray: Any, peer: Any, offer: Offer):
        self._ray, self._peer, self._offer = ray, peer, offer
        self._start = time.monotonic()
        self._stop = None
        self._ask()

    def _ask(self) -> None:
        def note(_):
            self._stop = time.monotonic()

        self._answer = self._peer.answer.remote(self._offer).future()
        self._answer.add_done_callback(note)

    def outcome(self, deadline: Deadline) -> tuple[bool, Any]:
        """Whether the exchange is over by the deadline, and the half, None if it is lost."""
        left = self._start + deadline.seconds - time.monotonic()
        try:
            half = self._answer.result(max(left, 0.0))
        except TimeoutError:
            return False, None
        except self._ray.exceptions.ActorUnavailableError:
            self._ask()  # It may have answered: it will then give the same answer.
            return False, None
        except self._ray.exceptions.RayActorError:
            return True, None
        if self._stop is not None:
            deadline.observe(self._stop - self._start)
        return True, half

    def last_outcome(self) -> Any:
        """The half, None if it is lost; waits until either is known."""
        settled, half = False, None
        forever = Deadline(0.0, _SECONDS_BETWEEN_LOOKS)
        while not settled:
            settled, half = self.outcome(forever)
            time.sleep(0.0 if settled else 0.01)
        return half


@contextlib.contextmanager
def _turn():
    """Waits for other learners on this host: the first compiles, the others find it in the cache.

    Without such a cache there is nothing to wait for.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not folder:
        yield
        return
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    with open(pathlib.Path(folder) / "learners.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by closing, also by death
        yield


def import_ray() -> Any:
    """Ray, which is an extra.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ValueError(
            "learners in Ray actors need Ray: pip install '.[ray]' in a checkout of gossamer."
        ) from error
