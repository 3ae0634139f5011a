"""Turns an optax training loop into decentralized SGD by changing three lines.

    python examples/gossip_your_model.py

`train_alone` is a plain loop over batches of 512. `train_with_gossip` is the same loop for eight
learners with 64 of the examples each, who average their weights with two neighbors on a ring:

    - optimizer = optax.adam(1e-2)
    + optimizer = gossip.dpsgd(optax.adam(1e-2), topology.ring(8))
    - run = jax.jit(functools.partial(step, optimizer))
    + run = learners.spread(functools.partial(step, optimizer), 8)
    - carry = weights, optimizer.init(weights)
    + carry = learners.replicate((weights, optimizer.init(weights)), 8)

The learners are simulated on one device; with ``engine="shard_map"`` each has a device of its own.
The model to use is their mean. Other graphs, orders and algorithms are a matter of that first line.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from gossamer.core import gossip, learners, topology


def draw(key, number):
    """Points of two interleaved spirals [number, 2], and to which they belong [number]."""
    keys = jax.random.split(key, 3)
    labels = jax.random.bernoulli(keys[0], shape=(number,))
    radii = jax.random.uniform(keys[1], (number,), minval=0.1)
    angles = 7 * radii + jnp.pi * labels
    points = radii[:, None] * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return points + 0.02 * jax.random.normal(keys[2], points.shape), labels


def logits(weights, points):
    """[batch] of a network with two hidden layers."""
    for kernel, bias in weights[:-1]:
        points = jnp.tanh(points @ kernel + bias[None])
    kernel, bias = weights[-1]
    return (points @ kernel + bias[None])[:, 0]


def step(optimizer, carry, batch):
    """A training step, as anybody would write it."""

    def loss(weights):
        points, labels = batch
        return optax.sigmoid_binary_cross_entropy(logits(weights, points), labels).mean()

    weights, state = carry
    value, gradients = jax.value_and_grad(loss)(weights)
    updates, state = optimizer.update(gradients, state, weights)
    return (optax.apply_updates(weights, updates), state), value


def train_alone(weights, batches):
    """One model, all examples of each batch."""
    optimizer = optax.adam(1e-2)
    run = jax.jit(functools.partial(step, optimizer))
    carry = weights, optimizer.init(weights)
    for batch in batches:
        carry, _ = run(carry, jax.tree.map(jnp.concatenate, batch))
    return carry[0]


def train_with_gossip(weights, batches):
    """Eight models, an eighth of the examples each."""
    optimizer = gossip.dpsgd(optax.adam(1e-2), topology.ring(8))
    run = learners.spread(functools.partial(step, optimizer), 8)
    carry = learners.replicate((weights, optimizer.init(weights)), 8)
    for batch in batches:
        carry, _ = run(carry, batch)
    return carry[0]


def main():
    """Trains both ways on the same examples and compares."""
    keys = jax.random.split(jax.random.key(0), 500)
    batches = [jax.vmap(draw, (0, None))(jax.random.split(key, 8), 64) for key in keys]
    points, labels = draw(jax.random.key(1), 10_000)
    sizes = [(2, 64), (64, 64), (64, 1)]
    kernels = map(jax.nn.initializers.glorot_normal(), jax.random.split(keys[0], 3), sizes)
    weights = [(kernel, jnp.zeros(size[1])) for kernel, size in zip(kernels, sizes, strict=True)]

    def accuracy(weights):
        return 100 * jnp.mean((logits(weights, points) > 0) == labels)

    learned = train_with_gossip(weights, batches)
    distance = jax.vmap(gossip.consensus_distance, axis_name="learner")(learned)[0]
    print(f"one model:                 {accuracy(train_alone(weights, batches)):.1f}% right")
    print(f"mean of eight by gossip:   {accuracy(learners.average(learned)):.1f}% right")
    print(
        f"the eight, one by one:     {', '.join(f'{x:.1f}' for x in jax.vmap(accuracy)(learned))}"
    )
    print(f"consensus distance:        {distance:.2g}")


if __name__ == "__main__":
    main()
