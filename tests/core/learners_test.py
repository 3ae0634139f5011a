"""Engines against each other, against plain JAX without learners, and across processes."""

import pathlib
import runpy
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import learners

ENGINES = ("vmap", "shard_map", "pmap")
DEVICE_ENGINES = ("shard_map", "pmap")
PROCESSES = pathlib.Path(__file__).with_name("processes.py")


def shift(x):
    """Learner i receives from learner i - 1 of three."""
    return jax.lax.ppermute(x, "learner", [(0, 1), (1, 2), (2, 0)])


@pytest.mark.parametrize("engine", ENGINES)
def test_learners_see_slices_and_each_other(engine):
    def function(tree, offset):
        index = jax.lax.axis_index("learner")
        assert tree["x"].shape == (2,)
        return {"received": shift(tree["x"]), "index": index + offset, "same": jnp.zeros(3)}

    x = jnp.arange(6.0).reshape(3, 2)
    result = learners.spread(function, 3, engine=engine)({"x": x}, jnp.full(3, 10))
    np.testing.assert_array_equal(result["received"], np.roll(x, 1, axis=0))
    np.testing.assert_array_equal(result["index"], [10, 11, 12])
    np.testing.assert_array_equal(result["same"], np.zeros((3, 3)))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_axis_has_the_name_asked_for(engine):
    run = learners.spread(lambda x: jax.lax.psum(x, "worker"), 4, engine=engine, axis_name="worker")
    np.testing.assert_array_equal(run(jnp.arange(4)), [6, 6, 6, 6])


@pytest.mark.parametrize("engine", ["vmap", "shard_map"])
def test_what_was_placed_compiles_once(engine):
    compiled = []

    def listen(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(seconds)

    run = learners.spread(lambda x: x + jax.lax.psum(x, "learner"), 4, engine=engine)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        state = run(learners.place(jnp.arange(4.0), 4, engine=engine))
        assert compiled
        compiled.clear()
        run(run(state))
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("engine", ENGINES)
def test_random_keys_are_arguments_and_results(engine):
    def function(key):
        key, draw = jax.random.split(key)
        return key, jax.random.bits(draw, (3,))  # normal ones are rounded as a program likes

    keys = jax.random.split(jax.random.key(0), 4)
    next_keys, draws = learners.spread(function, 4, engine=engine)(keys)
    for i in range(4):
        key, draw = function(keys[i])
        assert next_keys[i] == key
        np.testing.assert_array_equal(draws[i], draw)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_are_those_of_each_learner(engine):
    """Never their sum: neither for a learner's own parameters nor for those it closes over."""
    generator = np.random.default_rng(0)
    data = generator.uniform(0.5, 1.5, (8, 4)).astype(np.float32)
    shared = jnp.ones(4)

    def loss(weights, b):
        return jnp.sum(jnp.square(b * weights))

    def function(weights, b):
        return jax.grad(loss)(weights, b), jax.grad(loss)(shared, b)

    run = learners.spread(function, 8, engine=engine)
    own, closed_over = run(learners.replicate(shared, 8), data)
    np.testing.assert_allclose(own, 2.0 * np.square(data), rtol=1e-6)
    np.testing.assert_allclose(closed_over, 2.0 * np.square(data), rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_through_collectives_agree(engine):
    def function(x):
        return jax.grad(lambda x: jnp.sum(jnp.square(shift(x))))(x)

    x = jnp.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(learners.spread(function, 3, engine=engine)(x), 2.0 * x, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_loops_may_start_from_constants(engine):
    """As recurrent layers do; the types of `shard_map` tell constants from learners' values."""

    def function(x):
        return jax.lax.scan(lambda c, x: (c + x, None), jnp.zeros([]), x)[0]

    x = jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(learners.spread(function, 3, engine=engine)(x), x.sum(axis=1))


@pytest.mark.parametrize("engine", ENGINES)
def test_traces_once_and_donates(engine):
    traces = []

    def function(x, y):
        traces.append(x.shape)
        return x + y

    run = learners.spread(function, 4, engine=engine, donate_argnums=0)
    x, y = jnp.ones((4, 100)), jnp.ones((4, 100))
    if engine != "vmap":
        x, y = jax.device_put((x, y), learners.learner_sharding(4))
    result = run(x, y)
    assert x.is_deleted()
    np.testing.assert_array_equal(run(result, y), np.full((4, 100), 3.0))
    assert traces == [(100,)]
    assert not y.is_deleted()


@pytest.mark.parametrize("engine", DEVICE_ENGINES)
def test_learner_i_lives_on_device_i(engine):
    devices = jax.devices()[:1:-1]  # The last ones first.
    result = learners.spread(lambda x: x + 1, 3, engine=engine, devices=devices)(jnp.arange(3))
    for shard in result.addressable_shards:
        assert shard.device == devices[shard.index[0].start]
    expected = learners.learner_sharding(3, devices=devices)
    assert result.sharding.is_equivalent_to(expected, 1)


def test_replicate_and_average_undo_each_other():
    tree = {"x": jnp.asarray([1.1, 2.3], jnp.bfloat16), "y": np.float32(0.7), "key": None}
    spread = learners.replicate(tree, 3)
    assert spread["x"].shape == (3, 2)
    assert spread["y"].shape == (3,)
    mean = learners.average(spread)
    assert mean["x"].dtype == jnp.bfloat16
    assert mean["y"].dtype == jnp.float32
    np.testing.assert_array_equal(mean["x"], tree["x"])
    np.testing.assert_allclose(mean["y"], 0.7, rtol=1e-6)
    keys = learners.replicate(jax.random.key(3), 2)
    assert keys[1] == jax.random.key(3)


def test_average_accumulates_in_float32():
    x = jnp.asarray([256.0] + [1.0] * 255, jnp.bfloat16)  # A bfloat16 sum would stay at 256.
    expected = jnp.asarray(511.0 / 256.0, jnp.bfloat16)
    np.testing.assert_array_equal(learners.average(x), expected)


def test_average_takes_learners_from_devices():
    run = learners.spread(lambda x: x + 1.0, 4, engine="shard_map")
    np.testing.assert_array_equal(learners.average(run(jnp.arange(4.0))), 2.5)


@pytest.mark.parametrize(("number", "spreads"), [(1, False), (2, True), (9, False)])
def test_auto_takes_devices_where_there_are_enough(number, spreads):
    run = learners.spread(lambda x: x + 1, number, engine="auto")
    result = run(jnp.zeros(number))
    assert len(result.sharding.device_set) == (number if spreads else 1)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r'`engine` must be "auto", "vmap", .* got .mpi'):
        learners.spread(shift, 3, engine="mpi")
    with pytest.raises(ValueError, match="`devices` must be None"):
        learners.spread(shift, 3, devices=jax.devices())
    with pytest.raises(TypeError, match="`params` must hold floating-point arrays, got int32"):
        learners.average({"step": jnp.arange(3)})


@pytest.mark.parametrize("engine", DEVICE_ENGINES)
def test_too_few_devices_name_the_remedy(engine):
    remedy = r'9 learners on 8.*engine="vmap".*"jax_num_cpu_devices", 9\)'
    with pytest.raises(ValueError, match=remedy):
        learners.spread(shift, 9, engine=engine)


@pytest.mark.parametrize("num_learners", [0, -1])
@pytest.mark.parametrize("engine", ENGINES)
def test_learners_are_at_least_one(engine, num_learners):
    with pytest.raises(ValueError, match=f"`num_learners` must be at least 1, got {num_learners}"):
        learners.spread(shift, num_learners, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(4, 2), ()])
def test_leaves_without_the_axis_of_learners_are_named(engine, shape):
    run = learners.spread(lambda x, tree: x + tree["w"], 3, engine=engine)
    with pytest.raises(ValueError, match=r"leading axis of 3 learners .*\[1\]\['w'\]"):
        run(jnp.zeros((3, 2)), {"w": jnp.zeros(shape)})


def run_together(results, address, time_limit=120.0):
    """Runs a process for each result to its end; never leaves one behind."""
    logs = [result.with_suffix(".log") for result in results]
    processes = []
    try:
        for i, (result, log) in enumerate(zip(results, logs, strict=True)):
            place = address, str(len(results)), str(i)
            command = [sys.executable, str(PROCESSES), *place, str(result)]
            with log.open("w") as sink:
                processes.append(subprocess.Popen(command, stdout=sink, stderr=sink))
        end = time.monotonic() + time_limit
        while any(p.poll() is None for p in processes):
            if any(p.poll() for p in processes) or time.monotonic() > end:
                break
            time.sleep(0.05)
        codes = [p.poll() for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(code != 0 for code in codes):
        output = "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in logs)
        pytest.fail(f"The processes ended with {codes} (None: killed at the limit).\n{output}")


@pytest.mark.parametrize("num_processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_train_as_the_simulation_does(num_processes, tmp_path, free_address):
    results = [tmp_path / f"process_{i}.npz" for i in range(num_processes)]
    run_together(results, free_address())
    script = runpy.run_path(str(PROCESSES))
    simulated = learners.spread(script["train"], 4)(script["problem"]())
    for result, owned in zip(results, np.split(np.arange(4), num_processes), strict=True):
        with np.load(result) as trained:
            assert len(trained) == 2 * len(owned)
            for i in owned:
                np.testing.assert_array_equal(trained[f"gossip {i}"], simulated["gossip"][i])
                # Means of four numbers, whose order of summation is the engine's, over ten steps.
                np.testing.assert_allclose(
                    trained[f"compressed {i}"], simulated["compressed"][i], rtol=1e-5, atol=1e-6
                )
