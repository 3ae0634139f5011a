"""The loop against crashes of every kind."""

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
    metrics,
    training,
)

SCRIPT = str(pathlib.Path(__file__).with_name("killed_run.py"))
RUN = runpy.run_path(SCRIPT)


def quadratic(params, batch, key):
    """0.5 |x - target|^2, whose gradient is x - target."""
    del key
    return 0.5 * jnp.sum(jnp.square(params["x"] - batch)), {"first": params["x"][0]}


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


@pytest.fixture
def assert_same_run(assert_same_bits):
    def check(folder, reference):
        (states, plain), (expected_states, expected_plain) = final(folder), final(reference)
        assert_same_bits(states, expected_states)
        assert plain == expected_plain

    return check


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run of 12 steps that nothing disturbs."""
    folder = tmp_path_factory.mktemp("reference")
    RUN["train"](folder, 12)
    return folder


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
def test_power_cuts_leave_no_trace(steps_per_life, reference, tmp_path, assert_same_run):
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
def test_sigkill_at_random_moments_leaves_no_trace(tmp_path, assert_same_run):
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
def test_signal_saves_and_the_same_call_continues(
    number, reference, tmp_path, capsys, assert_same_run
):
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


def test_finished_run_is_returned_as_it_is(reference, assert_same_bits):
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


def test_plain_iterators_start_anew_and_are_forwarded(key, tmp_path, assert_same_bits):
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
