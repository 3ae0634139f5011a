"""Gossip in every engine and over every graph against the dense mixing matrix; its messages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, topology, topology_algebra

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

FAMILIES = {"ring": topology.ring, "complete": topology.complete}
GRAPHS = {
    "torus": topology.torus(2, 4),
    "hypercube": topology.hypercube(8),
    "star": topology.star(8),
    "exponential": topology.exponential(8),
    "one-peer exponential": topology.one_peer_exponential(8),
    "random ring": topology.random_ring(8, seed=0, period=3),
    "random matching": topology.random_matching(7, seed=0, period=3),
    "base graph": topology.base_graph(7),
    "hierarchical": topology.hierarchical(topology.ring(4), learners_per_node=2),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_battery(family, n, engine):
    transform = gossip.mix(FAMILIES[family](n))
    traces = []

    def counted(params, updates, state):
        traces.append(n)
        return one_update(transform)(params, updates, state)

    params, updates = random_tree(0, n), random_tree(1, n)
    state = learners.replicate(transform.init(params), n)
    arguments = params, updates, state
    if engine != "vmap":
        arguments = jax.device_put(arguments, learners.learner_sharding(n))
    run = learners.spread(counted, n, engine=engine)
    mixed, state = run(*arguments)
    again, state = run(mixed, arguments[1], state)

    w = FAMILIES[family](n).matrix()
    for name, expected in mix_densely(w, params).items():
        # One product and n + 1 sums of numbers of size 4, each off by half a unit of 2^-23.
        np.testing.assert_allclose(mixed[name], expected + updates[name], rtol=1e-6, atol=2e-6)
    simulate = learners.spread(one_update(transform), n)
    assert_trees_equal(
        mixed, simulate(*arguments[:2], learners.replicate(transform.init({}), n))[0]
    )
    assert len(traces) == 1
    np.testing.assert_array_equal(state.step, np.full(n, 2, np.int32))
    if engine != "vmap":
        for leaf in jax.tree.leaves((mixed, again, state)):
            assert leaf.sharding.is_equivalent_to(learners.learner_sharding(n), leaf.ndim)


@pytest.mark.parametrize(
    ("family", "inner", "order"),
    [
        ("ring", "momentum", "awc"),
        ("ring", "momentum", "atc"),
        ("ring", "adam", "awc"),
        ("ring", "adam", "atc"),
        ("complete", "momentum", "atc"),
    ],
)
def test_fifty_steps_agree_bit_for_bit_in_all_engines(family, inner, order, assert_engines_agree):
    local = {"momentum": optax.sgd(0.05, momentum=0.9), "adam": optax.adam(0.03)}[inner]
    optimizer = gossip.dpsgd(local, FAMILIES[family](8), order=order)

    def train(params, targets):
        def loss(x):
            return sum(jnp.sum(jnp.square(x[k] - targets[k])) for k in x)

        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=50)[0]

    arguments = random_tree(0, 8), random_tree(1, 8)
    simulated = learners.spread(train, 8)(*arguments)
    for engine in ("shard_map", "pmap"):
        found = learners.spread(train, 8, engine=engine)(*arguments)
        assert_engines_agree(found, simulated, inner=inner)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_mixes_as_its_matrix_and_alike_in_two_engines(name):
    graph = GRAPHS[name]
    transform = gossip.mix(graph)
    x = np.random.default_rng(0).standard_normal((graph.num_learners, 50)).astype(np.float32)

    def mix_for_a_period(x):
        def step(carry, _):
            x, state = carry
            x, state = one_update(transform)(x, jnp.zeros_like(x), state)
            return (x, state), x

        return jax.lax.scan(step, (x, transform.init(x)), length=graph.period + 1)[1]

    simulated = np.asarray(learners.spread(mix_for_a_period, graph.num_learners)(x))
    spread = learners.spread(mix_for_a_period, graph.num_learners, engine="shard_map")
    assert_trees_equal(spread(x), simulated)
    for step in range(graph.period + 1):
        # Each step from the float32 numbers before it, so that roundings do not add up: one for
        # each of at most 8 messages and sums, of numbers below 4.
        expected = graph.matrix(step) @ x.astype(np.float64)
        np.testing.assert_allclose(simulated[:, step], expected, rtol=0, atol=16 * 2.0**-22)
        x = simulated[:, step]


def test_changing_topology_agrees_bit_for_bit_in_all_engines():
    transform = gossip.mix(CHANGING, order="atc")
    updates = random_tree(1, 4)["matrix"]
    results = []
    for engine in ENGINES:
        run = learners.spread(one_update(transform), 4, engine=engine)
        params = random_tree(0, 4)["matrix"]
        state = learners.replicate(transform.init(params), 4)
        if engine != "vmap":
            arguments = params, updates, state
            params, updates, state = jax.device_put(arguments, learners.learner_sharding(4))
        for _ in range(4):
            params, state = run(params, updates, state)
        results.append(params)
    assert_trees_equal(results[1], results[0])
    assert_trees_equal(results[2], results[0])


def test_changing_topology_runs_one_branch_under_vmap():
    transform = gossip.mix(CHANGING)
    tree = random_tree(0, 4)
    state = learners.replicate(transform.init(tree), 4)
    text = str(jax.make_jaxpr(learners.spread(one_update(transform), 4))(tree, tree, state))
    assert "cond[" in text


@pytest.mark.parametrize("graph", [topology.ring(4), CHANGING], ids=["ring", "changing"])
def test_runs_in_a_shard_map_of_the_users_own_with_type_checks(graph):
    transform = gossip.mix(graph)
    tree = random_tree(0, 4)
    sharding = learners.learner_sharding(4)

    @functools.partial(
        jax.shard_map, mesh=sharding.mesh, in_specs=sharding.spec, out_specs=sharding.spec
    )
    def run(params):
        params = jax.tree.map(lambda x: x[0], params)
        zeros = optax.tree.zeros_like(params)
        mixed, _ = one_update(transform)(params, zeros, transform.init(params))
        return jax.tree.map(lambda x: x[None], mixed)

    expected = mix_densely(graph.matrix(0), tree)
    for name, found in jax.jit(run)(tree).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("optimized_code")
def test_two_stages_inside_and_across_nodes_have_the_same_bits_in_two_engines():
    inside, between = topology_algebra.node_stages(topology.ring(4), learners_per_node=2)
    optimizer = optax.chain(
        optax.sgd(0.5), gossip.mix(inside, order="atc"), gossip.mix(between, order="atc")
    )
    x, g = random_tree(0, 8), random_tree(1, 8)
    state = learners.replicate(optimizer.init(x), 8)
    found, _ = learners.spread(one_update(optimizer), 8)(x, g, state)
    whole = topology.hierarchical(topology.ring(4), learners_per_node=2).matrix()
    expected = mix_densely(whole, {k: x[k] - 0.5 * g[k] for k in x})
    for name in x:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=2e-6)
    assert_trees_equal(
        learners.spread(one_update(optimizer), 8, engine="shard_map")(x, g, state)[0], found
    )


def test_low_precision_parameters_travel_in_their_dtype():
    transform = gossip.mix(topology.ring(4), order="atc")
    tree = random_tree(0, 4, jnp.bfloat16)
    state = learners.replicate(transform.init(tree), 4)
    run = learners.spread(one_update(transform), 4, engine="shard_map")
    text = str(jax.make_jaxpr(run)(tree, tree, state))
    permutes = [line for line in text.splitlines() if "= ppermute[" in line]
    assert len(permutes) == 2 * len(SHAPES)
    assert all(":bf16[" in line for line in permutes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_old_weights_travel_as_one_message_on_devices(engine, order):
    """AWC packs the arrays of each dtype; the bits are those of unpacked ones."""
    transform = gossip.mix(topology.ring(4), order=order)
    x, u = (
        {"wide": random_tree(seed, 4), "narrow": random_tree(seed, 4, jnp.bfloat16)}
        for seed in (0, 1)
    )
    state = learners.replicate(transform.init(x), 4)
    run = learners.spread(one_update(transform), 4, engine=engine)
    if engine != "vmap":
        permutes = str(jax.make_jaxpr(run)(x, u, state)).count("= ppermute[")
        assert permutes == 2 * (2 if order == "awc" else 2 * len(SHAPES))
    simulated, _ = learners.spread(one_update(transform), 4)(x, u, state)
    assert_trees_equal(run(x, u, state)[0]["wide"], simulated["wide"])


def test_arrays_on_several_devices_are_not_packed():
    """Packing would gather what a further axis of the mesh divides."""
    transform = gossip.mix(topology.ring(4))
    axes = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((4, 2), ("learner", "model"), axis_types=axes)
    spec = jax.sharding.PartitionSpec("learner")

    def update(x):
        return transform.update(x, transform.init(x), x)[0]

    run = jax.shard_map(
        update, mesh=mesh, in_specs=spec, out_specs=spec, axis_names={"learner"}, check_vma=False
    )
    text = str(jax.make_jaxpr(jax.jit(run))(random_tree(0, 4)))
    assert "concatenate" not in text
    assert text.count("= ppermute[") == 2 * len(SHAPES)
