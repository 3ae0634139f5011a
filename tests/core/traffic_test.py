"""Bytes on the wire: compiled programs against the formulas."""

import jax
import jax.numpy as jnp
import pytest

from gossamer.core import gossip, learners, topology, traffic

N, NUM_BYTES = 8, 4 * 1000


def compiled(function, *arguments, engine="shard_map"):
    return learners.spread(function, N, engine=engine).lower(*arguments).compile()


def mixing(graph):
    """A compiled step of gossip of 1,000 numbers in three arrays."""
    link = gossip.mix(graph)
    params = {"a": jnp.zeros((N, 20, 30)), "b": jnp.zeros((N, 399)), "c": jnp.zeros((N, 1))}
    states = learners.replicate(link.init(params), N)

    def step(params, state):
        return link.update(jax.tree.map(jnp.zeros_like, params), state, params)

    return compiled(step, params, states)


@pytest.mark.parametrize(
    ("graph", "arrays"),
    [
        (topology.ring(N), 2),
        (topology.torus(2, 4), 3),
        (topology.hypercube(N), 3),
        (topology.complete(N), N - 1),
        (topology.star(N), 2 * (N - 1) / N),
        (topology.random_ring(N, seed=0, period=3), 2),
    ],
)
def test_gossip_sends_what_its_exchanges_say(graph, arrays):
    found = traffic.measure(mixing(graph))
    # A changing graph agrees on its step by a maximum of one number.
    assert found.mean == pytest.approx(arrays * NUM_BYTES, abs=0 if graph.period == 1 else 8)
    assert traffic.predict(graph, NUM_BYTES) == pytest.approx(arrays * NUM_BYTES)


def test_one_of_the_branches_runs():
    found = traffic.measure(mixing(topology.one_peer_exponential(N)))
    assert found.mean == pytest.approx(NUM_BYTES, abs=8)
    assert found.most == pytest.approx(NUM_BYTES, abs=8)
    permutes = [one for one in found.collectives if one.kind == "collective-permute"]
    assert sum(one.times * one.payload for one in permutes) == pytest.approx(NUM_BYTES)
    uneven = topology.Topology(
        N, (*topology.ring(N).mixings, *topology.one_peer_exponential(N).mixings[:1])
    )
    found = traffic.measure(mixing(uneven))
    assert found.mean == pytest.approx(1.5 * NUM_BYTES, abs=8)
    assert found.most == pytest.approx(2 * NUM_BYTES, abs=8)


X = jnp.zeros((N, 10, 100))
NEXT = [(i, (i + 1) % N) for i in range(N)]


@pytest.mark.parametrize(
    ("collective", "share"),
    [
        (lambda x: jax.lax.pmean(x, "learner"), 2 * (N - 1) / N),
        (lambda x: jax.lax.all_gather(x, "learner"), N - 1),
        (lambda x: jax.lax.psum_scatter(x.ravel(), "learner", tiled=True), (N - 1) / N),
        (lambda x: jax.lax.all_to_all(x.reshape(N, -1), "learner", 0, 0), (N - 1) / N),
        (lambda x: jax.lax.ppermute(x, "learner", NEXT), 1),
        (lambda x: jax.lax.ppermute(x, "learner", [(0, 1), (2, 2)]), 1 / N),
        (lambda x: jax.lax.psum(x, "learner", axis_index_groups=[[0, 1, 2, 3], [4, 5, 6, 7]]), 1.5),
        (lambda x: x + 1, 0),
    ],
)
def test_collectives_send_what_the_ring_algorithms_say(collective, share):
    found = traffic.measure(compiled(collective, X))
    assert found.mean == found.most == pytest.approx(share * NUM_BYTES)


def test_types_have_their_sizes():
    def both(x):
        return jax.lax.ppermute(x.astype(jnp.int16), "learner", NEXT), jax.lax.ppermute(
            x > 0, "learner", NEXT
        )

    assert traffic.measure(compiled(both, X)).mean == 1000 * 2 + 1000


def test_loops_count_their_trips():
    def inner(x, _):
        return jax.lax.ppermute(x, "learner", NEXT), None

    def outer(x, _):
        x, _ = jax.lax.scan(inner, x, None, length=3)
        return jax.lax.pmean(x, "learner"), None

    found = traffic.measure(compiled(lambda x: jax.lax.scan(outer, x, None, length=5)[0], X))
    assert found.mean == pytest.approx(5 * (3 + 2 * (N - 1) / N) * NUM_BYTES)
    assert {one.kind: one.times for one in found.collectives} == {
        "collective-permute": 15,
        "all-reduce": 5,
    }


def test_a_loop_of_unknown_length_is_refused():
    def run(x):
        return jax.lax.while_loop(
            lambda x: jnp.sum(x) < 1, lambda x: jax.lax.pmean(x + 1, "learner"), x
        )

    with pytest.raises(ValueError, match="`compiled` must have loops of known length"):
        traffic.measure(compiled(run, X))


def test_simulated_learners_send_nothing():
    found = traffic.measure(compiled(lambda x: jax.lax.pmean(x, "learner"), X, engine="vmap"))
    assert found == (0, 0, ())


def test_an_asynchronous_pair_is_one_collective():
    text = """HloModule step, num_partitions=4

ENTRY %main (p: f32[100]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  %s = (f32[100]{0}, f32[100]{0}, u32[], u32[]) collective-permute-start(%p), \
source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  ROOT %d = f32[100]{0} collective-permute-done(%s)
}
"""
    assert traffic.measure(text).mean == 400


def test_bad_text_is_refused():
    with pytest.raises(ValueError, match="`compiled` must be a compiled program"):
        traffic.measure("no program")
