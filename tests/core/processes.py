"""One of two or four processes that train four learners; `learners_test.py` starts them.

    python processes.py ADDRESS NUM_PROCESSES PROCESS_ID RESULT.npz

Each process owns as many CPU devices as learners, and writes the trained weights of these.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, local_steps, topology

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
    """Twenty steps of ring DPSGD on one learner's least squares, each third with one more peer."""
    one_peer = gossip.mix(topology.one_peer_exponential(NUM_LEARNERS), order="atc")
    optimizer = optax.chain(
        gossip.dpsgd(optax.sgd(0.05, momentum=0.9), topology.ring(NUM_LEARNERS)),
        local_steps.every(one_peer, 3),
    )

    def loss(weights):
        # Products and sums of each element apart: a batched matrix product may sum differently.
        outputs = jnp.sum(data["inputs"][:, :, None] * weights[None, :, :], axis=1)
        return jnp.mean(jnp.square(jnp.tanh(outputs) - data["targets"]))

    def step(carry, _):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    start = data["weights"], optimizer.init(data["weights"])
    return jax.lax.scan(step, start, length=20)[0][0]


def main(address, num_processes, process_id, result):
    """Trains on the mesh of all processes and saves {learner: weights} of this one."""
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
    mine = {str(s.index[0].start): np.asarray(s.data)[0] for s in trained.addressable_shards}
    np.savez(result, **mine)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
