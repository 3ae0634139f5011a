"""Gossip as a transform: steps against the dense mixing matrix, dtypes, composition, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, topology

from .gossip_cases import (
    CHANGING,
    ENGINES,
    ORDERS,
    SHAPES,
    assert_trees_equal,
    mix_densely,
    one_update,
    random_tree,
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("graph", [topology.ring(4), CHANGING], ids=["ring", "changing"])
def test_follows_the_dense_matrix_step_by_step(graph, order, float64):
    transform = gossip.mix(graph, order=order)
    run = learners.spread(one_update(transform), 4)
    x = random_tree(0, 4, np.float64)
    expected = x
    state = learners.replicate(transform.init(x), 4)
    for step in range(2 * graph.period + 1):
        u = random_tree(step + 1, 4, np.float64)
        w = graph.matrix(step)
        if order == "awc":
            mixed = mix_densely(w, expected)
            expected = {k: mixed[k] + u[k] for k in u}
        else:
            expected = mix_densely(w, {k: expected[k] + u[k] for k in u})
        x, state = run(x, u, state)
        for name in expected:
            np.testing.assert_allclose(x[name], expected[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "graph", [topology.ring(3), topology.complete(3)], ids=["ring", "complete"]
)
def test_learners_that_agree_stay_exactly(graph):
    tree = learners.replicate({"x": np.float32(1.1) ** np.arange(50, dtype=np.float32)}, 3)
    transform = gossip.mix(graph)
    state = learners.replicate(transform.init(tree), 3)
    zeros = optax.tree.zeros_like(tree)
    mixed, _ = learners.spread(one_update(transform), 3)(tree, zeros, state)
    assert_trees_equal(mixed, tree)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_dtypes(dtype, order):
    transform = gossip.mix(topology.ring(4), order=order)
    params, updates = random_tree(0, 4, dtype), random_tree(1, 4, dtype)

    def update(params, updates):
        updates, _ = transform.update(updates, transform.init(params), params)
        return updates, optax.apply_updates(params, updates)

    updates_out, mixed = learners.spread(update, 4)(params, updates)
    assert {x.dtype for x in jax.tree.leaves((updates_out, mixed))} == {jnp.dtype(dtype)}
    exact = [params, updates] if order == "awc" else [{k: params[k] + updates[k] for k in params}]
    expected = mix_densely(topology.ring(4).matrix(), exact[0])
    for name in mixed:
        total = expected[name] + (updates[name].astype(np.float64) if order == "awc" else 0.0)
        # Half an ulp each for x + u, for the update and for the result, of numbers below 8.
        tolerance = 1.5 * 8.0 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(
            np.asarray(mixed[name]).astype(np.float64), total, rtol=0, atol=tolerance
        )


def test_composes_with_schedules_and_injected_hyperparameters():
    @functools.partial(optax.inject_hyperparams, static_args=("graph",))
    def optimizer_for(learning_rate, graph):
        return gossip.dpsgd(optax.sgd(learning_rate), graph)

    schedule = optax.linear_schedule(0.5, 0.0, 4)
    optimizer = optimizer_for(schedule, graph=topology.ring(4))
    masked = optax.chain(
        optax.clip_by_global_norm(1e6),
        optax.scale_by_learning_rate(schedule),
        optax.masked(gossip.mix(topology.ring(4)), {k: k != "bias" for k in SHAPES}),
    )

    def train(optimizer):
        def run(params, gradients):
            state = optimizer.init(params)
            for _ in range(3):
                updates, state = optimizer.update(gradients, state, params)
                params = optax.apply_updates(params, updates)
            return params

        return learners.spread(run, 4)(random_tree(0, 4), random_tree(1, 4))

    w = topology.ring(4).matrix()
    expected, unmixed = random_tree(0, 4), random_tree(0, 4)["bias"]
    gradients = random_tree(1, 4)
    for step in range(3):
        rate = 0.5 * (1.0 - step / 4.0)
        expected = {k: x - rate * gradients[k] for k, x in mix_densely(w, expected).items()}
        unmixed = unmixed - rate * gradients["bias"]
    found, found_masked = train(optimizer), train(masked)
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=2e-6)
        masked_expected = unmixed if name == "bias" else expected[name]
        np.testing.assert_allclose(found_masked[name], masked_expected, rtol=1e-5, atol=2e-6)


def test_init_accepts_shapes():
    optimizer = gossip.dpsgd(optax.adam(1e-3), topology.ring(4))
    params = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
    state = jax.eval_shape(optimizer.init, params)
    assert state[-1].step.shape == ()
    assert state[-1].step.dtype == jnp.int32
    assert gossip.mix(topology.ring(4)).init(params).step == 0


def test_without_an_axis_it_is_the_identity():
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(8), axis_name=None)
    params = {"x": jnp.arange(3.0)}
    updates, state = optimizer.update(params, optimizer.init(params), params, value=0.0)
    np.testing.assert_allclose(updates["x"], [0.0, -0.1, -0.2], rtol=1e-6)
    assert state[-1].step == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_consensus_distance(engine):
    tree = random_tree(0, 4)
    found = learners.spread(gossip.consensus_distance, 4, engine=engine)(tree)
    expected = sum(
        np.sum(np.square(x - x.mean(axis=0, keepdims=True))) / 4.0 for x in tree.values()
    )
    np.testing.assert_allclose(found, np.full(4, expected), rtol=1e-6)


def test_consensus_distance_of_low_precision_sums_in_float32():
    tree = {"x": jnp.asarray([[0.0] * 4000, [2.0] * 4000], jnp.bfloat16)}
    found = learners.spread(gossip.consensus_distance, 2)(tree)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [4000.0, 4000.0])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='`order` must be "awc" or "atc", got \'ring\''):
        gossip.mix(topology.ring(4), order="ring")
    with pytest.raises(ValueError, match='`form` must be "A" or "B", got \'C\''):
        gossip.delay_by_one(optax.sgd(0.1), 4, form="C")
    transform = gossip.mix(topology.ring(8))
    tree = {"x": jnp.zeros((4, 2))}
    state = learners.replicate(transform.init(tree), 4)
    with pytest.raises(
        ValueError, match=r"`topology` must have one learner .* 8 learners .* size 4"
    ):
        learners.spread(one_update(transform), 4)(tree, tree, state)
    with pytest.raises(ValueError, match="`params` must be given"):
        transform.update(tree, transform.init(tree))


@pytest.mark.parametrize("engine", ENGINES)
def test_all_reduce_is_sgd_on_the_mean_gradient(engine):
    optimizer = optax.chain(gossip.all_reduce(), optax.sgd(0.5, momentum=0.9))
    alone = optax.sgd(0.5, momentum=0.9)
    weights, expected = jnp.zeros((4, 3)), jnp.zeros(3)
    states, state = learners.replicate(optimizer.init(expected), 4), alone.init(expected)
    update = learners.spread(optimizer.update, 4, engine=engine)
    for step in range(3):
        gradients = jax.random.normal(jax.random.key(step), (4, 3))
        updates, states = update(gradients, states, weights)
        weights = optax.apply_updates(weights, updates)
        updates, state = alone.update(jnp.mean(gradients, axis=0), state, expected)
        expected = optax.apply_updates(expected, updates)
    np.testing.assert_array_equal(weights, jnp.broadcast_to(weights[0], (4, 3)))
    np.testing.assert_allclose(weights[0], expected, rtol=1e-6)


def test_a_single_learner_reduces_nothing():
    gradients = jnp.arange(3.0)
    link = gossip.all_reduce(axis_name=None)
    updates, _ = link.update(gradients, link.init(gradients))
    np.testing.assert_array_equal(updates, gradients)
