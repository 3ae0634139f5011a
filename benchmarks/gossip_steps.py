"""Simulated decentralized training: learner-steps per second, and what mixing adds to a step.

    python benchmarks/gossip_steps.py

An MLP 64-50-50-10 with plain SGD, 16 examples per learner, n learners under `vmap` on one device.
A run is a scan of 100 steps, by turns: no exchange at all, a mean of the gradients (synchronous
SGD), the fixed ring, the one-peer exponential graph and the uniform matrix, all in AWC order.
Learner-steps per second are n times the steps; overheads are ratios of medians, and of the least
times in parentheses, which tell more where other programs disturb.
"""

import argparse
import itertools
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from turns import alternate

from gossamer.core import gossip, learners, topology

SIZES, BATCH, STEPS = (64, 50, 50, 10), 16, 100
COUNTS = (4, 8, 16, 32, 64, 128, 256)
PLAIN, MEAN = "no exchange", "mean of gradients"


def main():
    parser = argparse.ArgumentParser(description="Speed of simulated gossip training.")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each")
    options = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {options.rounds} turns")
    names = list(build_optimizers(COUNTS[0]))
    print(
        f"{'n':>4}{'ring, learner-steps/s':>26}{'steps/s':>10}" + "".join(f"{x:>22}" for x in names)
    )
    for n in COUNTS:
        contenders = {name: build_run(n, make) for name, make in build_optimizers(n).items()}
        times = alternate(contenders, options.rounds)
        medians = {name: statistics.median(seconds) for name, seconds in times.items()}
        least = {name: min(seconds) for name, seconds in times.items()}
        rate = f"{n * STEPS / medians['ring']:.0f} ({n * STEPS / least['ring']:.0f})"
        cells = [
            f"{medians[name] / medians[PLAIN]:.2f} ({least[name] / least[PLAIN]:.2f})"
            for name in names
        ]
        print(
            f"{n:4}{rate:>26}{STEPS / medians['ring']:10.0f}" + "".join(f"{x:>22}" for x in cells),
            flush=True,
        )


def build_optimizers(n: int) -> dict[str, optax.GradientTransformation]:
    sgd = optax.sgd(0.1)
    mean = optax.stateless(lambda updates, params: jax.lax.pmean(updates, "learner"))
    return {
        PLAIN: sgd,
        MEAN: optax.chain(mean, sgd),
        "ring": gossip.dpsgd(sgd, topology.ring(n)),
        "one-peer exponential": gossip.dpsgd(sgd, topology.one_peer_exponential(n)),
        "uniform W": gossip.dpsgd(sgd, topology.complete(n)),
    }


def build_run(n: int, optimizer: optax.GradientTransformation) -> Callable[[], object]:
    """A compiled run of `STEPS` steps, with the learners' data in place."""
    generator = np.random.default_rng(0)
    params = [
        (
            np.sqrt(2.0 / rows) * generator.standard_normal((rows, columns), np.float32),
            np.zeros(columns, np.float32),
        )
        for rows, columns in itertools.pairwise(SIZES)
    ]
    images = jnp.asarray(generator.standard_normal((n, BATCH, SIZES[0]), np.float32))
    labels = jnp.asarray(generator.integers(SIZES[-1], size=(n, BATCH)))

    def loss(params, images, labels):
        x = images
        for weights, bias in params[:-1]:
            x = jax.nn.relu(x @ weights + bias)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def train(params, images, labels):
        def step(carry, _):
            params, state = carry
            gradients = jax.grad(loss)(params, images, labels)
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=STEPS)[0][0]

    arguments = learners.replicate(params, n), images, labels
    compiled = learners.spread(train, n).lower(*arguments).compile()
    return lambda: compiled(*arguments)


if __name__ == "__main__":
    main()
