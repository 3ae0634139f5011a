"""Real threads: their log replays to their weights, and no learner waits for another."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import asynchrony, learners, thread_learner, topology, traces
from gossamer.core.async_runtime import Threads, run_threads
from gossamer.core.async_training import scale_by_progress

N = 4
GRAPH = topology.ring(N)
BATCHES = np.random.default_rng(0).standard_normal((N, 3, 4, 6)).astype(np.float32)
OPTIMIZER = optax.sgd(0.05, momentum=0.9)


def reconstruct(params, batch, key):
    """Gradient of an autoencoder with tied weights and dropout."""

    def loss(params):
        kept = batch * jax.random.bernoulli(key, 0.8, batch.shape)
        return jnp.mean(jnp.square(jnp.tanh(kept @ params["w"]) @ params["w"].T - batch))

    return jax.grad(loss)(params)


def starts(spread=0.0):
    generator = np.random.default_rng(1)
    w = generator.standard_normal((6, 6)).astype(np.float32) / 6.0
    start = learners.replicate({"w": jnp.asarray(w)}, N)
    noise = generator.standard_normal((N, 6, 6)).astype(np.float32)
    return jax.tree.map(lambda x: x + spread * noise, start)


def run(start, gradient=reconstruct, **options):
    key = jax.random.key(0)
    return run_threads(gradient, OPTIMIZER, start, key, GRAPH, batches=BATCHES, **options)


def assert_replays(found, start):
    state, _ = asynchrony.replay(
        found.trace, reconstruct, OPTIMIZER, start, jax.random.key(0), batches=BATCHES
    )
    np.testing.assert_array_equal(found.state.steps, state.steps)
    # The scan fuses the gradient with what surrounds it, so that its last bit may differ.
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        (found.state.params, found.state.snapshots, found.state.opt_state),
        (state.params, state.snapshots, state.opt_state),
    )


def test_the_log_replays_to_the_same_weights():
    start = starts(spread=0.1)
    found = run(start, num_updates=60)
    assert found.trace.applies.sum() == 60
    assert (np.diff(found.trace.time) >= 0.0).all()
    assert not found.failures
    assert_replays(found, start)


def test_averages_replay_bit_for_bit_and_conserve_the_sum():
    def nothing(params, batch, key):
        return optax.tree.zeros_like(params)

    start = starts(spread=1.0)
    found = run(start, nothing, num_updates=60)
    replayed, _ = asynchrony.replay(
        found.trace, nothing, OPTIMIZER, start, jax.random.key(0), batches=BATCHES
    )
    np.testing.assert_array_equal(found.state.params["w"], replayed.params["w"])
    # Sixty averages, each of which rounds numbers of size 4 in float32.
    np.testing.assert_allclose(
        found.state.params["w"].sum(axis=0), start["w"].sum(axis=0), rtol=0, atol=60 * 4 * 2.0**-23
    )


def test_a_stuck_learner_does_not_stop_the_others():
    """Learner 0 waits in its first gradient until another one has made ten updates."""
    others_went_on = threading.Event()

    def before_gradient(learner, step):
        if learner == 0:
            assert others_went_on.wait(timeout=60.0)
        elif step == 10:
            others_went_on.set()

    found = run(starts(), num_updates=60, before_gradient=before_gradient)
    assert not found.failures
    first = np.flatnonzero(found.trace.learner == 0)
    assert len(first) == 0 or first[0] >= 10
    assert_replays(found, starts())


def fail_first(*, returns):
    """Learner 1 fails once, at its start; the others wait in their third step until all is done."""
    failed, done = threading.Event(), threading.Event()

    def before_gradient(learner, step):
        if learner == 1 and not failed.is_set():
            failed.set()
            if not returns:
                done.set()
            raise OSError("learner 1 lost its data")
        if learner == 1 and step == 1:
            done.set()
        if learner != 1 and step == 2:
            assert done.wait(timeout=60.0)

    return before_gradient


def test_the_others_survive_a_dead_learner():
    found = run(starts(), num_updates=40, before_gradient=fail_first(returns=False))
    assert list(found.failures) == [1]
    assert "learner 1 lost its data" in str(found.failures[1][0])
    summary = traces.summarize(found.trace)
    assert summary.updates.sum() == 40
    assert summary.updates[1] == 0
    assert_replays(found, starts())


def test_a_dead_learner_returns_with_the_weights_of_a_neighbor():
    start = starts(spread=0.1)
    failing = fail_first(returns=True)
    found = run(start, num_updates=40, before_gradient=failing, max_restarts=1)
    (rejoin,) = np.flatnonzero(found.trace.pulls >= 0)
    assert found.trace.learner[rejoin] == 1
    assert found.trace.pulls[rejoin] in (0, 2)
    assert_replays(found, start)


def test_the_death_of_all_is_an_error():
    def before_gradient(learner, step):
        raise OSError

    with pytest.raises(RuntimeError, match="all 4 learners died") as error:
        run(starts(), num_updates=10, before_gradient=before_gradient)
    assert isinstance(error.value.__cause__, OSError)


def several_shapes(learner, step):
    """The batches by a function, every second one cut short."""
    return BATCHES[learner, step % 3][: 4 - 2 * (step % 2)]


def test_batches_by_a_function_come_in_several_shapes():
    start, key = starts(spread=0.1), jax.random.key(0)
    optimizer = optax.chain(OPTIMIZER, scale_by_progress(lambda step: 1.0 / (1.0 + step), N))
    options = {"batches": several_shapes, "num_updates": 30}
    found = run_threads(reconstruct, optimizer, start, key, GRAPH, **options)
    state, observed = asynchrony.replay(
        found.trace,
        reconstruct,
        optimizer,
        start,
        key,
        batches=several_shapes,
        observe=lambda params: params["w"][0, 0],
    )
    np.testing.assert_array_equal(found.state.steps, state.steps)
    np.testing.assert_allclose(found.state.params["w"], state.params["w"], rtol=1e-5, atol=1e-6)
    assert observed.shape == (len(found.trace.time), 6)


def test_a_run_is_watched_and_goes_on_from_a_snapshot():
    """Snapshots and reports come while it runs, and the trace replays to the snapshot."""

    def with_loss(params, batch, key):
        return reconstruct(params, batch, key), {"size": jnp.float32(batch.size)}

    start, key, replayed = starts(spread=0.1), jax.random.key(0), None
    state = asynchrony.init_state(start, OPTIMIZER)
    for target in (24, 48):
        options = {"num_updates": 48, "batches": BATCHES, "has_aux": True}
        with Threads(with_loss, OPTIMIZER, key, GRAPH, **options) as runtime:
            runtime.start(state)
            updates = runtime.advance(target)
            found = runtime.snapshot()
        assert len(updates) >= 24 if target == 24 else int(found.state.steps.sum()) == 48
        assert {dict(update.metrics)["size"] for update in updates} == {24.0}
        replayed, _ = asynchrony.replay(
            found.trace, reconstruct, OPTIMIZER, start, key, batches=BATCHES, state=replayed
        )
        np.testing.assert_array_equal(found.state.steps, replayed.steps)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
            (found.state.params, found.state.opt_state),
            (replayed.params, replayed.opt_state),
        )
        # Who goes on computes gradients of the weights as they are.
        state = found.state._replace(snapshots=None)
        replayed = replayed._replace(snapshots=None)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`num_updates` must be at least 1"):
        run(starts(), num_updates=0)
    with pytest.raises(ValueError, match="`params` must have a leading axis of 4 learners"):
        run({"w": jnp.zeros((3, 6, 6))}, num_updates=1)


def test_averaging_keeps_dtypes():
    x, y = {"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.zeros(3, jnp.bfloat16)}
    for tree in thread_learner.average(x, y):
        np.testing.assert_array_equal(tree["w"], jnp.full(3, 0.5, jnp.bfloat16))
