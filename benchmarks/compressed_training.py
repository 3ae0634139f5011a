"""Compressed against dense training on digits, at standard and at scaled-up learning rates.

    python benchmarks/compressed_training.py --figure compressed_training.png
    python benchmarks/compressed_training.py --settings "CNN, large batch" --rates 400

1,500 images of 8 x 8 pixels, momentum 0.9 after the compression, a tenth of the steps to ramp the
learning rate up and a twentieth of dense steps to begin with.  The settings:

    MLP                 64-50-50-10, 16 learners of 64 images, 600 steps at 0.1; the whole gradient
                        is one vector (but matrices for PowerSGD, layers for signs)
    CNN, standard       3 x 3 convolutions to 16 and 32 channels, a layer of 128 and one of 10; 4
                        learners of 16 images, 960 steps at 0.02
    CNN, large batch    the same in 120 steps of 8 times as many images (16 learners of 32), at 8
                        times the learning rate

Layers of the CNN are compressed one by one, its first one stays dense.  Medians over the seeds,
which draw weights and batches, of training loss and test accuracy; the worst accuracy; and, as
means over the last third, the Hamming distance d / 2k, the cosine of two learners' residuals, and
the residual over the gradient.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import large_step
import numpy as np
import optax

from gossamer.core import learners, similarity, sparsification, training
from gossamer.core.error_feedback import Compressor, error_feedback
from gossamer.core.low_rank import power_sgd
from gossamer.core.one_bit import signs
from gossamer.core.selection import CHUNKWISE


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
MEASURES = ("hamming_distance", "residual_cosine", "residual_ratio")
EVERY = 5


class Setting(NamedTuple):
    """A problem and how it is trained."""

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]  # (params, images [batch, 64]) -> [batch, 10]
    learners: int
    batch: int  # of a learner
    steps: int
    step_size: float
    whole: bool  # the gradient is one vector
    dense: Callable[[Any], Any] | None = None


def init_cnn(key):
    shapes = {
        "convolution_1": (3, 3, 1, 16),
        "convolution_2": (3, 3, 16, 32),
        "dense_1": (4 * 4 * 32, 128),
        "dense_2": (128, 10),
    }
    keys = jax.random.split(key, len(shapes))
    return {
        name: {
            "kernel": np.sqrt(2 / np.prod(shape[:-1])) * jax.random.normal(key, shape),
            "bias": jnp.zeros(shape[-1]),
        }
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def apply_cnn(params, images):
    x = images.reshape(-1, 8, 8, 1)
    for name in ("convolution_1", "convolution_2"):
        x = jax.nn.relu(convolve(x, params[name]["kernel"]) + params[name]["bias"])
    x = x.reshape(-1, 4, 2, 4, 2, x.shape[-1]).max((2, 4)).reshape(len(x), -1)
    x = jax.nn.relu(x @ params["dense_1"]["kernel"] + params["dense_1"]["bias"])
    return x @ params["dense_2"]["kernel"] + params["dense_2"]["bias"]


def convolve(x, kernel):
    """3 x 3 as one product: on the CPU, convolutions by kernels of many learners are slow."""
    rows, columns = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def first_layer(params):
    return {name: name == "convolution_1" for name in params}


SETTINGS = {
    "MLP": Setting(large_step.init_params, large_step.apply, 16, 64, 600, 0.1, whole=True),
    "CNN, standard": Setting(init_cnn, apply_cnn, 4, 16, 960, 0.02, False, first_layer),
    "CNN, large batch": Setting(init_cnn, apply_cnn, 16, 32, 120, 0.16, False, first_layer),
}


def main():
    parser = argparse.ArgumentParser(description="Training with compressed gradients.")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", nargs="+", type=float, default=[128])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--step-size", type=float, help="another learning rate")
    parser.add_argument("--figure", type=Path, help="where to draw training losses, a PNG")
    options = parser.parse_args()
    train, test = large_step.load_digits()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {options.seeds} seeds")
    start = time.perf_counter()
    histories = {}
    for name in options.settings:
        setting = SETTINGS[name]
        if options.step_size:
            setting = setting._replace(step_size=options.step_size)
        for rate in options.rates:
            title = f"{name}, learning rate {setting.step_size:g}, one element of {rate:g}"
            print(f"\n{title}")
            print(
                f"{'':30}{'loss':>10}{'accuracy':>10}{'worst':>8}{'d / 2k':>8}{'cosine':>8}"
                f"{'ratio':>8}"
            )
            histories[title] = {}
            for method in options.methods:
                losses, accuracies, report = run_seeds(
                    setting, METHODS[method], rate, options.seeds, train, test
                )
                histories[title][method] = report["loss"]
                cells = [
                    f"{np.nanmean(report[key][:, -setting.steps // 3 :]):8.3g}"
                    for key in MEASURES
                    if key in report
                ]
                print(
                    f"{method:30}{np.median(losses):10.3g}{np.median(accuracies):10.3f}"
                    f"{np.min(accuracies):8.3f}{''.join(cells)}",
                    flush=True,
                )
    if options.figure:
        draw(histories, options.figure)
    print(f"\n{time.perf_counter() - start:.0f} s")


def run_seeds(setting: Setting, method: Method, rate: float, num_seeds: int, train, test):
    """Final training losses and test accuracies [seeds], and the metrics [seeds, steps]."""

    def loss(params, batch, key):
        del key
        images, labels = batch
        logits = setting.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), {}

    optimizer, measure = build(setting, method, rate)
    step = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner", diagnostics=measure),
        setting.learners,
    )

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), 3)
        state = training.init_state(
            setting.init(keys[0]), optimizer, keys[1], num_learners=setting.learners
        )

        def advance(state, key):
            drawn = jax.random.randint(key, (setting.learners, setting.batch), 0, len(train[1]))
            state, report = step(state, jax.tree.map(lambda x: jnp.asarray(x)[drawn], train))
            return state, {name: x[0] for name, x in report.items()}

        state, report = jax.lax.scan(advance, state, jax.random.split(keys[2], setting.steps))
        return learners.average(state.params), report

    params, report = jax.jit(functools.partial(jax.lax.map, run))(jnp.arange(num_seeds))
    losses = jax.vmap(lambda x: loss(x, train, None)[0])(params)
    accuracies = jax.vmap(lambda x: jnp.mean(setting.apply(x, test[0]).argmax(-1) == test[1]))(
        params
    )
    return np.asarray(losses), np.asarray(accuracies), jax.tree.map(np.asarray, report)


def build(setting: Setting, method: Method, rate: float):
    """The optimizer, and what measures how alike the learners are."""
    measure = None
    if method.compressor is None:
        link = error_feedback(sparsification.clt_k(), 1.0)
    else:
        whole = setting.whole and not method.by_layer
        link = error_feedback(
            method.compressor,
            rate,
            beta=method.beta,
            warmup_steps=setting.steps // 20,
            dense=None if whole else setting.dense,
        )
        link = optax.flatten(link) if whole else link
        measure = similarity.diagnose(rate, every=EVERY)
    ramp = setting.steps // 10
    sgd = optax.sgd(
        lambda step: setting.step_size * jnp.minimum(1.0, (step + 1) / ramp), momentum=0.9
    )
    return optax.chain(link, sgd), measure


def draw(histories: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Training loss by step, median of the seeds, one panel for each setting and rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.4 * len(histories)), layout="constrained")
    panels = figure.subplots(len(histories), 1, squeeze=False)[:, 0]
    shown = ("dense", "ScaleCom, beta 1", "ScaleCom, beta 0.1", "local top-k")
    for axes, (title, history) in zip(panels, histories.items(), strict=True):
        for name, color in zip(shown, large_step.COLORS, strict=True):
            if name in history:
                median = np.median(history[name], axis=0)
                smooth = np.convolve(median, np.ones(10) / 10, "valid")
                steps = np.arange(len(smooth)) + 10
                axes.plot(steps, smooth, color=color, linewidth=1.4, label=name)
        axes.set_yscale("log")
        axes.set_title(f"Training loss: {title}", loc="left", fontsize="medium")
        axes.legend(frameon=False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("step")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
