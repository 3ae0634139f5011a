"""A choice between whole steps against the choice of the mixing alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, phases, topology, traffic, training

N = 4
GRAPHS = {
    "one-peer exponential": topology.one_peer_exponential(N),
    "random ring": topology.random_ring(N, seed=0, period=3),
    "ring": topology.ring(N),
}


def loss(params, batch, key):
    return jnp.sum(jnp.square(jnp.tanh(batch @ params["matrix"]) + params["bias"])), {}


def build(graph):
    optimizer = gossip.dpsgd(optax.sgd(0.1, momentum=0.9), graph)
    return training.train_step(loss, optimizer, axis_name="learner")


def start(key):
    params = {"matrix": jax.random.normal(key, (3, 2)), "bias": jnp.ones(2)}
    optimizer = gossip.dpsgd(optax.sgd(0.1, momentum=0.9), topology.ring(N))
    return training.init_state(params, optimizer, key, num_learners=N)


@pytest.mark.parametrize("engine", ["vmap", "shard_map"])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_does_what_the_step_of_the_changing_topology_does(graph, engine, key):
    plain = learners.spread(build(graph), N)
    unrolled = learners.spread(phases.unroll(build, graph), N, engine=engine)
    batches = np.random.default_rng(0).standard_normal((6, N, 3)).astype(np.float32)
    batches[2, 1] = np.nan  # A skipped step leaves the mixing of its turn to the next.
    expected = found = start(key)
    for batch in batches:
        expected, _ = plain(expected, batch)
        found, report = unrolled(found, batch)
        # Six steps in float32, whose fusions may differ.
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6),
            found._replace(key=None),
            expected._replace(key=None),
        )
    assert report["consensus_distance"][0] > 0


def test_sends_no_more_bytes(key):
    graph = GRAPHS["one-peer exponential"]
    state, batch = start(key), np.zeros((N, 3), np.float32)
    sent = [
        traffic.measure(learners.spread(step, N, engine="shard_map").lower(state, batch).compile())
        for step in (build(graph), phases.unroll(build, graph))
    ]
    permuted = [
        sum(x.times * x.sent for x in each.collectives if x.kind == "collective-permute")
        for each in sent
    ]
    assert permuted == [4 * 8, 4 * 8]
    assert sent[1].mean == sent[0].mean


def test_state_without_one_mixing_step_is_refused(key):
    graph = GRAPHS["one-peer exponential"]
    state = training.init_state({"x": jnp.ones(2)}, optax.sgd(0.1), key, num_learners=N)
    step = learners.spread(phases.unroll(build, graph), N)
    with pytest.raises(ValueError, match="`state` must hold the state of exactly one"):
        step(state, np.zeros((N, 3), np.float32))
