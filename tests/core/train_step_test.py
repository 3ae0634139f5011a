"""The train step against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, sparsification, topology
from gossamer.core.train_step import init_state, staged, train_step


def quadratic(params, batch, key):
    """0.5 |x - target|^2, whose gradient is x - target."""
    del key
    return 0.5 * jnp.sum(jnp.square(params["x"] - batch)), {"first": params["x"][0]}


def test_single_learner_takes_an_sgd_step(key):
    optimizer = optax.sgd(0.1)
    state = init_state({"x": jnp.array([1.0, 2.0])}, optimizer, key)
    step = jax.jit(train_step(quadratic, optimizer))
    state, report = step(state, jnp.array([0.0, 4.0]))
    np.testing.assert_allclose(state.params["x"], [0.9, 2.2], rtol=1e-6)
    np.testing.assert_allclose(report["loss"], 2.5, rtol=1e-6)
    np.testing.assert_allclose(report["grad_norm"], np.sqrt(5.0), rtol=1e-6)
    assert report["finite"] == 1
    assert (int(state.step), int(state.skipped)) == (1, 0)


def test_learners_follow_the_dense_mixing_matrix(key):
    ring = topology.ring(4)
    optimizer = gossip.dpsgd(optax.sgd(0.1), ring)
    step = learners.spread(train_step(quadratic, optimizer, axis_name="learner"), 4)
    state = init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
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
        step = train_step(quadratic, optimizer, axis_name="learner", consensus_every=every)
        step = learners.spread(step, 4, engine=engine)
        state = init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
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

    run = learners.spread(train_step(loss, optimizer, axis_name="learner"), 4)
    state = init_state(jnp.asarray(start), optimizer, key, num_learners=4)
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
    step = train_step(loss, optimizer, axis_name="learner", statistics_decay=0.75, num_parts=1)
    step = learners.spread(step, 2)
    state = init_state(
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

    step = train_step(loss, optax.sgd(0.1), num_parts=2, statistics_decay=0.0)
    state = init_state(jnp.ones([]), optax.sgd(0.1), key, statistics=jnp.zeros([]))
    state, _ = jax.jit(step)(state, jnp.arange(4.0))
    assert float(state.statistics) == 1.5
    with pytest.raises(ValueError, match=r"`statistics_decay` must be in \[0, 1\), got 1"):
        train_step(loss, optax.sgd(0.1), statistics_decay=1.0)


def test_one_bad_learner_makes_all_skip_without_recompiling(key, assert_same_bits):
    optimizer = gossip.dpsgd(optax.adam(0.1), topology.ring(4))
    step = learners.spread(train_step(quadratic, optimizer, axis_name="learner"), 4)
    state = init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
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
    one = train_step(quadratic, optimizer, axis_name="learner")
    state = init_state({"x": jnp.ones(3)}, optimizer, key, num_learners=4)
    batch = jnp.arange(12.0).reshape(4, 3)
    results = []
    for chosen in ("vmap", engine):
        step = learners.spread(one, 4, engine=chosen)
        results.append(step(step(state, batch)[0], batch)[0])
    expected, got = (jax.tree.map(np.asarray, result._replace(key=0)) for result in results)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), expected, got)


@pytest.mark.parametrize("optimizer", [optax.adam(optax.cosine_onecycle_schedule(9, 0.1))])
def test_step_keeps_types_and_compiles_once(optimizer, key):
    state = init_state({"x": jnp.ones(2), "y": jnp.ones(2, jnp.bfloat16)}, optimizer, key)
    step = jax.jit(train_step(quadratic, optimizer))
    next_state, _ = step(state, jnp.zeros(2))
    step(next_state, jnp.zeros(2))
    assert step._cache_size() == 1
    assert jax.tree.map(lambda x: x.dtype, next_state) == jax.tree.map(lambda x: x.dtype, state)


def test_loss_receives_the_key_of_its_learner_and_step(key):
    def loss(params, batch, key):
        return jnp.sum(params["x"]), {"draw": jax.random.uniform(key)}

    optimizer = optax.sgd(0.0)
    step = jax.vmap(train_step(loss, optimizer), in_axes=(0, None))
    state = init_state({"x": jnp.ones(1)}, optimizer, key, num_learners=2)
    keys = jax.random.split(key, 2)
    for number in range(3):
        state, report = step(state, jnp.zeros(()))
        expected = [jax.random.uniform(jax.random.fold_in(k, number)) for k in keys]
        np.testing.assert_array_equal(report["draw"], np.stack(expected))


def test_old_style_key_is_refused():
    with pytest.raises(TypeError, match=r"`key` must be a typed random key.*jax.random.key"):
        init_state({}, optax.sgd(0.1), jax.random.PRNGKey(0))


def test_stages_hand_over_at_their_step(key):
    optimizer = optax.sgd(0.1)
    calls = []

    def named(name):
        step = jax.jit(train_step(lambda x, batch, key: (jnp.sum(x * batch), {}), optimizer))

        def call(state, batch):
            calls.append(name)
            return step(state, batch)

        return call

    step = staged(named("first"), 2, named("then"))
    state = init_state(jnp.ones(3), optimizer, key)
    for _ in range(4):
        state, _ = step(state, jnp.ones(3))
    assert calls == ["first", "first", "then", "then"]
    resumed = staged(named("first"), 2, named("then"))
    resumed(state, jnp.ones(3))
    assert calls[-1] == "then"


def test_options_reach_the_update_of_the_optimizer(key):
    optimizer = sparsification.scalecom(3.0)

    def loss(x, batch, key):
        return jnp.sum(x * batch), {}

    state = init_state(jnp.ones(6), optimizer, key, num_learners=2)
    for compress, count in ((False, 6), (True, 2)):
        step = train_step(loss, optimizer, axis_name="learner", compress=compress)
        moved, _ = learners.spread(step, 2)(state, jnp.ones((2, 6)))
        assert np.count_nonzero(moved.params[0] - 1.0) == count
