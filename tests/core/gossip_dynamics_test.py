"""Linear dynamics of gossip against closed forms: stability, distance, mean, delay."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, topology

from .gossip_cases import CHANGING, ORDERS, assert_trees_equal


def awc_trajectory(step_size, start, num_steps):
    """Gradient descent on x^2 / 2 with AWC on the ring of 8, from start [8]."""
    optimizer = gossip.dpsgd(optax.sgd(step_size), topology.ring(8))

    def train(x):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(x, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        return jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)[1]

    return np.asarray(learners.spread(train, 8)(start))  # [8, num_steps]


@pytest.mark.parametrize(("step_size", "stable"), [(0.66, True), (0.68, False)])
def test_stability_limit_of_awc(step_size, stable, float64):
    """The fastest mode alternates around the ring and is multiplied by lambda_min - a h."""
    start = np.random.default_rng(0).standard_normal(8) + (-1.0) ** np.arange(8)
    path = awc_trajectory(step_size, start, 600)
    amplitude = ((-1.0) ** np.arange(8)) @ path / 8.0
    np.testing.assert_allclose(amplitude[1:] / amplitude[:-1], -1.0 / 3.0 - step_size, rtol=1e-10)
    assert (np.linalg.norm(path[:, -1]) < np.linalg.norm(start)) == stable


def stationary_modes(order, step_size):
    """Variances of the 7 consensus modes of the ring of 8, for curvature and noise of 1."""
    eigenvalues = np.linalg.eigvalsh(topology.ring(8).matrix())[:-1]
    if order == "awc":
        return step_size**2 / (1.0 - (eigenvalues - step_size) ** 2)
    contraction = eigenvalues**2 * (1.0 - step_size) ** 2
    return eigenvalues**2 * step_size**2 / (1.0 - contraction)


@pytest.mark.parametrize(("order", "rounded"), [("awc", 0.09934), ("atc", 0.02574)])
def test_stationary_consensus_distance(order, rounded):
    """Noise of variance 1 on the gradient of x^2 / 2 keeps the learners apart, ring of 8."""
    step_size, num_coordinates, num_steps, num_skipped = 0.3, 10_000, 60, 40
    optimizer = gossip.dpsgd(optax.sgd(step_size), topology.ring(8), order=order)

    def train(key):
        def step(carry, key):
            x, state = carry
            gradient = x + jax.random.normal(key, x.shape)
            updates, state = optimizer.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), gossip.consensus_distance(x)

        x = jnp.zeros(num_coordinates)
        keys = jax.random.split(key, num_steps)
        return jax.lax.scan(step, (x, optimizer.init(x)), keys)[1]

    distance = learners.spread(train, 8)(jax.random.split(jax.random.key(0), 8))
    np.testing.assert_array_equal(distance, np.broadcast_to(distance[:1], distance.shape))
    found = np.mean(distance[0, num_skipped:]) / num_coordinates

    modes = stationary_modes(order, step_size)
    expected = np.sum(modes) / 8.0
    assert expected == pytest.approx(rounded, abs=5e-6)
    # Modes are independent Gaussians, so a coordinate's distance has variance 2 sum(modes^2) / 64.
    # Five standard errors over the coordinates, crediting no average over time; the slowest mode
    # shrinks by 0.64 a step, so that 40 skipped steps leave nothing of the start.
    tolerance = 5.0 * np.sqrt(2.0 * np.sum(modes**2) / 64.0 / num_coordinates)
    assert abs(found - expected) < tolerance


@pytest.mark.parametrize("order", ORDERS)
def test_mean_iterate_is_that_of_synchronous_sgd(order, float64):
    """With one Hessian for all and the same additive noise, for every doubly stochastic matrix."""
    generator = np.random.default_rng(0)
    root = generator.standard_normal((6, 6))
    hessian = root @ root.T / 6.0
    noise = generator.standard_normal((31, 4, 6))  # Ends on a step that leaves disagreement.
    start = generator.standard_normal(6)
    optimizer = gossip.dpsgd(optax.sgd(0.05), CHANGING, order=order)

    @functools.partial(learners.spread, num_learners=4)
    def step(x, noise, state):
        updates, state = optimizer.update(jnp.asarray(hessian) @ x + noise, state, x)
        return optax.apply_updates(x, updates), state

    x = learners.replicate(start, 4)
    state = learners.replicate(optimizer.init(start), 4)
    synchronous = start
    for noise_now in noise:
        x, state = step(x, noise_now, state)
        synchronous = synchronous - 0.05 * (hessian @ synchronous + noise_now.mean(axis=0))
        np.testing.assert_allclose(learners.average(x), synchronous, rtol=1e-10, atol=1e-12)
    assert np.ptp(x, axis=0).min() > 1e-3  # The learners themselves differ.


def delayed_trajectory(form, engine="vmap", dtype=np.float64):
    """Weights [20, 4, 3] of 4 learners with curvatures of their own; and those of the oracle."""
    generator = np.random.default_rng(0)
    start = generator.standard_normal((4, 3)).astype(dtype)
    curvatures = generator.uniform(0.5, 1.5, (4, 3)).astype(dtype)
    optimizer = gossip.delay_by_one(optax.sgd(0.3), 4, form=form)

    def train(x, curvatures):
        def step(carry, _):
            x, state = carry
            gradient = curvatures * gossip.gradient_params(state, x)
            updates, state = optimizer.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        return jax.lax.scan(step, (x, optimizer.init(x)), length=20)[1]

    found = learners.spread(train, 4, engine=engine)(start, curvatures)
    path = [start, start]
    for _ in range(20):
        at = path[-1] if form == "A" else path[-2]
        path.append(path[-1].mean(axis=0) - 0.3 * curvatures * at)
    return np.swapaxes(found, 0, 1), path[2:]


@pytest.mark.parametrize("form", ["A", "B"])
def test_delay_by_one_is_the_mean_of_weights_and_a_local_update(form, float64):
    found, expected = delayed_trajectory(form)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.usefixtures("optimized_code")
def test_delay_by_one_has_the_same_bits_in_all_engines():
    simulated, _ = delayed_trajectory("B", dtype=np.float32)
    for engine in ("shard_map", "pmap"):
        found, _ = delayed_trajectory("B", engine, np.float32)
        np.testing.assert_array_equal(found, simulated)


def test_gradient_params_finds_the_delay_inside_other_transforms():
    params = {"x": jnp.arange(3.0)}
    delayed = gossip.delay_by_one(optax.adam(0.1), 1, form="B")
    nested = optax.chain(optax.clip(1.0), optax.apply_if_finite(delayed, 3))
    run = learners.spread(nested.update, 1)
    first = learners.replicate(params, 1)
    updates, state = run(first, learners.replicate(nested.init(params), 1), first)
    second = optax.apply_updates(first, updates)
    assert_trees_equal(gossip.gradient_params(state, second), first)
    for undelayed in (optax.adam(0.1), gossip.delay_by_one(optax.sgd(0.1), 1)):
        assert gossip.gradient_params(undelayed.init(params), params) is params
    single = gossip.delay_by_one(optax.sgd(0.1), 1, form="B", axis_name=None)
    assert gossip.gradient_params(single.init(params), params) is params
