"""Trains with gossip on all devices of one machine or a cluster, a learner on each.

    python examples/spmd.py
    python examples/spmd.py --address HOST:PORT --num-processes 2 --process-id 0    # and 1
    srun python examples/spmd.py --detect slurm

The program is the same everywhere: only the call of `jax.distributed.initialize` knows of the
cluster. docs/clusters.md has a launch for SLURM, MPI, Kubernetes and explicit flags.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, topology

DIM, BATCH, STEPS = 20, 16, 200


def main():
    """Joins the cluster, if there is one, and trains."""
    parser = argparse.ArgumentParser(description="Gossip on all devices.")
    parser.add_argument("--detect", choices=["slurm", "ompi", "mpi4py", "k8s"])
    parser.add_argument("--address", help="host and port of process 0, the same for all")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    options = parser.parse_args()
    if options.detect or options.address:
        jax.distributed.initialize(
            options.address,
            options.num_processes,
            options.process_id,
            cluster_detection_method=options.detect,
        )
    n = len(jax.devices())
    placement = learners.learner_sharding(n)
    seeds = jax.make_array_from_callback((n,), placement, lambda index: np.arange(n)[index])
    losses, distances = learners.spread(make_training(n), n, engine="shard_map")(seeds)
    mine = [float(x.addressable_shards[0].data[0]) for x in (losses, distances)]
    print(
        f"process {jax.process_index()} of {jax.process_count()}, {n} learners: "
        f"loss {mine[0]:.4f}, consensus distance {mine[1]:.1e}"
    )


def make_training(n):
    """A function of one learner's seed: its final loss and distance, averaged over all."""
    optimizer = gossip.dpsgd(optax.sgd(0.05), topology.ring(n))
    weights = jnp.ones(DIM) / jnp.sqrt(DIM)

    def loss(params, key):
        inputs, noise = jax.random.split(key)
        x = jax.random.normal(inputs, (BATCH, DIM))
        targets = x @ weights + 0.1 * jax.random.normal(noise, (BATCH,))
        return jnp.mean(jnp.square(x @ params - targets))

    def train(seed):
        key = jax.random.key(seed)

        def step(carry, k):
            params, state = carry
            value, gradients = jax.value_and_grad(loss)(params, jax.random.fold_in(key, k))
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        start = jnp.zeros(DIM)
        (params, _), values = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(STEPS))
        distance = gossip.consensus_distance(params, "learner")
        return jax.lax.pmean(values[-1], "learner"), distance

    return train


if __name__ == "__main__":
    main()
