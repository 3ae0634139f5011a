"""Local steps against the same loops written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, local_steps, topology

N, RATE = 4, 0.1
_generator = np.random.default_rng(0)
CURVATURES = _generator.uniform(0.5, 2.0, (N, 3))
CENTERS = _generator.standard_normal((N, 3))
NESTEROV = optax.sgd(0.7, momentum=0.9, nesterov=True)


def outer(graph, local=NESTEROV):
    return local_steps.outer_step(
        optax.sgd(RATE), gossip.dpsgd(local, graph, order="atc"), num_steps=3
    )


def optimizer_for(name):
    if name == "every":
        graph = topology.one_peer_exponential(N)
        link = local_steps.every(gossip.mix(graph, order="atc"), 3)
        return optax.chain(optax.sgd(RATE), link)
    return outer(topology.ring(N))


def gradient(x):
    return CURVATURES * (x - CENTERS)


def train(optimizer, num_steps, engine="vmap", dtype=np.float64):
    """The weights [num_steps, num_learners, 3] after each step."""

    def run(x, curvatures, centers):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(curvatures * (x - centers), state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        return jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)[1]

    arguments = [x.astype(dtype) for x in (np.zeros((N, 3)), CURVATURES, CENTERS)]
    return np.swapaxes(learners.spread(run, N, engine=engine)(*arguments), 0, 1)


def test_every_mixes_on_each_third_step_with_the_next_matrix(float64):
    graph = topology.one_peer_exponential(N)
    x, expected = np.zeros((N, 3)), []
    for step in range(14):
        x = x - RATE * gradient(x)
        if step % 3 == 2:
            x = graph.matrix(step // 3) @ x
        expected.append(x)
    np.testing.assert_allclose(train(optimizer_for("every"), 14), expected, rtol=1e-10, atol=1e-13)


def test_outer_steps_on_the_complete_graph_are_diloco(float64):
    """Nesterov momentum on the mean way, with one momentum and one anchor for all learners."""
    anchor, momentum = np.zeros(3), np.zeros(3)
    x, expected = np.zeros((N, 3)), []
    for step in range(14):
        x = x - RATE * gradient(x)
        if step % 3 == 2:
            way = (anchor - x).mean(axis=0)
            momentum = way + 0.9 * momentum
            anchor = anchor - 0.7 * (way + 0.9 * momentum)
            x = np.tile(anchor, (N, 1))
        expected.append(x)
    found = train(outer(topology.complete(N)), 14)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_an_outer_step_of_one_is_mixing_on_each_third_step(float64):
    graph = topology.one_peer_exponential(N)
    found = train(outer(graph, optax.sgd(1.0)), 14)
    np.testing.assert_allclose(found, train(optimizer_for("every"), 14), rtol=1e-10, atol=1e-13)


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("name", ["every", "outer"])
def test_same_bits_in_all_engines(name):
    optimizer = optimizer_for(name)
    expected = train(optimizer, 14, dtype=np.float32)
    for engine in ("shard_map", "pmap"):
        found = train(optimizer, 14, engine, np.float32)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("engine", ["vmap", "shard_map"])
@pytest.mark.parametrize("name", ["every", "outer"])
def test_only_one_branch_communicates(name, engine):
    """The conditional survives simulation, where a choice by learner would compute both sides."""
    optimizer = optimizer_for(name)

    def update(x, state):
        return optimizer.update(x, state, x)

    x = np.ones((N, 3), np.float32)
    state = learners.replicate(optimizer.init(x[0]), N)
    text = learners.spread(update, N, engine=engine).lower(x, state).as_text()
    before, _, after = text.partition('"stablehlo.case"')
    assert after
    if engine == "shard_map":
        assert "collective_permute" not in before
        assert "collective_permute" in after


@pytest.mark.parametrize("name", ["every", "outer"])
def test_keeps_dtypes_compiles_once_and_accepts_shapes(name):
    optimizer = optimizer_for(name)
    traces = []

    def update(x, state):
        traces.append(name)
        updates, state = optimizer.update(x, state, x)
        return optax.apply_updates(x, updates), state

    x = jnp.ones((N, 3), jnp.bfloat16)
    state = learners.replicate(optimizer.init(x[0]), N)
    run = learners.spread(update, N)
    new, new_state = x, state
    for _ in range(4):
        new, new_state = run(new, new_state)
    assert len(traces) == 1
    assert new.dtype == jnp.bfloat16
    assert jax.tree.map(jnp.result_type, new_state) == jax.tree.map(jnp.result_type, state)
    shape = jax.ShapeDtypeStruct((3,), jnp.bfloat16)
    assert jax.eval_shape(optimizer.init, shape) == jax.eval_shape(optimizer.init, x[0])


def test_a_single_learner_takes_outer_steps_too():
    """Lookahead: half the way back after every second step."""
    optimizer = local_steps.outer_step(optax.sgd(0.5), optax.sgd(0.5), 2, axis_name=None)
    x = jnp.ones(3)
    state = optimizer.init(x)
    for expected in (0.5, 0.625, 0.3125):
        updates, state = optimizer.update(x, state, x)
        x = optax.apply_updates(x, updates)
        np.testing.assert_allclose(x, np.full(3, expected), rtol=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`num_steps` must be at least 1, got 0"):
        local_steps.every(gossip.mix(topology.ring(N)), 0)
    with pytest.raises(ValueError, match="`num_steps` must be at least 1, got 0"):
        local_steps.outer_step(optax.sgd(0.1), optax.sgd(1.0), 0)
    optimizer = outer(topology.ring(N))
    with pytest.raises(ValueError, match="`params` must be given"):
        optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)))
