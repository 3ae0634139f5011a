"""ScaleCom's filter at a scaled learning rate and high compression, on digits.

    python benchmarks/scaled_rate.py --figure scaled_rate.png

Sixteen learners of 64 images a step train an MLP 64-50-50-10 on 1,500 images of 8 x 8 pixels for
600 steps; momentum 0.9 follows the compression.  The whole gradient is one vector, but layers are
compressed one by one by PowerSGD and signs.  The learning rate rises over 60 steps, and the first
30 are dense.  Medians over the seeds, which draw weights
and batches; the last two columns are means over the last 200 steps.
"""

import argparse
import functools
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from large_step import COLORS, init_params, load_digits, loss, measure_accuracy

from gossamer.core import learners, similarity, sparsification, training
from gossamer.core.error_feedback import Compressor, error_feedback
from gossamer.core.low_rank import power_sgd
from gossamer.core.one_bit import signs
from gossamer.core.selection import CHUNKWISE

LEARNERS, BATCH, STEPS, RAMP, DENSE_STEPS, SEEDS, RATE = 16, 64, 600, 60, 30, 6, 128


class Method(NamedTuple):
    """How gradients are compressed, and the filter."""

    compressor: Compressor | None
    beta: float = 1.0
    by_layer: bool = False


METHODS = {
    "dense": Method(None),
    "largest of the mean (oracle)": Method(sparsification.global_top_k(CHUNKWISE)),
    "ScaleCom, beta 1": Method(sparsification.clt_k()),
    "ScaleCom, beta 0.3": Method(sparsification.clt_k(), 0.3),
    "ScaleCom, beta 0.1": Method(sparsification.clt_k(), 0.1),
    "local top-k": Method(sparsification.local_top_k()),
    "gTop-k": Method(sparsification.gtop_k()),
    "random k": Method(sparsification.random_k()),
    "random k, beta 0.1": Method(sparsification.random_k(), 0.1),
    "PowerSGD": Method(power_sgd(), by_layer=True),
    "1 bit": Method(signs(), by_layer=True),
    "1 bit, beta 0.1": Method(signs(), 0.1, by_layer=True),
}


def main():
    parser = argparse.ArgumentParser(description="Compression at scaled learning rates.")
    parser.add_argument("--figure", type=Path, help="where to draw training losses, a PNG")
    parser.add_argument("--rates", nargs="+", type=float, default=[RATE, 32])
    parser.add_argument("--step-sizes", nargs="+", type=float, default=[0.1, 0.02])
    options = parser.parse_args()
    train, test = load_digits()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {SEEDS} seeds")
    start = time.perf_counter()
    drawn = {}
    for size in options.step_sizes:
        for rate in options.rates:
            print(f"\nlearning rate {size:g}, one element of {rate:g}")
            print(f"{'':30}{'loss':>9}{'accuracy':>10}{'worst':>8}{'d / 2k':>8}{'cosine':>8}")
            for name, method in METHODS.items():
                losses, accuracies, report = run_seeds(train, test, method, size, rate)
                drawn[size, rate, name] = report["loss"]
                cells = [
                    f"{np.nanmean(report[key][:, -200:]):8.2f}"
                    for key in ("hamming_distance", "residual_cosine")
                    if key in report
                ]
                print(
                    f"{name:30}{np.median(losses):9.4g}{np.median(accuracies):10.3f}"
                    f"{np.min(accuracies):8.3f}{''.join(cells)}",
                    flush=True,
                )
    if options.figure:
        draw(drawn, options.figure)
    print(f"\n{time.perf_counter() - start:.0f} s")


def run_seeds(train, test, method: Method, size: float, rate: float):
    """Final training losses and test accuracies [seeds], and the metrics [seeds, steps]."""
    link, measure = optax.identity(), None
    if method.compressor is None:
        link = error_feedback(sparsification.clt_k(), 1.0)
    else:
        link = error_feedback(method.compressor, rate, beta=method.beta, warmup_steps=DENSE_STEPS)
        measure = similarity.diagnose(rate, every=5)
    if not method.by_layer:
        link = optax.flatten(link)
    optimizer = optax.chain(
        link, optax.sgd(lambda step: size * jnp.minimum(1.0, (step + 1) / RAMP), momentum=0.9)
    )
    step = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner", diagnostics=measure), LEARNERS
    )

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), 3)
        state = training.init_state(init_params(keys[0]), optimizer, keys[1], num_learners=LEARNERS)

        def advance(state, key):
            drawn = jax.random.randint(key, (LEARNERS, BATCH), 0, len(train[1]))
            state, report = step(state, jax.tree.map(lambda x: jnp.asarray(x)[drawn], train))
            return state, {name: x[0] for name, x in report.items()}

        state, report = jax.lax.scan(advance, state, jax.random.split(keys[2], STEPS))
        return learners.average(state.params), report

    params, report = jax.jit(functools.partial(jax.lax.map, run))(jnp.arange(SEEDS))
    losses = jax.vmap(lambda x: loss(x, train, None)[0])(params)
    accuracies = jax.vmap(lambda x: measure_accuracy(x, test))(params)
    return np.asarray(losses), np.asarray(accuracies), jax.tree.map(np.asarray, report)


def draw(drawn, path: Path) -> None:
    """Training loss by step, median of the seeds, at the largest step size and rate."""
    from matplotlib.figure import Figure

    size, rate = max(key[0] for key in drawn), max(key[1] for key in drawn)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    names = ["dense", "ScaleCom, beta 1", "ScaleCom, beta 0.1", "local top-k"]
    for name, color in zip(names, COLORS, strict=True):
        median = np.median(drawn[size, rate, name], axis=0)
        smooth = np.convolve(median, np.ones(10) / 10, "valid")
        axes.plot(np.arange(len(smooth)) + 10, smooth, color=color, linewidth=1.4, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_title(f"Training loss, learning rate {size:g}, one element of {rate:g}", loc="left")
    axes.legend(frameon=False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
