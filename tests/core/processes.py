"""One of two or four processes that train four learners; `learners_test.py` starts them.

    python processes.py ADDRESS NUM_PROCESSES PROCESS_ID RESULT.npz

Each process owns as many CPU devices as learners, and writes the trained weights of these.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, local_steps, sparsification, topology

NUM_LEARNERS = 4


def problem():
    """Weights, inputs and targets of all learners; the initial weights differ."""
    generator = np.random.default_rng(0)
    shapes = {"weights": (6, 5), "inputs": (7, 6), "targets": (7, 5)}
    return {
        name: generator.standard_normal((NUM_LEARNERS, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def train(data):
    """The weights of one learner after training by gossip, and by compressed mean gradients."""
    return {"gossip": train_by_gossip(data), "compressed": train_compressed(data)}


def train_by_gossip(data):
    """Twenty steps of ring DPSGD on one learner's least squares, each third with one more peer."""
    one_peer = gossip.mix(topology.one_peer_exponential(NUM_LEARNERS), order="atc")
    optimizer = optax.chain(
        gossip.dpsgd(optax.sgd(0.05, momentum=0.9), topology.ring(NUM_LEARNERS)),
        local_steps.every(one_peer, 3),
    )

    return descend(data, optimizer, num_steps=20)


def train_compressed(data):
    """Ten steps of ScaleCom from the weights of learner 0."""
    optimizer = optax.chain(sparsification.scalecom(6, beta=0.5), optax.sgd(0.05, momentum=0.9))
    start = jax.lax.all_gather(data["weights"], "learner")[0]
    return descend(data | {"weights": start}, optimizer, num_steps=10)


def descend(data, optimizer, num_steps):
    """Weights of one learner after steps on its least squares."""

    def loss(weights):
        # Products and sums of each element apart: a batched matrix product may sum differently.
        outputs = jnp.sum(data["inputs"][:, :, None] * weights[None, :, :], axis=1)
        return jnp.mean(jnp.square(jnp.tanh(outputs) - data["targets"]))

    def step(carry, _):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    start = data["weights"], optimizer.init(data["weights"])
    return jax.lax.scan(step, start, length=num_steps)[0][0]


def main(address, num_processes, process_id, result):
    """Trains on the mesh of all processes and saves the weights of this one."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", NUM_LEARNERS // int(num_processes))
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        address, int(num_processes), int(process_id), initialization_timeout=60
    )
    placement = learners.learner_sharding(NUM_LEARNERS)
    data = {
        name: jax.make_array_from_callback(x.shape, placement, lambda index, x=x: x[index])
        for name, x in problem().items()
    }
    trained = learners.spread(train, NUM_LEARNERS, engine="shard_map")(data)
    mine = {
        f"{name} {shard.index[0].start}": np.asarray(shard.data)[0]
        for name, weights in trained.items()
        for shard in weights.addressable_shards
    }
    np.savez(result, **mine)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
