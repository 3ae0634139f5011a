"""Ray actors: their log replays to their weights, also when one of them is killed with SIGKILL."""

import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import asynchrony, ray_runtime, topology, traces
from gossamer.core.async_training import scale_by_progress
from gossamer.core.traces import NOBODY

N = 3
BATCHES = np.random.default_rng(0).standard_normal((N, 3, 4, 6)).astype(np.float32)
START = {"w": np.random.default_rng(1).standard_normal((N, 6, 6)).astype(np.float32) / 6.0}
OPTIMIZER = optax.sgd(0.05, momentum=0.9)


@pytest.fixture(scope="module")
def cluster():
    """A small cluster for the tests of this module."""
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=N, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def make_gradient():
    """A closure, which travels by value: other processes cannot import this module."""

    def gradient(params, batch, key):
        def loss(params):
            kept = batch * jax.random.bernoulli(key, 0.8, batch.shape)
            return jnp.mean(jnp.square(jnp.tanh(kept @ params["w"]) @ params["w"].T - batch))

        return jax.grad(loss)(params)

    return gradient


def make_killer(folder):
    """Learner 1 kills itself once, in its fourth gradient; the others go on until it is back."""
    killed, returned = folder / "killed", folder / "returned"

    def before_gradient(learner, step):
        import time

        if learner == 1 and step == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if learner == 1 and step == 5:
            returned.touch()
        if learner != 1 and step >= 10 and not returned.exists():
            time.sleep(0.2)

    return before_gradient


def run(**options):
    key = jax.random.key(0)
    start = jax.tree.map(jnp.asarray, START)
    graph = topology.ring(N)
    gradient = make_gradient()
    found = ray_runtime.run_ray(
        gradient, OPTIMIZER, start, key, graph, batches=BATCHES, patience=300.0, **options
    )
    replayed, _ = asynchrony.replay(found.trace, gradient, OPTIMIZER, start, key, batches=BATCHES)
    return found, replayed


def assert_same(found, replayed):
    np.testing.assert_array_equal(found.state.steps, replayed.steps)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        (found.state.params, found.state.snapshots, found.state.opt_state),
        (replayed.params, replayed.snapshots, replayed.opt_state),
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
def test_the_log_replays_to_the_same_weights(cluster):
    found, replayed = run(num_updates=60)
    assert not found.failures
    assert 60 <= found.trace.applies.sum() < 60 + N
    assert (np.diff(found.trace.time) >= 0.0).all()
    # Nothing is in flight at the end: both halves of every exchange are there.
    assert found.trace.settles.sum() == (found.trace.answers != NOBODY).sum() >= 10
    assert_same(found, replayed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_killed_learner_does_not_stop_the_others_and_returns(cluster, tmp_path):
    found, replayed = run(num_updates=80, before_gradient=make_killer(tmp_path), max_restarts=1)
    assert list(found.failures) == [1]
    assert type(found.failures[1][0]).__name__ == "ActorDiedError"
    (rejoin,) = np.flatnonzero(found.trace.pulls != NOBODY)
    assert found.trace.learner[rejoin] == 1
    updates_of_others = found.trace.applies & (found.trace.learner != 1)
    last_before = np.flatnonzero((found.trace.learner[:rejoin] == 1) & found.trace.applies[:rejoin])
    assert updates_of_others[last_before[-1] : rejoin].sum() >= 3
    assert traces.summarize(found.trace).updates[1] >= 5
    assert_same(found, replayed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_learner_that_stays_dead_ends_with_the_weights_of_a_living_one(cluster):
    def before_gradient(learner, step):
        if learner == 1:
            raise OSError("learner 1 lost its data")

    found, replayed = run(num_updates=30, before_gradient=before_gradient, max_restarts=0)
    assert "learner 1 lost its data" in str(found.failures[1][0])
    assert found.state.steps[1] == 0
    assert found.trace.pulls[-1] in (0, 2)
    assert_same(found, replayed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_run_is_watched_and_goes_on_from_a_snapshot(cluster):
    """With batches of two shapes by a function, and a rate that follows the progress."""

    def batches(learner, step):
        return BATCHES[learner, step % 3][: 4 - 2 * (step % 2)]

    def with_loss(params, batch, key):
        return make_gradient()(params, batch, key), {"rows": jnp.float32(len(batch))}

    key, graph = jax.random.key(0), topology.ring(N)
    optimizer = optax.chain(OPTIMIZER, scale_by_progress(lambda step: 1.0 / (1.0 + step), N))
    start = asynchrony.init_state(jax.tree.map(jnp.asarray, START), optimizer)
    state = start
    for target in (15, 60):
        options = {"num_updates": 60, "batches": batches, "has_aux": True, "patience": 300.0}
        with ray_runtime.Actors(with_loss, optimizer, key, graph, **options) as runtime:
            runtime.start(state)
            updates = runtime.advance(target)
            found = runtime.snapshot()
        assert {dict(update.metrics)["rows"] for update in updates} == {2.0, 4.0}
        before, state = state, found.state
    assert 60 <= int(state.steps.sum()) < 60 + N
    replayed, _ = asynchrony.replay(
        found.trace,
        make_gradient(),
        optimizer,
        start.params,
        key,
        batches=batches,
        state=before._replace(snapshots=None),
    )
    assert_same(found, replayed)


def test_bad_arguments_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="`num_updates` must be at least 1"):
        run(num_updates=0)
    with pytest.raises(ValueError, match="`floor` must be at least 0 seconds"):
        run(num_updates=1, deadline_floor=-1.0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[ray\]' in a checkout"):
        run(num_updates=1)
