"""D2 and gradient tracking against their recursions, their invariants, and the exact optimum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import bias_correction, gossip, learners, topology, topology_algebra

N, STEP = 4, 0.1
LAZY = topology_algebra.lazy(topology.ring(N))
CHANGING = topology.one_peer_exponential(N)
METHODS = {
    "d2": functools.partial(bias_correction.d2, topology=LAZY),
    "gradient tracking": functools.partial(bias_correction.gradient_tracking, topology=CHANGING),
}

# Learner i has the loss h_i (x - b_i)^2 / 2 in each of three coordinates.
_generator = np.random.default_rng(0)
CURVATURES = _generator.uniform(0.5, 2.0, (N, 3))
CENTERS = _generator.standard_normal((N, 3))
OPTIMUM = (CURVATURES * CENTERS).sum(axis=0) / CURVATURES.sum(axis=0)


def gradient(x):
    return CURVATURES * (x - CENTERS)


def train(optimizer, num_steps, *, engine="vmap", dtype=np.float64):
    """The weights [num_learners, 3] after each step, and the last state."""

    def run(x, curvatures, centers):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(curvatures * (x - centers), state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        (_, state), path = jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)
        return path, state

    start = np.zeros((N, 3))
    arguments = [x.astype(dtype) for x in (start, CURVATURES, CENTERS)]
    path, state = learners.spread(run, N, engine=engine)(*arguments)
    return np.swapaxes(path, 0, 1), state


def test_d2_follows_its_two_step_recursion(float64):
    w = LAZY.matrix()
    path = [np.zeros((N, 3))]
    path.append(w @ (path[0] - STEP * gradient(path[0])))
    for _ in range(19):
        old, x = path[-2:]
        path.append(w @ (2.0 * x - old - STEP * gradient(x) + STEP * gradient(old)))
    found, _ = train(bias_correction.d2(optax.sgd(STEP), LAZY), 20)
    np.testing.assert_allclose(found, path[1:], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", ["awc", "atc"])
def test_gradient_tracking_follows_its_recursion(order, float64):
    x = np.zeros((N, 3))
    g = y = gradient(x)
    expected = []
    for step in range(20):
        w = CHANGING.matrix(step)
        x = w @ (x - STEP * y) if order == "atc" else w @ x - STEP * y
        expected.append(x)
        y, g = w @ y + gradient(x) - g, gradient(x)
    optimizer = bias_correction.gradient_tracking(optax.sgd(STEP), CHANGING, order=order)
    found, _ = train(optimizer, 20)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_tracked_gradients_have_the_mean_of_the_gradients(float64):
    link = bias_correction.track(CHANGING)
    gradients = _generator.standard_normal((N, 30, 3))

    def run(gradients):
        return jax.lax.scan(
            lambda state, g: link.update(g, state)[::-1], link.init(gradients[0]), gradients
        )[1]

    tracked = learners.spread(run, N)(gradients)
    np.testing.assert_allclose(tracked.mean(axis=0), gradients.mean(axis=0), rtol=0, atol=1e-13)
    assert np.abs(tracked - gradients)[:, 1:].min(axis=0).max() > 0.1


@pytest.mark.parametrize("name", METHODS)
def test_corrections_sum_to_zero(name):
    """In float32 a correction of size 2 is off by 2^-24 of that at most for each of 50 steps."""
    _, state = train(METHODS[name](optax.sgd(STEP)), 50, dtype=np.float32)
    (correction,) = [s.correction for s in state if hasattr(s, "correction")]
    assert np.abs(correction).max() > 0.01
    np.testing.assert_allclose(correction.mean(axis=0), np.zeros(3), atol=50 * 2.0 * 2.0**-24)


@pytest.mark.parametrize("inner", ["momentum", "schedule"])
@pytest.mark.parametrize("name", METHODS)
def test_reaches_the_optimum_at_a_constant_step(name, inner, float64):
    local = {
        "momentum": optax.sgd(STEP / 5.0, momentum=0.8),
        "schedule": optax.inject_hyperparams(optax.sgd)(
            optax.linear_schedule(STEP / 4.0, STEP, 100)
        ),
    }[inner]
    found, _ = train(METHODS[name](local), 1000)
    np.testing.assert_allclose(found[-1], np.broadcast_to(OPTIMUM, (N, 3)), rtol=0, atol=1e-10)


def test_dpsgd_does_not(float64):
    """It rests where W x - a g(x) = x: its learners apart, and their mean off the optimum."""
    found, _ = train(gossip.dpsgd(optax.sgd(STEP), LAZY), 1000)
    pulls = LAZY.matrix() - np.eye(N)
    for k in range(3):
        system = pulls - STEP * np.diag(CURVATURES[:, k])
        rest = np.linalg.solve(system, -STEP * CURVATURES[:, k] * CENTERS[:, k])
        np.testing.assert_allclose(found[-1, :, k], rest, rtol=0, atol=1e-10)
    assert np.abs(found[-1].mean(axis=0) - OPTIMUM).max() > 3e-3
    assert np.ptp(found[-1], axis=0).max() > 3e-2


def test_momentum_tracking_reaches_the_optimum(float64):
    optimizer = optax.chain(
        optax.trace(0.8),
        bias_correction.track(CHANGING),
        optax.scale_by_learning_rate(STEP / 5.0),
        gossip.mix(CHANGING, order="atc"),
    )
    found, _ = train(optimizer, 1000)
    np.testing.assert_allclose(found[-1], np.broadcast_to(OPTIMUM, (N, 3)), rtol=0, atol=1e-10)


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("inner", ["momentum", "adam"])
def test_same_bits_in_all_engines(name, inner, assert_engines_agree):
    local = {"momentum": optax.sgd(0.03, momentum=0.9), "adam": optax.adam(0.03)}[inner]
    optimizer = METHODS[name](local)
    expected = train(optimizer, 20, dtype=np.float32)
    for engine in ("shard_map", "pmap"):
        found = train(optimizer, 20, engine=engine, dtype=np.float32)
        assert_engines_agree(found, expected, inner=inner)


@pytest.mark.parametrize("name", METHODS)
def test_keeps_dtypes_compiles_once_and_accepts_shapes(name):
    optimizer = METHODS[name](optax.sgd(STEP))
    traces = []

    def update(x, state):
        traces.append(name)
        updates, state = optimizer.update(x, state, x)
        return optax.apply_updates(x, updates), state

    x = jnp.ones((N, 3), jnp.bfloat16)
    shape = jax.ShapeDtypeStruct((3,), jnp.bfloat16)
    run = learners.spread(update, N)
    state = learners.replicate(optimizer.init(x[0]), N)
    new, new_state = run(*run(x, state))
    assert len(traces) == 1
    assert new.dtype == jnp.bfloat16
    assert jax.tree.map(jnp.shape, new_state) == jax.tree.map(jnp.shape, state)
    assert jax.tree.map(jnp.result_type, new_state) == jax.tree.map(jnp.result_type, state)
    assert jax.eval_shape(optimizer.init, shape) == jax.eval_shape(optimizer.init, x[0])


@pytest.mark.parametrize("name", METHODS)
def test_without_an_axis_it_is_the_inner_optimizer(name):
    optimizer = METHODS[name](optax.sgd(0.1), axis_name=None)
    x = jnp.arange(3.0)
    updates, _ = optimizer.update(x, optimizer.init(x), x)
    np.testing.assert_allclose(updates, [0.0, -0.1, -0.2], rtol=1e-6)


def test_d2_refuses_what_it_diverges_on():
    inner = optax.sgd(STEP)
    with pytest.raises(ValueError, match=r"lambda_min > -1/3, got -0.333333; give .*lazy"):
        bias_correction.d2(inner, topology.ring(8))
    with pytest.raises(ValueError, match="must be static, got one of period 2"):
        bias_correction.d2(inner, CHANGING)
    with pytest.raises(ValueError, match="symmetric"):
        bias_correction.d2(inner, topology.exponential(6))
    optimizer = bias_correction.d2(inner, LAZY)
    with pytest.raises(ValueError, match="`params` must be given"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)))
