"""Overlap in schedules written by hand, and in those of XLA for TPU where libtpu is installed."""

import importlib.util
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import topologies

from gossamer.core import gossip, learners, overlap, phases, topology, traffic, training

N = 8

# Messages of 400 bytes among 4 devices: one around two products, one around none, a sum at once.
RING = """HloModule step, is_scheduled=true, num_partitions=4

%inside (a: f32[100,20], b: f32[20,30]) -> f32[100,30] {
  %a = f32[100,20]{1,0:T(8,128)} parameter(0)
  %b = f32[20,30]{1,0:T(8,128)} parameter(1)
  ROOT %product = f32[100,30]{1,0:T(8,128)} convolution(%a, %b), dim_labels=bf_io->bf
}

%elementwise (y: f32[100,30]) -> f32[100] {
  %y = f32[100,30]{1,0:T(8,128)} parameter(0)
  ROOT %row = f32[100]{0} slice(%y), slice={[0:100], [0:1]}
}

%add (s: f32[], t: f32[]) -> f32[] {
  %s = f32[] parameter(0)
  %t = f32[] parameter(1)
  ROOT %both = f32[] add(%s, %t)
}

ENTRY %main (x: f32[100], a: f32[100,20], b: f32[20,30]) -> f32[100] {
  %x = f32[100]{0} parameter(0)
  %a.1 = f32[100,20]{1,0} parameter(1)
  %b.1 = f32[20,30]{1,0} parameter(2)
  %start.1 = (f32[100]{0}, f32[100]{0}, u32[], u32[]) collective-permute-start(%x), \
source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  %fusion.1 = f32[100,30]{1,0} fusion(%a.1, %b.1), kind=kOutput, calls=%inside
  %start.2 = (f32[100]{0}, f32[100]{0}, u32[], u32[]) collective-permute-start(%x), \
source_target_pairs={{1,0},{2,1},{3,2},{0,3}}
  %scale.1 = f32[100]{0} fusion(%fusion.1), kind=kLoop, calls=%elementwise
  %done.2 = f32[100]{0} collective-permute-done(%start.2)
  %dot.1 = f32[30,20]{1,0} dot(%fusion.1, %a.1), lhs_contracting_dims={0}, rhs_contracting_dims={0}
  %done.1 = f32[100]{0} collective-permute-done(%start.1)
  %sum.1 = f32[100]{0} all-reduce(%done.1), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %dot.2 = f32[100,100]{1,0} dot(%done.1, %done.2), lhs_contracting_dims={}
}
"""
PRODUCT = 2 * 100 * 30 * 20

# A gather that XLA for TPU spread over three fusions, the second with a product of the gradient.
CHAIN = """HloModule step, is_scheduled=true, num_partitions=8

%starts (p: f32[1,50]) -> (f32[1,50], f32[8,50]) {
  %p = f32[1,50]{1,0} parameter(0)
  %all-gather.1 = f32[8,50]{1,0} all-gather(%p), replica_groups={{0,1,2,3,4,5,6,7}}, \
dimensions={0}, frontend_attributes={chain_id="1"}
  ROOT %call.1 = (f32[1,50]{1,0}, f32[8,50]{1,0}) custom-call(%all-gather.1), \
custom_call_target="AsyncCollectiveStart"
}

%moves_on (p: f32[1,50], x: f32[4,4]) -> (f32[8,50], f32[4,4]) {
  %p.1 = f32[1,50]{1,0} parameter(0)
  %x = f32[4,4]{1,0} parameter(1)
  %all-gather.2 = f32[8,50]{1,0} all-gather(%p.1), replica_groups={{0,1,2,3,4,5,6,7}}, \
dimensions={0}, frontend_attributes={chain_id="1"}
  %square = f32[4,4]{1,0} convolution(%x, %x), dim_labels=fb_io->bf
  ROOT %pair = (f32[8,50]{1,0}, f32[4,4]{1,0}) tuple(%all-gather.2, %square)
}

%ends (p: f32[1,50]) -> f32[8,50] {
  %p.2 = f32[1,50]{1,0} parameter(0)
  %all-gather.3 = f32[8,50]{1,0} all-gather(%p.2), replica_groups={{0,1,2,3,4,5,6,7}}, \
dimensions={0}, frontend_attributes={chain_id="1"}
  ROOT %call.2 = f32[8,50]{1,0} custom-call(%all-gather.3), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (p: f32[1,50], x: f32[4,4]) -> f32[8,50] {
  %p.3 = f32[1,50]{1,0} parameter(0)
  %x.1 = f32[4,4]{1,0} parameter(1)
  %begin = (f32[1,50]{1,0}, f32[8,50]{1,0}) fusion(%p.3), kind=kCustom, calls=%starts
  %item.0 = f32[1,50]{1,0} get-tuple-element(%begin), index=0
  %middle = (f32[8,50]{1,0}, f32[4,4]{1,0}) fusion(%item.0, %x.1), kind=kOutput, calls=%moves_on
  ROOT %finish = f32[8,50]{1,0} fusion(%item.0), kind=kCustom, calls=%ends
}
"""

# Loops of 5 and, with the count left to be read from the condition, 6 trips around a product.
LOOPS = """HloModule step, is_scheduled=true, num_partitions=2

%below (c: (s32[], f32[3,3])) -> pred[] {
  %c = (s32[], f32[3,3]{1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(6)
  %counter = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%counter, %limit), direction=LT
}

%body (c: (s32[], f32[3,3])) -> (s32[], f32[3,3]) {
  %c.1 = (s32[], f32[3,3]{1,0}) parameter(0)
  %y = f32[3,3]{1,0} get-tuple-element(%c.1), index=1
  %begin = (f32[3,3]{1,0}, f32[3,3]{1,0}) collective-permute-start(%y), \
source_target_pairs={{0,1},{1,0}}
  %dot.1 = f32[3,3]{1,0} dot(%y, %y), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %end = f32[3,3]{1,0} collective-permute-done(%begin)
  ROOT %both = (s32[], f32[3,3]{1,0}) tuple(%y, %dot.1)
}

%quiet (c: (s32[], f32[3,3])) -> (s32[], f32[3,3]) {
  %c.2 = (s32[], f32[3,3]{1,0}) parameter(0)
  %z = f32[3,3]{1,0} get-tuple-element(%c.2), index=1
  %dot.2 = f32[3,3]{1,0} dot(%z, %z), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %both.1 = (s32[], f32[3,3]{1,0}) tuple(%z, %dot.2)
}

ENTRY %main (c: (s32[], f32[3,3])) -> (s32[], f32[3,3]) {
  %c.3 = (s32[], f32[3,3]{1,0}) parameter(0)
  %loop.1 = (s32[], f32[3,3]{1,0}) while(%c.3), condition=%below, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %loop.2 = (s32[], f32[3,3]{1,0}) while(%loop.1), condition=%below, body=%quiet
}
"""


def test_counts_what_lies_between_start_and_end():
    found = overlap.measure(RING)
    outside = 2 * 100 * 100
    assert found.flops == 2 * PRODUCT + outside
    assert found.flights == (
        overlap.Flight("collective-permute", 400, 1, 3, 2 * PRODUCT),
        overlap.Flight("collective-permute", 400, 1, 1, 0),
        overlap.Flight("all-reduce", 600, 1, 0, 0),
    )
    assert found.sent == 1400
    assert found.share == pytest.approx(400 * 2 * PRODUCT / (1400 * found.flops))
    assert traffic.measure(RING).mean == found.sent


def test_a_collective_spread_over_fusions_is_one():
    found = overlap.measure(CHAIN)
    assert found.flops == 2 * 4**3
    assert found.flights == (overlap.Flight("all-gather", 7 * 200, 1, 1, 2 * 4**3),)
    assert found.share == 1
    assert traffic.measure(CHAIN).mean == 7 * 200


def test_loops_count_their_trips():
    found = overlap.measure(LOOPS)
    assert found.flops == (5 + 6) * 2 * 3**3
    assert found.flights == (overlap.Flight("collective-permute", 36, 5, 1, 2 * 3**3),)


BATCHED = "0bf_0io->0bf, window={size=7 stride=6 pad=0_0 lhs_dilate=7}"


@pytest.mark.parametrize("labels", ["bf_io->bf", "fb_io->bf", BATCHED])
def test_products_written_as_convolutions(labels):
    """As XLA for TPU writes them; in a batch the window meets the input once for each member."""
    batch = (7,) if "0" in labels else ()
    left, right, out = (*batch, 5, 5), (*batch, 5, 3), (*batch, 5, 3)
    arrays = [f"f32[{','.join(map(str, shape))}]" for shape in (left, right, out)]
    text = f"""HloModule product, is_scheduled=true

ENTRY %main (x: {arrays[0]}, y: {arrays[1]}) -> {arrays[2]} {{
  %x = {arrays[0]} parameter(0)
  %y = {arrays[1]} parameter(1)
  ROOT %z = {arrays[2]} convolution(%x, %y), dim_labels={labels}
}}
"""
    assert overlap.measure(text).flops == 2 * 5 * 5 * 3 * math.prod(batch)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_flops_are_those_of_the_compiler(padding):
    def run(x, kernel, y):
        x = jax.lax.conv_general_dilated(x, kernel, (2, 1), padding, rhs_dilation=(1, 2))
        return x, jnp.einsum("bij,bjk->bik", y, y)

    arguments = jnp.ones((2, 3, 12, 10)), jnp.ones((4, 3, 3, 3)), jnp.ones((6, 5, 5))
    compiled = jax.jit(run).lower(*arguments).compile()
    assert overlap.measure(compiled).flops == pytest.approx(compiled.cost_analysis()["flops"])


def test_nothing_overlaps_on_cpus():
    step = learners.spread(
        lambda x: jax.lax.ppermute(x, "learner", [(0, 1), (1, 0)]) + x @ x, 2, engine="shard_map"
    )
    found = overlap.measure(step.lower(jnp.ones((2, 5, 5))).compile())
    assert found.flights == (overlap.Flight("collective-permute", 100, 1, 0, 0),)
    assert found.share == 0


def test_bad_programs_are_refused():
    with pytest.raises(ValueError, match="`compiled` must be scheduled"):
        overlap.measure(RING.replace("is_scheduled=true, ", ""))
    with pytest.raises(ValueError, match=r"loops of known length, but loop\.2"):
        overlap.measure(LOOPS.replace("direction=LT", "direction=NE"))


def compile_for_tpu(graph, order="awc", *, unrolled=False):
    """Our training step of a multilayer perceptron, momentum and gossip, for eight TPUs."""
    devices = topologies.get_topology_desc("v5e:2x4", "tpu").devices
    size = 256

    def loss(params, batch, key):
        x = batch
        for weights, bias in params:
            x = jnp.tanh(x @ weights + jnp.expand_dims(bias, 0))
        return jnp.mean(jnp.square(x)), {}

    def build(graph):
        optimizer = gossip.dpsgd(optax.sgd(0.1, momentum=0.9), graph, order=order)
        return training.train_step(loss, optimizer, axis_name="learner", consensus_every=None)

    params = [(np.zeros((size, size), np.float32), np.zeros(size, np.float32))] * 5
    optimizer = gossip.dpsgd(optax.sgd(0.1, momentum=0.9), graph)
    arguments = (
        training.init_state(params, optimizer, jax.random.key(0), num_learners=N),
        np.zeros((N, 1024, size), np.float32),
    )
    placement = learners.learner_sharding(N, devices=devices)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement), arguments
    )
    step = phases.unroll(build, graph) if unrolled else build(graph)
    spread = learners.spread(step, N, engine="shard_map", devices=devices)
    return overlap.measure(spread.lower(*arguments).compile())


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
def test_awc_may_send_during_the_whole_gradient_and_atc_may_not():
    ring = topology.ring(N)
    random = topology.random_ring(N, seed=0, period=2)
    peers = topology.one_peer_exponential(N)

    def shares(found):
        return [x.flops / found.flops for x in found.flights if x.kind == "collective-permute"]

    assert shares(compile_for_tpu(ring)) == [1, 1]
    assert shares(compile_for_tpu(random, unrolled=True)) == [1] * 4
    assert shares(compile_for_tpu(peers, unrolled=True)) == [1] * 3
    assert set(shares(compile_for_tpu(peers))) == {0}  # A branch overlaps with nothing outside.
    atc = compile_for_tpu(ring, "atc")
    assert min(shares(atc)) == 0
    assert atc.share < 0.5
