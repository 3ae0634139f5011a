"""Nodes of learners against dense matrices, and what they send."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, nodes, phases, topology, traffic, training

N, SIZE = 8, 2
GRAPHS = {
    "ring": topology.ring(4),
    "one-peer exponential": topology.one_peer_exponential(4),
    "complete": topology.complete(4),
}
SHAPES = {"bias": (), "vector": (5,), "matrix": (3, 4)}
ENGINES = ("vmap", "shard_map")


def random_tree(seed, n=None):
    generator = np.random.default_rng(seed)
    lead = () if n is None else (n,)
    return {k: generator.standard_normal((*lead, *s)).astype(np.float32) for k, s in SHAPES.items()}


def train(optimizer, engine, num_steps=7):
    """(weights, targets) of learners that pull towards their own targets, from a common start."""
    targets = random_tree(1, N)

    def loss(params, target, key):
        squares = jax.tree.map(lambda x, y: jnp.sum(jnp.square(x - y)) / 2.0, params, target)
        return sum(jax.tree.leaves(squares)), {}

    step = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner"), N, engine=engine
    )
    state = training.init_state(random_tree(0), optimizer, jax.random.key(0), num_learners=N)
    for _ in range(num_steps):
        state, _ = step(state, targets)
    return jax.device_get(state.params), targets


@pytest.mark.parametrize(
    ("size", "engine"), [(1, "vmap"), (2, "vmap"), (2, "shard_map"), (4, "shard_map")]
)
@pytest.mark.parametrize("order", ["awc", "atc"])
@pytest.mark.parametrize("family", [topology.ring, topology.one_peer_exponential])
def test_follows_the_dense_matrices(family, size, order, engine):
    across = family(N // size)
    found, targets = train(nodes.node_dpsgd(optax.sgd(0.3), across, size, order=order), engine)
    hierarchical = topology.hierarchical(across, size)
    inside = np.kron(np.eye(N // size), np.full((size, size), 1.0 / size))
    for name, target in targets.items():
        target = target.astype(np.float64).reshape(N, -1)
        x = np.tile(random_tree(0)[name].astype(np.float64).ravel(), (N, 1))
        for step in range(7):
            update = -0.3 * inside @ (x - target)
            w = hierarchical.matrix(step)
            x = w @ x + update if order == "awc" else w @ (x + update)
        # Seven steps of about ten sums of numbers of order one in float32.
        np.testing.assert_allclose(found[name].reshape(N, -1), x, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("engine", [*ENGINES, "pmap"])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_learners_of_a_node_stay_the_same_bit_for_bit(graph, engine):
    inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.03))
    found, _ = train(nodes.node_dpsgd(inner, graph, SIZE), engine, num_steps=20)
    for leaf in found.values():
        members = leaf.reshape(N // SIZE, SIZE, -1)
        np.testing.assert_array_equal(members[:, 0], members[:, 1])
        assert np.any(members[0] != members[1])


def test_engines_agree_up_to_the_rounding_of_the_mean():
    optimizer = nodes.node_dpsgd(optax.sgd(0.1, momentum=0.9), GRAPHS["ring"], SIZE)
    one, other = (train(optimizer, engine)[0] for engine in ENGINES)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6), one, other)


def test_one_node_is_synchronous_and_single_learners_are_nodes():
    inner = optax.sgd(0.3)
    whole, _ = train(nodes.node_dpsgd(inner, topology.ring(1), N), "shard_map")
    synchronous, _ = train(optax.chain(gossip.all_reduce(), inner), "shard_map")
    single, _ = train(nodes.node_dpsgd(inner, topology.ring(N), 1), "shard_map")
    plain, _ = train(gossip.dpsgd(inner, topology.ring(N)), "shard_map")
    for name in SHAPES:
        np.testing.assert_allclose(whole[name], synchronous[name], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(single[name], plain[name])


def sent(optimizer, num_numbers=1000):
    """Bytes of float32 weights that a learner sends in one update, by kind of collective."""
    params = {"x": jnp.zeros((N, num_numbers - 1)), "y": jnp.zeros((N, 1))}
    state = learners.replicate(optimizer.init(params), N)
    run = learners.spread(optimizer.update, N, engine="shard_map")
    found = traffic.measure(run.lower(params, state, params).compile())
    kinds = {}
    for one in found.collectives:
        if one.payload > 4:  # A changing graph agrees on its step.
            kinds[one.kind] = kinds.get(one.kind, 0.0) + one.times * one.sent
    return {kind: total / (4 * num_numbers) for kind, total in kinds.items()}


@pytest.mark.parametrize(("graph", "neighbors"), [("ring", 2), ("one-peer exponential", 1)])
@pytest.mark.parametrize("order", ["awc", "atc"])
def test_sends_what_the_module_says(graph, neighbors, order):
    optimizer = nodes.node_dpsgd(optax.sgd(0.1), GRAPHS[graph], SIZE, order=order)
    assert sent(optimizer) == pytest.approx(
        {
            "all-reduce": 2 * (SIZE - 1) / SIZE,
            "all-gather": (SIZE - 1) / SIZE,
            "collective-permute": neighbors / SIZE,
        }
    )


def test_changing_graphs_of_nodes_unroll():
    graph = GRAPHS["one-peer exponential"]

    def build(across):
        return nodes.node_dpsgd(optax.sgd(0.1), across, SIZE).update

    def unrolled(updates, state, params):
        step = phases.unroll(lambda across: lambda s, u, p: build(across)(u, s, p), graph)
        return step(state, updates, params)

    optimizer = nodes.node_dpsgd(optax.sgd(0.1), graph, SIZE)
    x = learners.replicate(random_tree(0), N)
    u = learners.replicate(random_tree(1), N)
    state = learners.replicate(optimizer.init(x), N)
    for _ in range(3):
        expected, following = learners.spread(optimizer.update, N)(u, state, x)
        found, _ = learners.spread(unrolled, N)(u, state, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
        state = following


def test_a_single_learner_and_bad_arguments():
    x = random_tree(0)
    optimizer = nodes.node_dpsgd(optax.sgd(0.1), topology.ring(1), 1, axis_name=None)
    updates, _ = optimizer.update(x, optimizer.init(x), x)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -0.1 * g, rtol=1e-6), updates, x)
    with pytest.raises(ValueError, match="`learners_per_node` must be at least 1, got 0"):
        nodes.node_dpsgd(optax.sgd(0.1), topology.ring(4), 0)
    with pytest.raises(ValueError, match='`order` must be "awc" or "atc"'):
        nodes.node_dpsgd(optax.sgd(0.1), topology.ring(4), 2, order="cat")  # pyright: ignore
    with pytest.raises(
        ValueError, match="`learners_per_node` must divide the number of learners, 8; got 3"
    ):
        train(nodes.node_dpsgd(optax.sgd(0.1), topology.ring(4), 3), "vmap")
