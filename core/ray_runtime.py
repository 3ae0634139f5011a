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
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

from . import async_runtime
from .async_runtime import Run
from .asynchrony import AsyncState, Gradient
from .push_pull import Deadline, Log
from .ray_learner import Learner, Task, import_ray
from .schemes import neighbors
from .topology import Topology

_SECONDS_BETWEEN_CHECKS = 5.0


def run_ray(
    gradient: Gradient,
    optimizer: optax.GradientTransformation,
    params: Any,
    key: jax.Array,
    topology: Topology,
    *,
    num_updates: int,
    batches: Any = None,
    before_gradient: Callable[[int, int], None] | None = None,
    max_restarts: int = 1,
    deadline_factor: float = 5.0,
    deadline_floor: float = 1.0,
    patience: float = 60.0,
    num_threads: int = 1,
    environment: Mapping[str, str] | None = None,
    actor_options: Mapping[str, Any] | None = None,
    seed: int = 0,
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
        batches: see `asynchrony.replay`; each actor receives its own.
        before_gradient: see `async_runtime.run_threads`; called in the learner's process.
        max_restarts: how often each learner may return after its process died or its gradient
            raised.
        deadline_factor: see `push_pull.Deadline`.
        deadline_floor: see `push_pull.Deadline`; in seconds.
        patience: seconds after which a learner is killed that answers nothing at all, also when
            it returns.
        num_threads: threads that XLA may use in each actor, on the CPU.
        environment: variables of the actors' processes; "JAX_PLATFORMS" is "cpu" unless given.
        actor_options: of ``ray.remote``, for instance ``{"num_gpus": 1}``; spread over the nodes
            with one CPU each unless given.
        seed: of the choice of neighbors.

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
    n = topology.num_learners
    async_runtime.check_arguments(params, n, num_updates)
    Deadline(deadline_factor, deadline_floor)
    ray = import_ray()
    variables = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(jax.config.read("jax_enable_x64")),
        "NPROC": str(num_threads),
        **(environment or {}),
    }
    options = {
        "num_cpus": 1,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": variables},
        **(actor_options or {}),
    }
    task = Task(
        gradient,
        optimizer,
        np.asarray(jax.random.key_data(key)),
        str(jax.random.key_impl(key)),
        before_gradient,
        (deadline_factor, deadline_floor),
        seed,
    )
    with _cluster(ray, n):
        rows = jax.device_get((params, batches))
        team = _Team(ray, task, rows, topology, num_updates, options, patience)
        try:
            team.train(max_restarts)
            return team.result()
        finally:
            team.dismiss()


class _Team:
    """The driver's side: who lives, and what to do when somebody dies."""

    def __init__(self, ray, task, rows, topology: Topology, num_updates: int, options, patience):
        n = topology.num_learners
        self._ray, self._task, self._rows, self._patience = ray, task, rows, patience
        self._neighbors = neighbors(topology)
        self._log = ray.remote(num_cpus=0)(Log).remote(n, num_updates)
        self._actor = ray.remote(concurrency_groups={"compute": 1}, **options)(Learner)
        self._lives = [0] * n
        self._actors: dict[int, Any] = {}
        self._failures: list[list[Exception]] = [[] for _ in range(n)]

    def train(self, max_restarts: int) -> None:
        """Returns when every learner has ended."""
        n = len(self._lives)
        for i in range(n):
            self._start(i, self._row(i, 0), None, 0)
        started = [actor.ping.remote() for actor in self._actors.values()]
        self._ray.wait(started, num_returns=n)  # Processes start one by one, learners together.
        living = {self._begin(i): i for i in range(n)}
        finished = False
        while living:
            ready, _ = self._ray.wait(list(living), timeout=_SECONDS_BETWEEN_CHECKS)
            if not ready:
                self._ask({i: actor.ping.remote() for i, actor in self._actors.items()})
            for reference in ready:
                i = living.pop(reference)
                try:
                    self._ray.get(reference)
                    finished = True
                except self._ray.exceptions.RayError as failure:
                    step = self._bury(i, failure)
                    if not finished and len(self._failures[i]) <= max_restarts:
                        self._start(i, *self._inherit(i), step)
                        living[self._begin(i)] = i
        if not finished:
            self._give_up()

    def result(self) -> Run:
        """State and trace after the end."""
        n = len(self._lives)
        states = self._ask({i: actor.state.remote() for i, actor in self._actors.items()})
        for i in set(range(n)) - set(states):
            params, opt_state = self._inherit(i)
            states[i] = params, params, opt_state
        trace = self._ray.get(self._log.trace.remote())
        columns = zip(*(states[i] for i in range(n)), strict=True)
        params, snapshots, opt_state = map(async_runtime.stack, columns)
        steps = np.bincount(trace.learner[trace.applies], minlength=n).astype(np.int32)
        state = AsyncState(params, snapshots, opt_state, jax.numpy.asarray(steps))
        return Run(state, trace, {i: found for i, found in enumerate(self._failures) if found})

    def dismiss(self) -> None:
        for actor in (*self._actors.values(), self._log):
            self._ray.kill(actor)

    def _row(self, i: int, which: int) -> Any:
        return jax.tree.map(lambda x: x[i], self._rows[which])

    def _start(self, i: int, params: Any, opt_state: Any, step: int) -> None:
        self._actors[i] = self._actor.remote(
            self._task, i, self._lives[i], params, opt_state, self._row(i, 1), step, self._log
        )

    def _begin(self, i: int) -> Any:
        """Introduces a learner and its neighbors to each other, and lets it live."""
        actor = self._actors[i]
        for j, peer in self._actors.items():
            if j in self._neighbors[i]:
                actor.meet.remote(j, self._lives[j], peer)
            if i in self._neighbors[j]:
                peer.meet.remote(i, self._lives[i], actor)
        return actor.live.options(concurrency_group="compute").remote()

    def _bury(self, i: int, failure: Exception) -> int:
        """Makes sure that a learner is dead and that all others know; returns its updates."""
        self._failures[i].append(failure)
        self._ray.kill(self._actors.pop(i))
        self._lives[i] += 1
        life = self._lives[i]
        self._ask({j: actor.meet.remote(i, life, None) for j, actor in self._actors.items()})
        return self._ray.get(self._log.close.remote(i))

    def _inherit(self, i: int) -> tuple[Any, Any]:
        """Weights and optimizer state of a living learner, of a neighbor if one lives."""
        for j in sorted(self._actors, key=lambda j: (j not in self._neighbors[i], j)):
            given = self._ask({j: self._actors[j].give.remote(i, self._lives[i])})
            if given:
                return given[j]
        return self._give_up()

    def _ask(self, references: dict[int, Any]) -> dict[int, Any]:
        """Answers by learner, without those that died; kills those that exceed the patience."""
        answers, end = {}, time.monotonic() + self._patience
        for i, reference in references.items():
            try:
                left = max(end - time.monotonic(), 0.0)
                answers[i] = self._ray.get(reference, timeout=left)
            except self._ray.exceptions.GetTimeoutError:
                self._ray.kill(self._actors[i])  # `train` finds it dead.
            except self._ray.exceptions.RayActorError:
                pass
        return answers

    def _give_up(self) -> Any:
        first = next(found[0] for found in self._failures if found)
        raise RuntimeError(
            f"all {len(self._lives)} learners died before `num_updates`; see the first failure, or "
            "raise `max_restarts`."
        ) from first


@contextlib.contextmanager
def _cluster(ray: Any, num_learners: int):
    """The cluster of the program or of `RAY_ADDRESS`, or one for the time being."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto")
    else:
        ray.init(num_cpus=num_learners, include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()
