"""AD-PSGD across processes and hosts: one Ray actor for each learner, and no barrier.

While an actor computes a gradient of the weights it read, its offer of these weights travels to a
random neighbor; another thread of the actor answers such offers all the time (see `push_pull` for
the exchange, and for why the log of a run replays to its weights).  A learner that has its gradient
waits for the answer no longer than median + factor * MAD of past exchange times, then goes on: the
half comes late and is settled then, or is lost with the neighbor.

The driver starts the actors, notices those that died, tells the others, and starts them again with
the weights and the optimizer state of a living neighbor.  Weights travel as immutable snapshots.
The driver, and the actor that keeps the log, must survive.

References:
    X. Lian et al., "Asynchronous Decentralized Parallel Stochastic Gradient Descent", 2017,
        arXiv:1710.06952.
"""

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import async_runtime, asynchrony
from .async_runtime import Run
from .event_scan import AsyncState, Batches, Gradient
from .journal import Update
from .push_pull import Deadline, Log
from .ray_learner import Learner, Life, Task, import_ray
from .schemes import neighbors
from .topology import Topology

_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_PINGS = 5.0


class Actors:
    """The `async_runtime.Runtime` of Ray actors: who lives, and what to do when somebody dies.

    It joins a cluster, or starts one, when its context is entered.  See `run_ray` for the
    arguments.
    """

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
        max_restarts: int = 1,
        deadline_factor: float = 5.0,
        deadline_floor: float = 1.0,
        patience: float = 60.0,
        num_threads: int = 1,
        environment: Mapping[str, str] | None = None,
        actor_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ):
        n = topology.num_learners
        Deadline(deadline_factor, deadline_floor)
        self._ray = import_ray()
        self._task = Task(
            gradient if has_aux else async_runtime.without_metrics(gradient),
            optimizer,
            np.asarray(jax.random.key_data(key)),
            str(jax.random.key_impl(key)),
            batches if callable(batches) else None,
            before_gradient,
            (deadline_factor, deadline_floor),
            seed,
        )
        variables = {
            "JAX_PLATFORMS": "cpu",
            "JAX_ENABLE_X64": str(jax.config.read("jax_enable_x64")),
            "NPROC": str(num_threads),
            **(environment or {}),
        }
        self._options = {
            "num_cpus": 1,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": variables},
            **(actor_options or {}),
        }
        self._batches = None if callable(batches) else jax.device_get(batches)
        self._neighbors, self._num_updates = neighbors(topology), num_updates
        self._max_restarts, self._patience = max_restarts, patience
        self._lives = [0] * n
        self._actors: dict[int, Any] = {}
        self._living: dict[Any, int] = {}  # the learner by the end of its life
        self._pings: dict[int, tuple[float, Any]] = {}  # since when, by learner
        self._failures: list[list[Exception]] = [[] for _ in range(n)]
        self._finished = False
        self._log: Any = None
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> "Actors":
        self._resources.enter_context(_cluster(self._ray, len(self._lives)))
        return self

    def __exit__(self, *exception) -> None:
        """See `Runtime.__exit__`."""
        with self._resources:
            for actor in (*self._actors.values(), self._log):
                if actor is not None:
                    self._ray.kill(actor)

    def start(self, state: AsyncState) -> None:
        """See `Runtime.start`."""
        n = len(self._lives)
        steps = [int(step) for step in state.steps]
        self._log = self._ray.remote(num_cpus=0)(Log).remote(n, self._num_updates, steps)
        rows = jax.device_get((state.params, state.opt_state))
        for i in range(n):
            params, opt_state = jax.tree.map(lambda x, i=i: x[i], rows)
            self._start(i, Life(0, params, opt_state, steps[i], sum(steps)))
        started = [actor.ping.remote() for actor in self._actors.values()]
        self._ray.wait(started, num_returns=n)  # Processes start one by one, learners together.
        for i in range(n):
            self._begin(i)

    def advance(self, num_updates: int) -> list[Update]:
        """See `Runtime.advance`."""
        updates = []
        target = min(num_updates, self._num_updates)
        while True:
            # All learners learn of the end with an update of their own, after the last of the run.
            last = target == self._num_updates
            total, fresh = self._ray.get(self._log.drain.remote())
            updates += fresh
            if total >= target and not (last and self._living):
                return updates
            if not self._living:
                async_runtime.give_up(self.failures(), len(self._lives))
            self._look_after_all()

    def snapshot(self) -> Run:
        """See `Runtime.snapshot`.

        Learners answer one after the other, and halves on their way are in no weights: before the
        end the trace replays to this state only up to that, and the mean of the weights is kept up
        to that.  A learner that is dead by now has the state of another one.
        """
        n = len(self._lives)
        states = self._ask({i: actor.state.remote() for i, actor in self._actors.items()})
        steps = self._ray.get(self._log.steps.remote())
        for i in set(range(n)) - set(states):
            if self._living and states:
                params, _, opt_state, _ = states[min(states)]
            else:
                params, opt_state, _ = self._inherit(i)
            states[i] = params, params, opt_state, steps[i]
        trace = self._ray.get(self._log.trace.remote())
        *columns, steps = zip(*(states[i] for i in range(n)), strict=True)
        params, snapshots, opt_state = map(async_runtime.stack, columns)
        state = AsyncState(params, snapshots, opt_state, jnp.asarray(steps, jnp.int32))
        return Run(state, trace, self.failures())

    def failures(self) -> dict[int, list[Exception]]:
        """See `Runtime.failures`."""
        return {i: list(found) for i, found in enumerate(self._failures) if found}

    def _start(self, i: int, life: Life) -> None:
        rows = jax.tree.map(lambda x: x[i], self._batches)
        actor = self._ray.remote(concurrency_groups={"compute": 1}, **self._options)(Learner)
        self._actors[i] = actor.remote(self._task, i, life, rows, self._log)

    def _begin(self, i: int) -> None:
        """Introduces a learner and its neighbors to each other, and lets it live."""
        actor = self._actors[i]
        for j, peer in self._actors.items():
            if j in self._neighbors[i]:
                actor.meet.remote(j, self._lives[j], peer)
            if i in self._neighbors[j]:
                peer.meet.remote(i, self._lives[i], actor)
        self._living[actor.live.options(concurrency_group="compute").remote()] = i

    def _look_after_all(self) -> None:
        """Waits a little for learners that end, and starts those again that died."""
        self._ping()
        ready, _ = self._ray.wait(list(self._living), timeout=_SECONDS_BETWEEN_LOOKS)
        for reference in ready:
            i = self._living.pop(reference)
            try:
                self._ray.get(reference)
                self._finished = True
            except self._ray.exceptions.RayError as failure:
                steps = self._bury(i, failure)
                if not self._finished and len(self._failures[i]) <= self._max_restarts:
                    params, opt_state, progress = self._inherit(i)
                    self._start(i, Life(self._lives[i], params, opt_state, steps, progress))
                    self._begin(i)

    def _ping(self) -> None:
        """Kills learners that do not answer any more; `_look_after_all` finds them dead."""
        now = time.monotonic()
        for i, actor in self._actors.items():
            since, reference = self._pings.get(i, (-math.inf, None))
            if reference is None or self._ray.wait([reference], timeout=0)[0]:
                if now - since > _SECONDS_BETWEEN_PINGS:
                    self._pings[i] = now, actor.ping.remote()
            elif now - since > self._patience:
                self._ray.kill(actor)

    def _bury(self, i: int, failure: Exception) -> int:
        """Makes sure that a learner is dead and that all others know; returns its updates."""
        self._failures[i].append(failure)
        self._ray.kill(self._actors.pop(i))
        self._pings.pop(i, None)
        self._lives[i] += 1
        life = self._lives[i]
        self._ask({j: actor.meet.remote(i, life, None) for j, actor in self._actors.items()})
        return self._ray.get(self._log.close.remote(i))

    def _inherit(self, i: int) -> tuple[Any, Any, int]:
        """State and progress of a living learner, of a neighbor if one lives."""
        for j in sorted(self._actors, key=lambda j: (j not in self._neighbors[i], j)):
            given = self._ask({j: self._actors[j].give.remote(i, self._lives[i])})
            if given:
                return given[j]
        return async_runtime.give_up(self.failures(), len(self._lives))

    def _ask(self, references: dict[int, Any]) -> dict[int, Any]:
        """Answers by learner, without those that died; kills those that exceed the patience."""
        answers, end = {}, time.monotonic() + self._patience
        for i, reference in references.items():
            try:
                left = max(end - time.monotonic(), 0.0)
                answers[i] = self._ray.get(reference, timeout=left)
            except self._ray.exceptions.GetTimeoutError:
                self._ray.kill(self._actors[i])  # `_look_after_all` finds it dead.
            except self._ray.exceptions.RayActorError:
                pass
        return answers


def run_ray(
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    params: Any,
    key: jax.Array,
    topology: Topology,
    *,
    num_updates: int,
    **options: Any,
) -> Run:
    """Trains learners in Ray actors until they have made `num_updates` updates together.

    It joins the cluster of `RAY_ADDRESS`, or one that the program has joined already; without any
    it starts one on this machine and shuts it down at the end.  gossamer must be importable on
    every node.

    Args:
        gradient: see `asynchrony.replay`; sent to the actors, like all functions here.
        optimizer: the optimizer that each learner runs.
        params: pytree [num_learners, ...].
        key: typed random key.
        topology: whose edges are the pairs that average.
        num_updates: updates of all learners together; each learner may make one more at the end.
        **options: of `Actors`:
            batches, see `asynchrony.replay`; each actor receives its own, or calls the function.
            has_aux and before_gradient, see `async_runtime.run_threads`.
            max_restarts, how often each learner may return after its process died or its gradient
            raised; 1 by default.
            deadline_factor and deadline_floor, see `push_pull.Deadline`; 5, and 1 second.
            patience, seconds after which a learner is killed that answers nothing at all, also when
            it returns and compiles; 60 by default.
            num_threads, that XLA may use in each actor, on the CPU; 1 by default.
            environment, variables of the actors' processes; "JAX_PLATFORMS" is "cpu" unless given.
            Under a "JAX_COMPILATION_CACHE_DIR" one learner of a host compiles for all.
            actor_options, of ``ray.remote``, for instance ``{"num_gpus": 1}``; spread over the
            nodes with one CPU each unless given.
            seed, of the choice of neighbors.

    Returns:
        A `Run`, whose trace replays to the same weights up to rounding.  A learner that stays dead
        ends with the weights of a living one, by an event of the trace.

    Raises:
        ValueError: if an argument is out of range, or Ray is not installed.
        RuntimeError: if all learners died; the first failure is its cause.

    Example:
        >>> run = run_ray(gradient, optax.sgd(0.1), start, key, ring(4), num_updates=1000)
        >>> model = learners.average(run.state.params)
    """
    async_runtime.check_arguments(params, topology.num_learners, num_updates)
    with Actors(gradient, optimizer, key, topology, num_updates=num_updates, **options) as run:
        run.start(asynchrony.init_state(params, optimizer))
        run.advance(num_updates)
        return run.snapshot()


@contextlib.contextmanager
def _cluster(ray: Any, num_learners: int):
    """The cluster of the program or of `RAY_ADDRESS`, or one for the time being."""
    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings():
        # JAX fears forks; Ray's are followed by another program at once.
        warnings.filterwarnings("ignore", message=r"os\.fork")
        if os.environ.get("RAY_ADDRESS"):
            ray.init(address="auto")
        else:
            ray.init(num_cpus=num_learners, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
