"""The train step against dense algebra, and the loop against crashes of every kind."""

import itertools
import os
import pathlib
import random
import runpy
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import (
    checkpoint,
    gossip,
    learners,
    metrics,
    sparsification,
    topology,
    training,
)

SCRIPT = str(pathlib.Path(__file__).with_name("killed_run.py"))
RUN = runpy.run_path(SCRIPT)


def quadratic(params, batch, key):
    """0.5 |x - target|^2, whose gradient is x - target."""
    del key
    return 0.5 * jnp.sum(jnp.square(params["x"] - batch)), {"first": params["x"][0]}


def assert_same_bits(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def timeless(folder):
    return [{k: v for k, v in row.items() if k != "time"} for row in metrics.read_log(folder)]


def final(folder):
    """Everything a finished run leaves: both checkpoints with their metadata, and the log."""
    state = RUN["make_step"]()[1]
    last = checkpoint.restore(folder / "checkpoints", state)
    best = checkpoint.restore(folder / "best", state)
    assert last is not None
    assert best is not None
    return (last[1], best[1]), (last[0], last[2], best[0], best[2], timeless(folder))


def assert_same_run(folder, reference):
    (states, plain), (expected_states, expected_plain) = final(folder), final(reference)
    assert_same_bits(states, expected_states)
    assert plain == expected_plain


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run of 12 steps that nothing disturbs."""
    folder = tmp_path_factory.mktemp("reference")
    RUN["train"](folder, 12)
    return folder


def test_single_learner_takes_an_sgd_step(key):
    optimizer = optax.sgd(0.1)
    state = training.init_state({"x": jnp.array([1.0, 2.0])}, optimizer, key)
    step = jax.jit(training.train_step(quadratic, optimizer))
    state, report = step(state, jnp.array([0.0, 4.0]))
    np.testing.assert_allclose(state.params["x"], [0.9, 2.2], rtol=1e-6)
    np.testing.assert_allclose(report["loss"], 2.5, rtol=1e-6)
    np.testing.assert_allclose(report["grad_norm"], np.sqrt(5.0), rtol=1e-6)
    assert report["finite"] == 1
    assert (int(state.step), int(state.skipped)) == (1, 0)


def test_learners_follow_the_dense_mixing_matrix(key):
    ring = topology.ring(4)
    optimizer = gossip.dpsgd(optax.sgd(0.1), ring)
    step = learners.spread(training.train_step(quadratic, optimizer, axis_name="learner"), 4)
    state = training.init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
    targets = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    x = np.ones((4, 3))
    for number, target in enumerate(targets):
        state, report = step(state, jnp.asarray(target))
        losses = 0.5 * np.square(x - target).sum(axis=1)
        norms = np.linalg.norm(x - target, axis=1)
        x = ring.matrix(number) @ x - 0.1 * (x - target)
        distance = np.square(x - x.mean(axis=0)).sum(axis=1).mean()
        # Float32 against float64 over three steps of numbers of order one.
        np.testing.assert_allclose(state.params["x"], x, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(report["loss"], np.full(4, losses.mean()), rtol=1e-6)
        np.testing.assert_allclose(report["grad_norm"], np.full(4, norms.mean()), rtol=1e-6)
        np.testing.assert_allclose(
            report["consensus_distance"], np.full(4, distance), rtol=1e-6, atol=1e-6
        )


def test_the_consensus_distance_is_measured_as_often_as_asked(key):
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(4))
    batch = jnp.arange(12.0).reshape(4, 3)

    def run(every, engine="vmap"):
        step = training.train_step(quadratic, optimizer, axis_name="learner", consensus_every=every)
        step = learners.spread(step, 4, engine=engine)
        state = training.init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
        found = []
        for _ in range(6):
            state, report = step(state, batch)
            found.append(report.get("consensus_distance", np.full(4, -1.0))[0])
        return np.array(found)

    always = run(1)
    for engine in ("vmap", "shard_map"):
        found = run(3, engine)
        np.testing.assert_allclose(found[2::3], always[2::3], rtol=1e-6)
        np.testing.assert_array_equal(np.isnan(found), [True, True, False] * 2)
    np.testing.assert_array_equal(run(None), np.full(6, -1.0))
    with pytest.raises(ValueError, match="`consensus_every` must be at least 1, got 0"):
        run(0)


def test_delayed_optimizer_gets_the_gradient_at_the_weights_of_one_step_before(key):
    optimizer = gossip.delay_by_one(optax.sgd(0.1), 4, form="B")
    start = np.float32([1.0, 2.0, -1.0])
    batch = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)

    def loss(params, batch, key):
        return jnp.sum(jnp.square(params - batch)) / 2.0, {}

    run = learners.spread(training.train_step(loss, optimizer, axis_name="learner"), 4)
    state = training.init_state(jnp.asarray(start), optimizer, key, num_learners=4)
    previous = x = np.tile(start, (4, 1))
    for _ in range(5):
        state, _ = run(state, batch)
        previous, x = x, x.mean(axis=0) - 0.1 * (previous - batch)
    np.testing.assert_allclose(state.params, x, rtol=1e-6, atol=1e-6)


def test_statistics_follow_what_each_learner_saw(key):
    def loss(params, batch, key):
        value, metrics = quadratic(params, batch, key)
        return value, (metrics, {"mean": batch[0]})

    optimizer = optax.sgd(0.1)
    step = training.train_step(
        loss, optimizer, axis_name="learner", statistics_decay=0.75, num_parts=1
    )
    step = learners.spread(step, 2)
    state = training.init_state(
        {"x": jnp.zeros(2)}, optimizer, key, num_learners=2, statistics={"mean": jnp.ones([])}
    )
    batch = jnp.array([[1.0, 2.0], [5.0, 6.0]])
    state, report = step(state, batch)
    assert state.statistics["mean"].tolist() == [1.0, 0.75 + 0.25 * 5.0]
    assert set(report) >= {"loss", "first"}
    # A step that is skipped leaves them as they are.
    state, report = step(state, batch.at[0, 1].set(jnp.nan))
    assert report["finite"].tolist() == [0.0, 0.0]
    assert state.statistics["mean"].tolist() == [1.0, 0.75 + 0.25 * 5.0]


def test_statistics_of_parts_are_averaged(key):
    def loss(params, batch, key):
        return jnp.mean(params * batch), ({}, jnp.mean(batch))

    step = training.train_step(loss, optax.sgd(0.1), num_parts=2, statistics_decay=0.0)
    state = training.init_state(jnp.ones([]), optax.sgd(0.1), key, statistics=jnp.zeros([]))
    state, _ = jax.jit(step)(state, jnp.arange(4.0))
    assert float(state.statistics) == 1.5
    with pytest.raises(ValueError, match=r"`statistics_decay` must be in \[0, 1\), got 1"):
        training.train_step(loss, optax.sgd(0.1), statistics_decay=1.0)


def test_one_bad_learner_makes_all_skip_without_recompiling(key):
    optimizer = gossip.dpsgd(optax.adam(0.1), topology.ring(4))
    step = learners.spread(training.train_step(quadratic, optimizer, axis_name="learner"), 4)
    state = training.init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
    good = jnp.arange(12.0).reshape(4, 3)
    bad = good.at[2, 1].set(jnp.nan)
    before, report = step(state, good)
    np.testing.assert_array_equal(report["finite"], np.ones(4))

    after, report = step(before, bad)
    np.testing.assert_array_equal(report["finite"], np.zeros(4))
    assert_same_bits(
        (after.params, after.opt_state, after.key), (before.params, before.opt_state, before.key)
    )
    np.testing.assert_array_equal(after.step, np.full(4, 2))
    np.testing.assert_array_equal(after.skipped, np.ones(4))
    again, _ = step(after, bad)
    np.testing.assert_array_equal(again.skipped, np.full(4, 2))

    healed, _ = step(again, good)
    expected, _ = step(before, good)
    np.testing.assert_array_equal(healed.skipped, np.zeros(4))
    assert_same_bits((healed.params, healed.opt_state), (expected.params, expected.opt_state))
    assert step._cache_size() == 1


@pytest.mark.parametrize("engine", ["shard_map", "pmap"])
def test_engines_take_the_same_steps(engine, key):
    optimizer = gossip.dpsgd(optax.adam(0.1), topology.ring(4))
    one = training.train_step(quadratic, optimizer, axis_name="learner")
    state = training.init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
    batch = jnp.arange(12.0).reshape(4, 3)
    results = []
    for chosen in ("vmap", engine):
        step = learners.spread(one, 4, engine=chosen)
        results.append(step(step(state, batch)[0], batch)[0])
    expected, got = (jax.tree.map(np.asarray, result._replace(key=0)) for result in results)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), expected, got)


@pytest.mark.parametrize("optimizer", [optax.adam(optax.cosine_onecycle_schedule(9, 0.1))])
def test_step_keeps_types_and_compiles_once(optimizer, key):
    state = training.init_state({"x": jnp.ones(2), "y": jnp.ones(2, jnp.bfloat16)}, optimizer, key)
    step = jax.jit(training.train_step(quadratic, optimizer))
    next_state, _ = step(state, jnp.zeros(2))
    step(next_state, jnp.zeros(2))
    assert step._cache_size() == 1
    assert jax.tree.map(lambda x: x.dtype, next_state) == jax.tree.map(lambda x: x.dtype, state)


def test_loss_receives_the_key_of_its_learner_and_step(key):
    def loss(params, batch, key):
        return jnp.sum(params["x"]), {"draw": jax.random.uniform(key)}

    optimizer = optax.sgd(0.0)
    step = jax.vmap(training.train_step(loss, optimizer), in_axes=(0, None))
    state = training.init_state({"x": jnp.ones(1)}, optimizer, key, num_learners=2)
    keys = jax.random.split(key, 2)
    for number in range(3):
        state, report = step(state, jnp.zeros(()))
        expected = [jax.random.uniform(jax.random.fold_in(k, number)) for k in keys]
        np.testing.assert_array_equal(report["draw"], np.stack(expected))


def test_old_style_key_is_refused():
    with pytest.raises(TypeError, match=r"`key` must be a typed random key.*jax.random.key"):
        training.init_state({}, optax.sgd(0.1), jax.random.PRNGKey(0))


class PowerCut(Exception):
    """Stands for whatever ends a process without a word."""


class Tampered:
    """Batches that call `act` in place of drawing number `at` of a process."""

    def __init__(self, batches, at, act):
        self.batches, self.left, self.act = batches, at, act
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __next__(self):
        self.left -= 1
        if self.left == 0:
            self.act()
        return next(self.batches)


def cut():
    raise PowerCut


@pytest.mark.parametrize("steps_per_life", [5, 7])
def test_power_cuts_leave_no_trace(steps_per_life, reference, tmp_path):
    def wrap(batches):
        return Tampered(batches, steps_per_life + 1, cut)

    deaths = 0
    while checkpoint.steps(tmp_path / "checkpoints")[-1:] != [12]:
        try:
            RUN["train"](tmp_path, 12, wrap=wrap)
        except PowerCut:
            deaths += 1
    assert deaths == {5: 3, 7: 1}[steps_per_life]
    assert_same_run(tmp_path, reference)


@pytest.mark.slow
def test_sigkill_at_random_moments_leaves_no_trace(tmp_path):
    steps, environment = 60, os.environ | {"JAX_PLATFORMS": "cpu"}

    def start(folder):
        return subprocess.Popen([sys.executable, SCRIPT, folder, str(steps)], env=environment)

    undisturbed = start(tmp_path / "reference")
    dice, kills = random.Random(0), 0
    for target in (7, 25, 45):
        process = start(tmp_path / "killed")
        target += dice.randrange(8)
        while process.poll() is None:
            rows = metrics.read_log(tmp_path / "killed")
            if rows and rows[-1]["step"] >= target:
                time.sleep(dice.random() * 0.1)
                process.kill()
                process.wait()
                kills += process.returncode == -signal.SIGKILL
            time.sleep(0.005)
    assert kills == 3
    assert start(tmp_path / "killed").wait() == 0
    assert undisturbed.wait() == 0
    assert_same_run(tmp_path / "killed", tmp_path / "reference")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_the_same_call_continues(number, reference, tmp_path, capsys):
    def wrap(batches):
        return Tampered(batches, 8, lambda: os.kill(os.getpid(), number))

    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        RUN["train"](tmp_path, 12, wrap=wrap)
    assert stop.value.code == 128 + number
    assert "stopped after step 8 of 12" in capsys.readouterr().err
    assert checkpoint.steps(tmp_path / "checkpoints")[-1] == 8
    assert signal.getsignal(number) is handler
    RUN["train"](tmp_path, 12)
    assert_same_run(tmp_path, reference)


def test_signal_while_validating_saves_that_step(key, tmp_path):
    def validate(state):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"score": 1.0}

    with pytest.raises(SystemExit):
        fit_quadratic(
            tmp_path,
            itertools.repeat(jnp.zeros(2)),
            key=key,
            validate=validate,
            validate_every=3,
            checkpoint_every=12,
        )
    assert checkpoint.steps(tmp_path / "checkpoints") == [3]


def test_finished_run_is_returned_as_it_is(reference):
    before = timeless(reference)
    state = RUN["train"](reference, 12)
    assert_same_bits(state, final(reference)[0][0])
    assert timeless(reference) == before


def fit_quadratic(folder, batches, *, key, **options):
    optimizer = optax.sgd(0.1)
    state = training.init_state({"x": jnp.ones(2)}, optimizer, key)
    step = jax.jit(training.train_step(quadratic, optimizer), donate_argnums=0)
    defaults = {"num_steps": 12, "checkpoint_every": 2, "log_every": 4, "show_progress": False}
    return training.fit(step, state, batches, run_folder=folder, **(defaults | options)), state


def test_callers_state_survives_donation(key, tmp_path):
    _, state = fit_quadratic(tmp_path, itertools.repeat(jnp.zeros(2)), key=key)
    np.testing.assert_array_equal(state.params["x"], np.ones(2))


def test_plain_iterators_start_anew_and_are_forwarded(key, tmp_path):
    def batches():
        return iter(jnp.arange(24.0).reshape(12, 2))

    whole, _ = fit_quadratic(tmp_path / "whole", batches(), key=key)
    fit_quadratic(tmp_path / "parts", batches(), key=key, num_steps=5)
    parts, _ = fit_quadratic(tmp_path / "parts", batches(), key=key)
    assert_same_bits(parts, whole)


def test_too_many_bad_steps_stop_with_a_report(key, tmp_path):
    good, bad = jnp.zeros(2), jnp.full(2, jnp.inf)
    batches = itertools.chain([good] * 3, [bad] * 2, [good] * 2, itertools.repeat(bad))
    with pytest.raises(FloatingPointError) as error:
        fit_quadratic(
            tmp_path, batches, key=key, max_skipped=3, schedule=optax.constant_schedule(0.1)
        )
    # Steps 4 and 5 are bad but fewer than three; 8, 9 and 10 are the three in a row.
    assert "stopped at step 10" in str(error.value)
    assert "learning rate 0.1" in str(error.value)
    assert "Lower the learning rate" in str(error.value)
    # x shrinks by 0.9 in each good step, so that the fifth loss is |0.9^4|^2.
    last_loss = float(str(error.value).split("last finite loss ")[1].split(",")[0])
    np.testing.assert_allclose(last_loss, 0.9**8, rtol=1e-6)
    template = training.init_state({"x": jnp.ones(2)}, optax.sgd(0.1), key)
    _, state, _ = checkpoint.restore(tmp_path / "checkpoints", template) or pytest.fail("none")
    np.testing.assert_allclose(state.params["x"], np.full(2, 0.9**5), rtol=1e-6)
    rows = metrics.read_log(tmp_path)
    np.testing.assert_allclose([row["finite"] for row in rows], [0.75, 0.5])


@pytest.mark.parametrize(("mode", "best_step"), [("min", 4), ("max", 8)])
def test_best_state_is_kept(mode, best_step, key, tmp_path):
    scores = {2: 3.0, 4: 1.0, 6: 1.0, 8: 5.0, 10: float("nan"), 12: 2.0}
    result, template = fit_quadratic(
        tmp_path,
        itertools.repeat(jnp.zeros(2)),
        key=key,
        validate=lambda state: {"score": scores[int(state.step)]},
        validate_every=2,
        best_metric="score",
        best_mode=mode,
    )
    step, best, measured = checkpoint.restore(tmp_path / "best", template) or pytest.fail("none")
    assert (step, measured) == (best_step, {"score": scores[best_step]})
    np.testing.assert_allclose(best.params["x"], np.full(2, 0.9**best_step), rtol=1e-6)
    np.testing.assert_allclose(result.params["x"], np.full(2, 0.9**12), rtol=1e-6)
    rows = [row for row in metrics.read_log(tmp_path) if "validation/score" in row]
    assert [row["step"] for row in rows] == list(scores)


def test_log_lines_are_means_of_their_window(key, tmp_path):
    fit_quadratic(tmp_path, itertools.repeat(jnp.zeros(2)), key=key, num_steps=6)
    rows = timeless(tmp_path)
    losses = [0.9 ** (2 * k) for k in range(6)]
    assert [row["step"] for row in rows] == [4, 6]
    expected = [np.mean(losses[:4]), np.mean(losses[4:])]
    np.testing.assert_allclose([row["loss"] for row in rows], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_steps": 0}, "`num_steps` must be at least 1, got 0"),
        ({"log_every": 0}, "`log_every` must be at least 1"),
        ({"best_metric": "wer"}, "`best_metric` needs `validate`"),
        ({"best_mode": "least"}, "`best_mode` must be"),
        (
            {"validate": lambda state: {"cer": 1.0}, "best_metric": "wer"},
            r"`best_metric` must be one of .* got 'wer'; choose from \['cer'\]",
        ),
        ({"num_steps": 20}, "`batches` must last for 20 steps, but ended at step 13"),
    ],
)
def test_bad_arguments_are_refused(options, match, key, tmp_path):
    with pytest.raises(ValueError, match=match):
        fit_quadratic(tmp_path, itertools.repeat(jnp.zeros(2), 12), key=key, **options)


def test_grain_run_refuses_to_continue_on_plain_batches(tmp_path):
    RUN["train"](tmp_path, 3)
    with pytest.raises(ValueError, match="`batches` must have `set_state`"):
        RUN["train"](tmp_path, 6, wrap=lambda batches: itertools.chain(batches))


def test_stages_hand_over_at_their_step(key):
    optimizer = optax.sgd(0.1)
    calls = []

    def named(name):
        step = jax.jit(
            training.train_step(lambda x, batch, key: (jnp.sum(x * batch), {}), optimizer)
        )

        def call(state, batch):
            calls.append(name)
            return step(state, batch)

        return call

    step = training.staged(named("first"), 2, named("then"))
    state = training.init_state(jnp.ones(3), optimizer, key)
    for _ in range(4):
        state, _ = step(state, jnp.ones(3))
    assert calls == ["first", "first", "then", "then"]
    resumed = training.staged(named("first"), 2, named("then"))
    resumed(state, jnp.ones(3))
    assert calls[-1] == "then"


def test_options_reach_the_update_of_the_optimizer(key):
    optimizer = sparsification.scalecom(3.0)

    def loss(x, batch, key):
        return jnp.sum(x * batch), {}

    state = training.init_state(jnp.ones(6), optimizer, key, num_learners=2)
    for compress, count in ((False, 6), (True, 2)):
        step = training.train_step(loss, optimizer, axis_name="learner", compress=compress)
        moved, _ = learners.spread(step, 2)(state, jnp.ones((2, 6)))
        assert np.count_nonzero(moved.params[0] - 1.0) == count
