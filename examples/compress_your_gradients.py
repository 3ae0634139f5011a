"""Adds ScaleCom to a data-parallel optax training loop by changing two lines.

    python examples/compress_your_gradients.py

`train_densely` is a plain data-parallel loop: eight devices, their gradients averaged by `pmean`.
`train_sparsely` is the same loop, which sends one element of 32 and where it is:

    - optimizer = optax.chain(dense_mean(), optax.adam(1e-2))
    + optimizer = optax.chain(sparsification.scalecom(32, beta=0.1, warmup_steps=60),
                              optax.adam(1e-2))

and, at the top, the import. Each device keeps what it has not sent yet in its own optimizer state,
so that this state has a leading axis of devices, as under ``jax.pmap``; here ``jax.vmap`` simulates
the devices. Weights stay the same on all devices.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from gossamer.core import error_feedback, sparsification

DEVICES = 8


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
    """A training step, as anybody would write it; the mean over the devices is an optax link."""

    def loss(weights):
        points, labels = batch
        return optax.sigmoid_binary_cross_entropy(logits(weights, points), labels).mean()

    weights, state = carry
    updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
    return optax.apply_updates(weights, updates), state


def dense_mean():
    """What data-parallel training does first."""
    return optax.stateless(lambda gradients, _: jax.lax.pmean(gradients, "learner"))


def train(optimizer, weights, batches):
    """The weights of all devices after the last batch."""
    run = jax.jit(jax.vmap(functools.partial(step, optimizer), axis_name="learner"))
    carry = jax.tree.map(lambda x: jnp.stack([x] * DEVICES), (weights, optimizer.init(weights)))
    for batch in batches:
        carry = run(carry, batch)
    return carry[0]


def main():
    """Trains both ways on the same examples and compares."""
    keys = jax.random.split(jax.random.key(0), 600)
    batches = [jax.vmap(draw, (0, None))(jax.random.split(key, DEVICES), 64) for key in keys]
    points, labels = draw(jax.random.key(1), 10_000)
    sizes = [(2, 64), (64, 64), (64, 1)]
    kernels = map(jax.nn.initializers.glorot_normal(), jax.random.split(keys[0], 3), sizes)
    weights = [(kernel, jnp.zeros(size[1])) for kernel, size in zip(kernels, sizes, strict=True)]
    optimizers = {
        "dense mean": optax.chain(dense_mean(), optax.adam(1e-2)),
        "ScaleCom": optax.chain(
            sparsification.scalecom(32, beta=0.1, warmup_steps=60), optax.adam(1e-2)
        ),
    }
    for (name, optimizer), rate in zip(optimizers.items(), (1, 32), strict=True):
        learned = train(optimizer, weights, batches)
        one = jax.tree.map(lambda x: x[0], learned)
        right = 100 * jnp.mean((logits(one, points) > 0) == labels)
        same = all(bool(jnp.all(x == x[:1])) for x in jax.tree.leaves(learned))
        sent = error_feedback.traffic(sparsification.clt_k(), rate, weights, DEVICES)
        print(
            f"{name:12}{right:6.1f}% right, {sent:8,.0f} bytes a step and device, all equal: {same}"
        )


if __name__ == "__main__":
    main()
