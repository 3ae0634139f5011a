"""Decentralized against synchronous SGD at large step sizes, on digits small enough for a CPU.

    python benchmarks/large_step.py --figure large_step.png

Six learners train an MLP 64-50-50-10 on 1,500 images of 8 x 8 pixels, with plain SGD from identical
weights; seeds differ in the batches drawn.  The second table counts the seeds, out of 8, whose mean
weights have a training loss below 0.5 after 500 steps, in three settings:

    A   batch 250, one initial weight vector; the six batches are the whole training set, so that
        SSGD is gradient descent and its seeds differ by rounding alone
    B   batch 125, fresh initial weights for each seed
    C   batch 250, fresh initial weights for each seed

The first, and the figure, follow the effective learning rate over 1,500 steps of setting A, 3
seeds, no warm-up: as measured, and as predicted from Gaussian noise of the learners' spread.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, landscape, learners, topology, training, weight_noise

DIGITS = Path(__file__).parents[1] / "tests" / "digits.npz"
LEARNERS, NUM_TRAIN, SIZES, WARMUP = 6, 1500, (64, 50, 50, 10), 100
SEEDS, STEPS, STEP_SIZES = 8, 500, (1.0, 1.5, 2.0)
DIAGNOSED_SEEDS, DIAGNOSED_STEPS, DIAGNOSED_SIZES, EVERY = 3, 1500, (0.3, 0.6, 1.0), 10
SETTINGS = {"A": (250, False), "B": (125, True), "C": (250, True)}  # batch, fresh weights
COLORS = ("#444444", "#17647a", "#5fa6b3", "#b3541e")


class Run(NamedTuple):
    """One training; all fields get a leading axis under `vmap`."""

    seed: jax.Array  # [] int32
    step_size: jax.Array  # [] float32
    warmup: jax.Array  # [] int32: steps of linear warm-up, at least 1
    fresh: jax.Array  # [] bool: whether the seed draws the initial weights too


def synchronous():
    return lambda inner: optax.chain(gossip.all_reduce(), inner)


def decentralized(graph, order: gossip.Order = "awc"):
    return functools.partial(gossip.dpsgd, topology=graph, order=order)


VARIANTS = {
    "SSGD": (synchronous(), 0.0),
    "SSGD* (0.01)": (synchronous(), 0.01),
    "DPSGD fixed ring, AWC": (decentralized(topology.ring(LEARNERS)), 0.0),
    "DPSGD random ring, AWC": (decentralized(topology.random_ring(LEARNERS, seed=0)), 0.0),
    "DPSGD fixed ring, ATC": (decentralized(topology.ring(LEARNERS), "atc"), 0.0),
    "DPSGD uniform W, AWC": (decentralized(topology.complete(LEARNERS)), 0.0),
}


def main():
    parser = argparse.ArgumentParser(description="SSGD, SSGD* and DPSGD at large step sizes.")
    parser.add_argument("--figure", type=Path, help="where to draw the first table's runs, a PNG")
    options = parser.parse_args()
    train, test = load_digits()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    start = time.perf_counter()
    histories = diagnose(train, test)
    if options.figure:
        draw(histories, options.figure)
    count_successes(train)
    print(f"\n{time.perf_counter() - start:.0f} s")


def load_digits():
    """Training and test set, each images [count, 64] in 0 ... 1 and labels [count]."""
    data = np.load(DIGITS)
    order = np.random.RandomState(0).permutation(len(data["labels"]))
    images = data["images"].reshape(-1, 64)[order].astype(np.float32) / 16.0
    labels = data["labels"][order].astype(np.int32)
    return (images[:NUM_TRAIN], labels[:NUM_TRAIN]), (images[NUM_TRAIN:], labels[NUM_TRAIN:])


def count_successes(train) -> None:
    columns = [(warmup, size) for warmup in (1, WARMUP) for size in STEP_SIZES]
    grid = [(seed, size, warmup) for warmup, size in columns for seed in range(SEEDS)]
    seeds, sizes, warmups = map(jnp.asarray, zip(*grid, strict=True))
    print(f"\nSuccesses of {SEEDS}, settings {' / '.join(SETTINGS)}, no warm-up and warm-up")
    print(f"{'':24}" + "".join(f"{size:>14}" for _, size in columns))
    for name, (optimize, noise) in VARIANTS.items():
        counts = []
        trainer = build_trainer(train, optimize, noise)
        for batch_size, fresh in SETTINGS.values():
            runs = Run(seeds, sizes, warmups, jnp.full(len(grid), fresh))
            final, _ = run_all(trainer, runs, draw_batches(batch_size, STEPS))
            losses = np.asarray(jax.vmap(lambda params: loss(params, train, None)[0])(final))
            counts.append((losses < 0.5).reshape(len(columns), SEEDS).sum(axis=1))
        cells = [" / ".join(map(str, column)) for column in zip(*counts, strict=True)]
        print(f"{name:24}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def diagnose(train, test) -> dict[str, dict[str, np.ndarray]]:
    """Prints the first table; returns each variant's metrics [step sizes, seeds, steps]."""
    grid = [(seed, size, 1, False) for size in DIAGNOSED_SIZES for seed in range(DIAGNOSED_SEEDS)]
    runs = Run(*map(jnp.asarray, zip(*grid, strict=True)))
    sizes = " / ".join(map(str, DIAGNOSED_SIZES))
    print(f"\na_e/a at a = {sizes}, no warm-up, {DIAGNOSED_STEPS} steps, {DIAGNOSED_SEEDS} seeds")
    print(
        f"{'':24}{'first 60':>24}{'predicted':>24}{'last 300':>24}{'predicted':>24}"
        f"{'sigma_w^2, first 60':>24}{'test accuracy':>24}"
    )
    histories = {}
    for name in [name for name in VARIANTS if "*" not in name and "uniform" not in name]:
        trainer = build_trainer(train, VARIANTS[name][0], every=EVERY)
        final, history = run_all(trainer, runs, draw_batches(250, DIAGNOSED_STEPS))
        shape = len(DIAGNOSED_SIZES), DIAGNOSED_SEEDS, DIAGNOSED_STEPS
        history = {key: np.asarray(x).reshape(shape) for key, x in history.items()}
        accuracy = np.asarray(jax.vmap(lambda params: measure_accuracy(params, test))(final))
        windows = slice(60), slice(-300, None)
        columns = [
            np.nanmean(history[key][..., window], axis=(1, 2))
            for window in windows
            for key in ("effective_learning_rate", "predicted_learning_rate")
        ]
        columns.append(history["consensus_distance"][..., windows[0]].mean(axis=(1, 2)))
        columns.append(accuracy.reshape(shape[:2]).mean(axis=1))
        cells = [" / ".join(f"{x:.3f}" for x in column) for column in columns]
        print(f"{name:24}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
        histories[name] = history
    return histories


def build_trainer(train, optimize, noise=0.0, *, every=0) -> Callable:
    """(run, order of the images) -> the final mean weights, and the metrics [num_steps]."""
    shares = jax.tree.map(lambda x: x.reshape(LEARNERS, -1, *x.shape[1:]), train)
    objective = weight_noise.perturb(loss, noise) if noise else loss
    diagnostics = None
    if every:
        diagnostics = landscape.diagnose(
            loss, learning_rate=1.0, reference=shares, every=every, curvature=False, num_pairs=1
        )

    def run(run: Run, order):
        keys = jax.random.split(jax.random.key(run.seed))
        optimizer = optimize(
            optax.sgd(lambda step: run.step_size * jnp.minimum(1.0, (step + 1) / run.warmup))
        )
        one = training.train_step(
            objective, optimizer, axis_name="learner", diagnostics=diagnostics
        )
        step = learners.spread(one, LEARNERS)
        params = init_params(jax.lax.select(run.fresh, keys[0], jax.random.key(0)))
        state = training.init_state(params, optimizer, keys[1], num_learners=LEARNERS)

        def advance(state, drawn):
            state, metrics = step(state, jax.tree.map(lambda x: jnp.asarray(x)[drawn], train))
            return state, {name: x[0] for name, x in metrics.items()}

        state, history = jax.lax.scan(advance, state, order[run.seed])
        return learners.average(state.params), history

    return run


@functools.partial(jax.jit, static_argnums=0)
def run_all(trainer: Callable, runs: Run, order):
    """One run after the other, each of which keeps the cores busy and the caches warm."""
    return jax.lax.map(lambda run: trainer(run, order), runs)


def draw_batches(batch_size: int, num_steps: int) -> np.ndarray:
    """Which images, [seeds, steps, learners, batch]: disjoint in a step, drawn anew each step."""
    generator = np.random.default_rng(0)
    rows = np.tile(np.arange(NUM_TRAIN, dtype=np.int32), (SEEDS * num_steps, 1))
    drawn = generator.permuted(rows, axis=1)[:, : LEARNERS * batch_size]
    return drawn.reshape(SEEDS, num_steps, LEARNERS, batch_size)


def init_params(key):
    """He-normal weights and zero biases."""
    return [
        (np.sqrt(2.0 / rows) * jax.random.normal(key, (rows, columns)), jnp.zeros(columns))
        for key, rows, columns in zip(jax.random.split(key, 3), SIZES, SIZES[1:], strict=False)
    ]


def apply(params, images):
    x = images
    for weights, bias in params[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    return x @ params[-1][0] + params[-1][1]


def loss(params, batch, key):
    del key
    images, labels = batch
    logits = apply(params, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), {}


def measure_accuracy(params, test):
    return jnp.mean(jnp.argmax(apply(params, test[0]), axis=-1) == test[1])


def draw(histories: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Loss, effective learning rate and spread at the largest step size, means of the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 8.0), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    for (name, history), color in zip(histories.items(), COLORS, strict=True):
        mean = {key: x[-1].mean(axis=0) for key, x in history.items()}
        steps = np.arange(DIAGNOSED_STEPS) + 1
        top.plot(steps, mean["loss"], color=color, linewidth=1.2, label=name)
        measured = np.isfinite(mean["effective_learning_rate"])
        for key, style in (("effective_learning_rate", "-"), ("predicted_learning_rate", ":")):
            middle.plot(
                steps[measured], smooth(mean[key][measured]), style, color=color, linewidth=1.4
            )
        if name != "SSGD":
            bottom.plot(steps, np.sqrt(mean["consensus_distance"]), color=color, linewidth=1.2)
    top.set_title(f"Training loss, a = {DIAGNOSED_SIZES[-1]}", loc="left")
    top.set_yscale("log")
    top.legend(frameon=False)
    middle.set_title(
        "Effective learning rate a_e / a; dotted: predicted from the spread", loc="left"
    )
    middle.set_ylim(0.0, 1.2)
    bottom.set_title("Spread of the learners, sigma_w", loc="left")
    bottom.set_yscale("log")
    bottom.set_xscale("log")
    bottom.set_xlabel("step")
    for panel in (top, middle, bottom):
        panel.grid(axis="y", color="#dddddd", linewidth=0.8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def smooth(values: np.ndarray, window: int = 5) -> np.ndarray:
    """Means over a centered window, narrower at the ends."""
    weights = np.convolve(np.ones_like(values), np.ones(window), "same")
    return np.convolve(values, np.ones(window), "same") / weights


if __name__ == "__main__":
    main()
