"""Replay against hand-worked numbers, a history kept in numpy, and the SPMD update of gossip."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import (
    asynchrony,
    event_scan,
    gossip,
    learners,
    schemes,
    stragglers,
    topology,
    traces,
)
from gossamer.core.asynchrony import replay, simulate
from gossamer.core.schemes import Pairwise, Ring, Synchronous
from gossamer.core.stragglers import Link, Pace, equal
from gossamer.core.traces import ALL, Read, Recorder

TARGETS = np.random.default_rng(0).standard_normal((4, 5, 3))  # [learner, batch, dim]
START = np.random.default_rng(1).standard_normal((4, 3))
KEY = 0
SCHEMES = {
    "pairwise": Pairwise(topology.ring(4)),
    "fixed ring": Ring(),
    "randomized ring": Ring(randomized=True),
    "d-psgd": Synchronous(topology.ring(4)),
    "all-reduce": Synchronous(topology.complete(4), "atc"),
    "delay by one, A": schemes.delay_by_one(4, "A"),
    "delay by one, B": schemes.delay_by_one(4, "B"),
}


def pull_to_target(params, target, key):
    """Gradient of |x - target|^2 / 2."""
    del key
    return jax.tree.map(lambda x: x - target, params)


def nothing(params, batch, key):
    del batch, key
    return optax.tree.zeros_like(params)


def failing_trace(scheme):
    paces = list(stragglers.straggler(4, 3.0, variation=0.2))
    paces[2] = Pace(1.0, 0.2, failures=[(4.0, 6.0)])
    return simulate(SCHEMES[scheme], paces, horizon=12.0, link=Link(0.1))


def replay_in_numpy(trace, start, step_size):
    """Keeps all versions of the weights and looks up those that a gradient was taken at."""
    versions, read, steps = [start], np.zeros(len(start), int), np.zeros(len(start), int)
    for event in range(len(trace.time)):
        x = versions[-1].copy()
        learner = trace.learner[event]
        if trace.pulls[event] >= 0:
            x[learner] = x[trace.pulls[event]]
        x = trace.matrix(event) @ x
        who = range(len(start)) if learner == ALL else [learner]
        for i in who if trace.applies[event] else ():
            gradient = versions[read[i]][i] - TARGETS[i, steps[i] % TARGETS.shape[1]]
            x[i] -= step_size * gradient
            steps[i] += 1
        versions.append(x)
        if trace.reads[event]:
            read[list(who)] = event + (1 if trace.reads[event] == Read.AFTER else 0)
    return np.array(versions[1:]), steps


def test_a_trace_worked_out_by_hand():
    record = Recorder(2, 2)
    halves = np.full((2, 2), 0.5)
    record.add(1.0, 0, members=(0, 1), matrix=halves, applies=True, reads=Read.AFTER)
    record.add(2.0, 1, applies=True, reads=Read.AFTER)
    record.add(3.0, 0, applies=True, reads=Read.AFTER)
    record.add(4.0, 1, pulls=0, reads=Read.AFTER)

    def gradient(params, batch, key):
        return params

    start = jnp.array([[8.0], [0.0]])
    state, path = asynchrony.replay(
        record.trace(), gradient, optax.sgd(0.5), start, jax.random.key(KEY), observe=lambda x: x
    )
    # Averages 4, 4, then -8 / 2 at the snapshot 8; -0 / 2; -0 / 2; a copy.
    np.testing.assert_array_equal(path[..., 0], [[0, 4], [0, 4], [0, 4], [0, 0]])
    np.testing.assert_array_equal(state.steps, [2, 1])
    np.testing.assert_array_equal(state.snapshots, [[0.0], [0.0]])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_follows_a_history_of_all_weights(scheme, float64):
    trace = failing_trace(scheme)
    state, path = asynchrony.replay(
        trace,
        pull_to_target,
        optax.sgd(0.1),
        START,
        jax.random.key(KEY),
        batches=TARGETS,
        observe=lambda x: x,
    )
    expected, steps = replay_in_numpy(trace, START, 0.1)
    np.testing.assert_allclose(path, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(state.params, path[-1])
    np.testing.assert_array_equal(state.steps, steps)
    assert trace.applies.sum() >= 3


@pytest.mark.parametrize("order", ["awc", "atc"])
def test_synchronous_trace_is_dpsgd(order):
    """With momentum, whose state each learner keeps."""
    inner = optax.sgd(0.1, momentum=0.9)
    optimizer = gossip.dpsgd(inner, topology.ring(4), order=order)
    start, targets = START.astype(np.float32), TARGETS.astype(np.float32)

    def train(x, targets):
        def step(carry, k):
            x, state = carry
            gradients = pull_to_target(x, targets[k % 5], None)
            updates, state = optimizer.update(gradients, state, x)
            return (optax.apply_updates(x, updates), state), None

        return jax.lax.scan(step, (x, optimizer.init(x)), jnp.arange(12))[0][0]

    trace = simulate(Synchronous(topology.ring(4), order), stragglers.equal(4), horizon=12.0)
    state, _ = asynchrony.replay(
        trace, pull_to_target, inner, start, jax.random.key(KEY), batches=targets
    )
    # Twelve steps, each off by a few units of 2^-24, on numbers up to 4.
    np.testing.assert_allclose(
        state.params, learners.spread(train, 4)(start, targets), rtol=1e-6, atol=5e-6
    )


@pytest.mark.parametrize("scheme", ["pairwise", "fixed ring", "randomized ring", "d-psgd"])
def test_mixing_conserves_the_sum_of_weights(scheme, float64):
    paces = stragglers.equal(4, variation=0.2)
    trace = simulate(SCHEMES[scheme], paces, horizon=40.0, link=Link(1.0))
    state, _ = asynchrony.replay(trace, nothing, optax.sgd(1.0), START, jax.random.key(KEY))
    np.testing.assert_allclose(state.params.sum(axis=0), START.sum(axis=0), rtol=1e-10, atol=1e-13)
    assert np.ptp(state.params, axis=0).max() < 1e-3  # and the learners agree in the end


def test_gradients_depend_on_learner_and_step_but_not_on_the_order():
    def noise(params, batch, key):
        return jax.random.normal(key, params.shape)

    trace = failing_trace("pairwise")
    alone = trace._replace(mixing=np.zeros_like(trace.mixing), pulls=np.full_like(trace.pulls, -1))
    key = jax.random.key(KEY)
    state, _ = asynchrony.replay(alone, noise, optax.sgd(1.0), jnp.zeros((4, 3)), key)
    for i in range(4):
        keys = [event_scan.sample(None, key, i, k)[1] for k in range(state.steps[i])]
        total = sum(np.asarray(jax.random.normal(k, (3,))) for k in keys)
        np.testing.assert_allclose(state.params[i], -total, rtol=1e-5, atol=1e-5)


def test_learners_that_agree_stay_exactly_and_dtypes_are_kept():
    trace = failing_trace("fixed ring")
    for dtype in (jnp.float32, jnp.bfloat16):
        start = learners.replicate(jnp.asarray(1.1 ** np.arange(50), dtype), 4)
        state, _ = asynchrony.replay(trace, nothing, optax.sgd(0.1), start, jax.random.key(KEY))
        assert state.params.dtype == dtype
        np.testing.assert_array_equal(state.params, start)


def test_compiles_once_and_is_differentiable():
    calls = []

    def gradient(params, target, key):
        calls.append(None)
        return pull_to_target(params, target, key)

    trace, optimizer, key = failing_trace("pairwise"), optax.sgd(0.1), jax.random.key(KEY)

    def final(start):
        state, _ = asynchrony.replay(trace, gradient, optimizer, start, key, batches=TARGETS)
        return state.params

    first = final(jnp.asarray(START))
    num_calls = len(calls)
    moved = final(jnp.asarray(START + 1.0))
    assert len(calls) == num_calls
    # The run is linear in its start: shifting each learner by one adds the derivative along ones.
    tangent = jax.jvp(final, (jnp.asarray(START),), (jnp.ones((4, 3)),))[1]
    np.testing.assert_allclose(tangent, moved - first, rtol=1e-4, atol=1e-5)


def test_bad_arguments_are_refused():
    pair = stragglers.equal(2)
    scheme = Pairwise(topology.ring(2))
    with pytest.raises(ValueError, match="`paces` must hold at least one"):
        simulate(scheme, [], horizon=1.0)
    with pytest.raises(ValueError, match="`horizon` must be at least 0 and finite"):
        simulate(scheme, pair, horizon=np.inf)
    with pytest.raises(ValueError, match="`num_bytes` must be at least 0"):
        simulate(scheme, pair, horizon=1.0, num_bytes=-1.0)
    trace = simulate(scheme, pair, horizon=1.0)
    with pytest.raises(ValueError, match=r"leading axis of 2 learners .* got shape \(4, 3\)"):
        asynchrony.replay(trace, nothing, optax.sgd(0.1), START, jax.random.key(KEY))


def test_progress_is_told_to_an_optimizer_that_asks_for_it():
    """Rounds count n updates, as events of single learners do."""

    def counting(updates, state, params=None, *, progress, **extra):
        return jax.tree.map(lambda x: jnp.full_like(x, progress), updates), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), counting)
    trace = simulate(Synchronous(topology.ring(3), "atc"), equal(3), horizon=2.5)
    state, _ = replay(trace, nothing, optimizer, jnp.zeros((3, 1)), jax.random.key(0))
    np.testing.assert_array_equal(state.params, np.full((3, 1), 0.0 + 3.0))
    np.testing.assert_array_equal(traces.progress(trace)[trace.applies], [0, 3])


@pytest.mark.parametrize("scheme", [Pairwise(topology.ring(3)), Synchronous(topology.ring(3))])
def test_batches_by_a_function_are_those_of_an_array(scheme):
    trace = simulate(scheme, equal(3), horizon=4.5)
    batches = np.random.default_rng(0).standard_normal((3, 2, 5)).astype(np.float32)
    arguments = trace, lambda params, batch, key: params - batch, optax.sgd(0.1)
    start, key = jnp.zeros((3, 5)), jax.random.key(0)
    expected, path = replay(*arguments, start, key, batches=batches, observe=jnp.sum)
    found, other_path = replay(
        *arguments, start, key, batches=lambda i, k: batches[i, k % 2], observe=jnp.sum
    )
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(other_path, path, rtol=1e-5, atol=1e-5)
