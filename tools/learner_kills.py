"""Trains in Ray actors while learners are killed at random, and says what was lost.

    python tools/learner_kills.py --minutes 60
    python tools/learner_kills.py --minutes 2 --every 10

Learners of AD-PSGD (`core.ray_runtime`) train a small network on the bundled images, each gradient
slowed down to `--pace` seconds.  Every `--every` seconds or so a random one gets SIGKILL, and comes
back with the weights of a neighbor.  At the end the log of the run is replayed: its weights must be
those of the learners.  Lost may be what a learner was just computing, never what it had applied.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import asynchrony, learners, topology
from gossamer.core.ray_learner import import_ray
from gossamer.core.ray_runtime import Actors
from gossamer.core.traces import NOBODY
from gossamer.vision.data import open_data

ROWS, HIDDEN, NUM_BATCHES = 32, 64, 20
OPTIMIZER = optax.sgd(0.05, momentum=0.9)


def main() -> bool:
    """Runs the module."""
    parser = argparse.ArgumentParser(description="Kill learners at random, and count what is lost.")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, without deaths")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between kills, the mean")
    parser.add_argument("--learners", type=int, default=8)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds of a gradient, at least")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        import_ray()
    except ValueError as error:
        raise SystemExit(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="learners-") as folder:
        return train(Path(folder), options)


def train(folder: Path, options: argparse.Namespace) -> bool:
    """Trains while learners are killed, and reports; whether something was lost."""
    n, key = options.learners, jax.random.key(options.seed)
    data = open_data("fashion")
    batches, start = make_batches(data, n), learners.replicate(make_params(data, key), n)
    num_updates = round(60 * options.minutes * n / options.pace)
    kills: list[int] = []
    done, begin = threading.Event(), time.monotonic()
    killer = threading.Thread(target=kill, args=(folder, options, kills, done))
    with Actors(
        make_gradient(),
        OPTIMIZER,
        key,
        topology.ring(n),
        num_updates=num_updates,
        batches=batches,
        before_gradient=make_watch(folder, options.pace),
        max_restarts=sys.maxsize,
        seed=options.seed,
    ) as run:

        def advance(target):
            run.advance(target)
            minutes = (time.monotonic() - begin) / 60
            print(f"{minutes:6.1f} min  {target} updates, {len(kills)} kills", flush=True)

        run.start(asynchrony.init_state(start, OPTIMIZER))
        killer.start()
        try:
            for target in range(0, num_updates, max(num_updates // 20, 1)):
                advance(target)
        finally:
            done.set()
            killer.join()
        advance(num_updates)  # All are to be there at the end.
        found = run.snapshot()
    return report(found, folder, kills, data, start, key, batches)


def make_params(data, key):
    """Two dense layers."""
    inputs = data.train.read(0).size
    sizes = {"in": (inputs, HIDDEN), "out": (HIDDEN, len(data.class_names))}
    keys = jax.random.split(key, len(sizes))
    return {
        name: jax.random.normal(k, shape) / np.sqrt(shape[0])
        for k, (name, shape) in zip(keys, sizes.items(), strict=True)
    }


def make_batches(data, n):
    """What learners see in turn, leaves [n, NUM_BATCHES, ROWS, ...]."""
    chosen = np.random.default_rng(0).permutation(len(data.train))[: n * NUM_BATCHES * ROWS]
    images = np.stack([read(data.train, i) for i in chosen])
    shape = (n, NUM_BATCHES, ROWS)
    return {
        "images": images.reshape(*shape, -1),
        "labels": np.asarray(data.train.labels)[chosen].reshape(shape).astype(np.int32),
    }


def read(images, index):
    """An image as a vector in [-0.5, 0.5]."""
    return images.read(index).ravel().astype(np.float32) / 255 - 0.5


def make_gradient():
    """A closure, which travels by value: actors cannot import this script."""

    def gradient(params, batch, key):
        del key

        def loss(params):
            hidden = jax.nn.relu(batch["images"] @ params["in"])
            logits = hidden @ params["out"]
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
            return jnp.mean(losses)

        return jax.grad(loss)(params)

    return gradient


def make_watch(folder, pace):
    """Notes who computes which gradient in which process, and takes its time."""

    def before_gradient(learner, step):
        (folder / f"{learner}.pid").write_text(str(os.getpid()))
        with (folder / f"{learner}.steps").open("a") as file:
            file.write(f"{step}\n")
        time.sleep(pace)

    return before_gradient


def kill(folder, options, kills, done):
    """Kills random learners until told to stop."""
    dice = random.Random(options.seed)
    while not done.wait(dice.expovariate(1 / options.every)):
        learner = dice.randrange(options.learners)
        # A learner may be on its way back.
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((folder / f"{learner}.pid").read_text()), signal.SIGKILL)
            (folder / f"{learner}.pid").unlink()
            kills.append(learner)


def report(found, folder, kills, data, start, key, batches) -> bool:
    """Prints what the run was, and whether its log holds all of it."""
    trace = found.trace
    applied = int(trace.applies.sum())
    begun = sum(len(path.read_text().split()) for path in folder.glob("*.steps"))
    replayed, _ = asynchrony.replay(trace, make_gradient(), OPTIMIZER, start, key, batches=batches)
    pairs = zip(jax.tree.leaves(found.state.params), jax.tree.leaves(replayed.params), strict=True)
    difference = max(float(jnp.max(jnp.abs(x - y) / jnp.max(jnp.abs(y)))) for x, y in pairs)
    answered, settled = int((trace.answers != NOBODY).sum()), int(trace.settles.sum())
    model = learners.average(found.state.params)
    images = np.stack([read(data.test, i) for i in range(len(data.test))])
    logits = jax.nn.relu(images @ model["in"]) @ model["out"]
    accuracy = float(np.mean(np.argmax(logits, axis=-1) == data.test.labels))
    returned = int((trace.pulls != NOBODY).sum())
    print(
        f"\n{trace.time[-1] / 60:.1f} min, {applied} updates, {len(kills)} kills, "
        f"{sum(map(len, found.failures.values()))} deaths noticed, {returned} returns\n"
        f"gradients begun and never applied: {begun - applied}\n"
        f"exchanges answered {answered}, of which the asker took its half {settled}\n"
        f"updates by learner: {np.bincount(trace.learner[trace.applies])}\n"
        f"weights against the replayed log: {difference:.1e} of the largest\n"
        f"accuracy of the mean model: {100 * accuracy:.1f}%"
    )
    is_whole = difference < 1e-3 and begun - applied <= len(kills) + trace.num_learners
    return not is_whole


if __name__ == "__main__":
    sys.exit(main())
