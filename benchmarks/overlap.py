"""What of a training step is scheduled while weights or gradients travel, on a TPU of eight chips.

    pip install libtpu            # into an environment of its own: JAX will look for a TPU
    JAX_PLATFORMS=cpu python benchmarks/overlap.py
    JAX_PLATFORMS=cpu python benchmarks/overlap.py --model speech --preset tiny

The step of `core.training` is compiled ahead of time for ``v5e:2x4``, one learner on each chip; no
TPU is needed.  Models: a perceptron of four layers of 1,024 units on 4,096 examples, or the speech
transducer on 16 recordings of 4 seconds.  "Sent" is what a learner sends in a step, in units of its
weights; the columns after it say what the compiler puts between the start and the end of an average
byte's message: fusions, loops and products, and the part of the step's floating-point operations
(those of products).  A schedule tells what may overlap, not what time it saves.
"""

import argparse
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import peers
from jax.experimental import topologies

from gossamer.core import gossip, learners, nodes, overlap, phases, topology, training
from gossamer.core.microbatches import Loss
from gossamer.core.topology import Topology
from gossamer.speech import experiment, recipe
from gossamer.speech.run_config import LearnersConfig, SpeechConfig
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import PRESETS

N = 8
UNITS, LAYERS, EXAMPLES = 1024, 4, 4096
RECORDINGS, SECONDS, LABELS = 16, 4, 40


class Model(NamedTuple):
    """What is trained: shapes only."""

    loss: Loss
    inner: optax.GradientTransformation  # the optimizer without exchange
    params: Any  # of one learner
    batch: Any  # of one learner


class Row(NamedTuple):
    """How it is trained."""

    build: Callable[[Topology], optax.GradientTransformation]
    graph: Topology
    unrolled: bool = False
    consensus_every: int | None = None


def main():
    parser = argparse.ArgumentParser(description="Overlap of communication and computation.")
    parser.add_argument("--model", choices=("perceptron", "speech"), default="perceptron")
    parser.add_argument("--preset", default="tiny", help="sizes of the speech model")
    parser.add_argument("--target", default="v5e:2x4", help="a TPU of eight chips")
    parser.add_argument("--rows", help="only rows whose name starts so")
    options = parser.parse_args()
    peers.require("libtpu")
    devices = topologies.get_topology_desc(options.target, "tpu").devices
    model = perceptron() if options.model == "perceptron" else speech(options.preset)
    sizes = [leaf.size for leaf in jax.tree.leaves(model.params)]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "jaxlib", "libtpu"))
    print(f"{versions}, {options.target}; {sum(sizes)} weights in {len(sizes)} arrays")
    print(f"{'':40}{'sent':>7}{'operations':>12}{'of the FLOPs':>14}{'compiled in':>13}")
    for name, row in build_rows(model.inner).items():
        if not name.startswith(options.rows or ""):
            continue
        start = time.perf_counter()
        found = overlap.measure(compile_step(model, row, devices))
        seconds = time.perf_counter() - start
        operations = sum(x.times * x.sent * x.operations for x in found.flights) / found.sent
        print(
            f"{name:40}{found.sent / 4 / sum(sizes):7.2f}{operations:12.1f}{found.share:14.2f}"
            f"{seconds:11.0f} s",
            flush=True,
        )


def build_rows(inner: optax.GradientTransformation) -> dict[str, Row]:
    ring, peers = topology.ring(N), topology.one_peer_exponential(N)
    bank, of_nodes = topology.random_ring(N, seed=0, period=4), topology.ring(N // 2)

    def awc(graph):
        return gossip.dpsgd(inner, graph)

    return {
        "ring, AWC": Row(awc, ring),
        "ring, ATC": Row(lambda graph: gossip.dpsgd(inner, graph, order="atc"), ring),
        "consensus distance, ring, AWC": Row(awc, ring, consensus_every=1),
        "one-peer exponential, AWC": Row(awc, peers),
        "one-peer exponential, AWC, unrolled": Row(awc, peers, unrolled=True),
        "4 random rings, AWC": Row(awc, bank),
        "4 random rings, AWC, unrolled": Row(awc, bank, unrolled=True),
        "nodes of 2 on a ring, AWC": Row(lambda graph: nodes.node_dpsgd(inner, graph, 2), of_nodes),
        "delay by one, form A": Row(lambda graph: gossip.delay_by_one(inner, N), ring),
        "mean of gradients": Row(lambda graph: optax.chain(gossip.all_reduce(), inner), ring),
    }


def compile_step(model: Model, row: Row, devices: list[Any]) -> jax.stages.Compiled:
    def build(graph):
        return training.train_step(
            model.loss,
            row.build(graph),
            axis_name="learner",
            consensus_every=row.consensus_every,
        )

    step = phases.unroll(build, row.graph) if row.unrolled else build(row.graph)
    spread = learners.spread(step, N, engine="shard_map", devices=devices)
    placement = learners.learner_sharding(N, devices=devices)

    def start(params, batch):
        state = training.init_state(params, row.build(row.graph), jax.random.key(0), num_learners=N)
        return state, learners.replicate(batch, N)

    arguments = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placement),
        jax.eval_shape(start, model.params, model.batch),
    )
    return spread.lower(*arguments).compile()


def perceptron() -> Model:
    def loss(params, batch, key):
        x = batch
        for weights, bias in params:
            x = jnp.tanh(x @ weights + bias)
        return jnp.mean(jnp.square(x - batch)), {}

    layer = shape(UNITS, UNITS), shape(UNITS)
    return Model(loss, optax.sgd(0.1, momentum=0.9), [layer] * LAYERS, shape(EXAMPLES, UNITS))


def speech(preset: str) -> Model:
    alone = LearnersConfig(algorithm="ssgd")
    config = SpeechConfig(model=PRESETS[preset], learners=alone)
    model = Transducer(config.model, vocabulary_size=29)
    samples = shape(RECORDINGS, SECONDS * config.data.sample_rate)
    labels = shape(RECORDINGS, LABELS)
    return Model(
        recipe.loss_function(config, model),
        recipe.optimizer(config, axis_name=None),
        jax.eval_shape(lambda: experiment.initial_parameters(model, seed=0)),
        {
            "waveform": samples,
            "waveform_paddings": samples,
            "labels": jax.ShapeDtypeStruct(labels.shape, jnp.int32),
            "label_paddings": labels,
        },
    )


def shape(*dimensions: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dimensions, jnp.float32)


if __name__ == "__main__":
    main()
