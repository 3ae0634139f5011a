"""The one loop over learners that do not wait: log, checkpoints, signals, failures."""

import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import asynchrony, checkpoint, learners, metrics, topology, traces, training
from gossamer.core.async_runtime import Threads
from gossamer.core.async_training import Steps, gradient_of, guard, scale_by_progress

N = 3
GRAPH = topology.ring(N)
PARAMS = {"x": np.zeros(2, np.float32)}
OPTIMIZER = guard(optax.chain(optax.sgd(1.0), scale_by_progress(lambda step: 0.1 / (1 + step), N)))


def quadratic(params, batch, key):
    """0.5 |x - target|^2, whose gradient is x - target."""
    del key
    return 0.5 * jnp.sum(jnp.square(params["x"] - batch)), {"first": batch[0]}


def draw(learner, step):
    return np.float32([1 + learner + 0.1 * (step % 5), -1])


def broken(learner, step):
    return np.float32([np.nan, 0]) if learner == 1 else draw(learner, step)


def start():
    state = asynchrony.init_state(learners.replicate(PARAMS, N), OPTIMIZER)
    return state._replace(snapshots=None)


def train(folder, *, num_steps=6, batches=draw, validate=None, **options):
    arguments = gradient_of(quadratic), OPTIMIZER, jax.random.key(0), GRAPH
    options = {"num_updates": N * num_steps, "batches": batches, "has_aux": True} | options
    with Threads(*arguments, **options) as runtime:
        steps = Steps(runtime, N, folder / "traces")
        return training.fit(
            steps,
            start(),
            itertools.count(1),
            run_folder=folder,
            num_steps=num_steps,
            checkpoint_every=2,
            log_every=1,
            validate=validate or (lambda state: {"error": float(jnp.sum(state.params["x"]))}),
            validate_every=3,
            best_metric="error",
            read=steps.read,
            totals=steps.totals,
            show_progress=False,
        )


def replay(folder, step, state=None):
    trace = traces.load(folder / "traces" / f"{step:06d}.npz")

    def gradient(*arguments):
        return gradient_of(quadratic)(*arguments)[0]

    params = learners.replicate(PARAMS, N)
    arguments = trace, gradient, OPTIMIZER, params, jax.random.key(0)
    return asynchrony.replay(*arguments, batches=draw, state=state)[0]


def test_the_loop_logs_validates_and_keeps_what_the_learners_do(tmp_path):
    state = train(tmp_path)
    assert int(state.steps.sum()) == 6 * N
    np.testing.assert_allclose(
        state.params["x"], replay(tmp_path, 0).params["x"], rtol=1e-5, atol=1e-6
    )
    lines = [line for line in metrics.read_log(tmp_path) if "loss" in line]
    assert [line["updates"] for line in lines] == [N * k for k in range(1, 7)]
    for line in lines:
        assert sum(line[f"updates/{i}"] for i in range(N)) == line["updates"]
        assert line["finite"] == 1
        assert line["staleness"] >= 0
        assert line.get("updates_per_second", 1) > 0
    assert any("consensus_distance" in line for line in lines)
    assert checkpoint.steps(tmp_path / "checkpoints") == [4, 6]
    assert checkpoint.restore(tmp_path / "best", state) is not None
    again = train(tmp_path)  # nothing is left to do
    np.testing.assert_array_equal(again.params["x"], state.params["x"])


def test_a_signal_saves_and_the_same_call_continues(tmp_path, capsys):
    def interrupt(state):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"error": 0.0}

    with pytest.raises(SystemExit) as stop:
        train(tmp_path, validate=interrupt)
    assert stop.value.code == 128 + signal.SIGTERM
    assert "stopped after step 3 of 6" in capsys.readouterr().err
    found = checkpoint.restore(tmp_path / "checkpoints", start())
    assert found is not None
    step, saved, _ = found
    assert step == 3
    assert 3 * N <= int(saved.steps.sum()) <= 6 * N
    np.testing.assert_allclose(
        saved.params["x"], replay(tmp_path, 0).params["x"], rtol=1e-5, atol=1e-6
    )
    state = train(tmp_path)
    assert int(state.steps.sum()) == 6 * N
    replayed = replay(tmp_path, 3, saved)
    np.testing.assert_array_equal(state.steps, replayed.steps)
    np.testing.assert_allclose(state.params["x"], replayed.params["x"], rtol=1e-5, atol=1e-6)


def test_learners_that_are_never_finite_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="was not finite in 10 steps in a row"):
        train(tmp_path, num_steps=20, batches=lambda learner, step: broken(1, step))


def test_bad_gradients_are_left_out(tmp_path):
    state = train(tmp_path, batches=broken)
    assert np.isfinite(state.params["x"]).all()
    assert int(state.opt_state.total_notfinite[1]) == int(state.steps[1])
    assert int(state.opt_state.total_notfinite[0]) == 0
    finite = [line["finite"] for line in metrics.read_log(tmp_path) if "finite" in line]
    assert min(finite) < 1


def test_a_dead_learner_is_named_and_does_not_stop_the_others(tmp_path, capsys):
    def fail(learner, step):
        if learner == 1:
            raise OSError("no data any more")

    state = train(tmp_path, before_gradient=fail, max_restarts=1)
    assert state.steps[1] == 0
    assert int(state.steps.sum()) == 6 * N
    assert capsys.readouterr().err.count("learner 1 died (no data any more)") >= 1


def test_the_schedule_follows_the_progress_of_all():
    rule = scale_by_progress(lambda step: 10.0**-step, 4)
    for progress, rate in ((0, 1.0), (3, 1.0), (4, 0.1), (9, 0.01)):
        updates, _ = rule.update({"x": jnp.float16(2.0)}, (), progress=jnp.int32(progress))
        assert updates["x"].dtype == jnp.float16
        np.testing.assert_allclose(updates["x"], 2.0 * rate, rtol=1e-3)
