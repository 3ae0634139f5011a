"""The bidirectional LSTM layer, forward and gradient, against Flax and PyTorch.

    pip install torch    # optional; without it PyTorch is left out
    python benchmarks/lstm.py

All have the same weights and take turns in one process on the same inputs, with all cores, and
differentiate with respect to inputs and parameters; outputs and gradients must agree.  The floor is
the time of the matrix products alone, a multiplication and an addition per weight, row and frame
going forward and twice as many going back, at the rate of a large square product that takes its
turn among the rest.  The rates are of the medians; where other programs disturb, the least times
tell more.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import peers
from turns import alternate

from gossamer.speech.lstm import LSTM

BATCH, FRAMES, FEATURES, SIZE = 16, 200, 640, 320
PRODUCT_SIZE = 2048  # of the square matrices whose product gives the rate
FLOPS = 3 * 2 * 2 * BATCH * FRAMES * 4 * SIZE * (FEATURES + SIZE)  # forward and backward


def main():
    parser = argparse.ArgumentParser(description="A bidirectional LSTM layer: gossamer and peers.")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each")
    options = parser.parse_args()
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], (BATCH, FRAMES, FEATURES))
    weights = jax.random.normal(keys[1], (BATCH, FRAMES, 2 * SIZE))  # of the outputs in the loss
    layer = LSTM(SIZE, bidirectional=True)
    parameters: Any = layer.init(keys[2], inputs)
    contenders, compile_seconds = {}, {}
    for name, apply, params in (
        ("gossamer", lambda params, x: layer.apply(params, x)[0], parameters),
        (f"flax {flax.__version__}", build_flax().apply, as_flax(parameters)),
    ):
        gradient, compile_seconds[name] = compile_gradient(apply, params, inputs, weights)
        contenders[name] = lambda run=gradient, params=params: run(params, inputs)
    if (peer := build_torch(parameters, inputs, weights)) is not None:
        contenders.update([peer])
    check([run() for run in contenders.values()])

    square = jax.random.normal(keys[0], (PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(jnp.matmul)
    contenders["product"] = lambda: product(square, square)
    times = alternate(contenders, options.rounds)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    rate = 2 * PRODUCT_SIZE**3 / medians.pop("product")
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores\n"
        f"Forward and gradient, B={BATCH} T={FRAMES} {FEATURES} -> 2 x {SIZE}, float32; "
        f"{FLOPS / 1e9:.1f} GFLOP, floor {1e3 * FLOPS / rate:.0f} ms at {rate / 1e9:.0f} GFLOP/s "
        f"(least {1e3 * FLOPS / 2 / PRODUCT_SIZE**3 * min(times['product']):.0f} ms)"
    )
    print(
        f"{'':16}{'median ms':>11}{'ratio':>8}{'least ms':>10}{'ratio':>8}"
        f"{'GFLOP/s':>9}{'of rate':>9}{'compile s':>11}"
    )
    for name, median in medians.items():
        compile_time = f"{compile_seconds[name]:.2f}" if name in compile_seconds else "-"
        print(
            f"{name:16}{1e3 * median:11.0f}{median / medians['gossamer']:8.2f}"
            f"{1e3 * min(times[name]):10.0f}{min(times[name]) / min(times['gossamer']):8.2f}"
            f"{FLOPS / median / 1e9:9.0f}{100 * FLOPS / median / rate:8.0f}%{compile_time:>11}"
        )


def compile_gradient(apply: Callable, params, inputs, weights):
    """The jitted outputs and gradients, and the seconds that compiling took."""

    def loss(params, inputs):
        outputs = apply(params, inputs)
        return jnp.sum(outputs * weights), outputs

    def gradient(params, inputs):
        (_, outputs), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
            params, inputs
        )
        return outputs, gradients[1], gradients[0]

    start = time.perf_counter()
    compiled = jax.jit(gradient).lower(params, inputs).compile()
    return compiled, time.perf_counter() - start


def build_flax() -> nn.Module:
    forward, backward = (nn.RNN(nn.OptimizedLSTMCell(SIZE)) for _ in range(2))
    return nn.Bidirectional(forward, backward)


def as_flax(parameters) -> dict:
    """Our parameters, one dense layer per gate."""

    def cell(direction: int) -> dict:
        kernel, recurrent, bias = (
            jnp.split(parameters["params"][name][direction], 4, axis=-1)
            for name in ("kernel", "recurrent", "bias")
        )
        return {f"i{gate}": {"kernel": kernel[i]} for i, gate in enumerate("ifgo")} | {
            f"h{gate}": {"kernel": recurrent[i], "bias": bias[i]} for i, gate in enumerate("ifgo")
        }

    return {"params": {"forward_rnn": {"cell": cell(0)}, "backward_rnn": {"cell": cell(1)}}}


def build_torch(parameters, inputs, weights) -> tuple[str, Callable] | None:
    """PyTorch's layer with our parameters, if there is PyTorch."""
    torch = peers.find("torch")
    if torch is None:
        return None
    torch.set_num_threads(os.cpu_count() or 1)
    layer = torch.nn.LSTM(FEATURES, SIZE, batch_first=True, bidirectional=True)
    ours = jax.tree.map(np.asarray, parameters["params"])
    for direction, suffix in enumerate(("", "_reverse")):
        values = {
            "weight_ih_l0": ours["kernel"][direction].T,
            "weight_hh_l0": ours["recurrent"][direction].T,
            "bias_ih_l0": ours["bias"][direction],
            "bias_hh_l0": np.zeros(4 * SIZE, np.float32),
        }
        for name, value in values.items():
            getattr(layer, name + suffix).data = torch.tensor(value)
    features = torch.tensor(np.asarray(inputs), requires_grad=True)
    factors = torch.tensor(np.asarray(weights))

    def run():
        outputs, _ = layer(features)
        wanted = features, *layer.parameters()
        gradients = torch.autograd.grad((outputs * factors).sum(), wanted)
        return outputs.detach().numpy(), gradients[0].numpy()

    return f"torch {torch.__version__}", run


def check(results: list[tuple]) -> None:
    """Compares outputs and gradients with respect to the inputs with ours."""
    ours = results[0]
    for other in results[1:]:
        for expected, value in zip(ours[:2], other[:2], strict=True):
            expected, value = np.asarray(expected), np.asarray(value)
            error = np.abs(value - expected).max() / np.abs(expected).max()
            if not error < 1e-4:
                raise AssertionError(f"a peer's result differs by {error:.1e} of the largest")


if __name__ == "__main__":
    main()
