"""Trains with gossip on all devices of one machine or a cluster, a learner on each.

    python examples/spmd.py
    python examples/spmd.py --cluster HOST:PORT,2,0    # and HOST:PORT,2,1
    srun python examples/spmd.py --cluster slurm

The program is the same everywhere: only `processes.join`, which calls `jax.distributed.initialize`,
knows of the cluster. docs/clusters.md has a launch for SLURM, MPI, Kubernetes and explicit flags.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, processes, topology

DIM, BATCH, STEPS = 20, 16, 200


def main():
    """Joins the cluster, if there is one, and trains."""
    parser = argparse.ArgumentParser(description="Gossip on all devices.")
    parser.add_argument("--cluster", help="slurm, ompi, mpi4py, k8s, or HOST:PORT,NUMBER,INDEX")
    options = parser.parse_args()
    if options.cluster:
        processes.join(options.cluster)
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
