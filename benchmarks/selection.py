"""Time to select one element of 128 from a gradient: chunk-wise against sorts.

    python benchmarks/selection.py
    python benchmarks/selection.py --torch       (with torch installed)

Medians of turns in one process, as time, as nanoseconds for each element, and over the time of
``jnp.sum``, which also reads the array once.  torch runs on as many threads as XLA.
"""

import argparse
import functools
import os
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import peers
from turns import alternate

from gossamer.core import selection

CHUNK = 128


def main():
    parser = argparse.ArgumentParser(description="Selection of the largest elements.")
    parser.add_argument("--turns", type=int, default=21)
    parser.add_argument("--torch", action="store_true", help="measure torch.topk, too")
    options = parser.parse_args()
    if options.torch:
        peers.require("torch")
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {options.turns} turns")
    for size in (1 << 16, 1 << 20, 1 << 24):
        x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        contenders = build(jnp.asarray(x), size // CHUNK)
        if options.torch:
            contenders |= build_torch(x, size // CHUNK)
        times = alternate(contenders, options.turns)
        medians = {name: statistics.median(seconds) for name, seconds in times.items()}
        print(f"\n{size:,} elements{'ms':>20}{'ns/element':>12}{'over sum':>12}{'to ours':>9}")
        for name, seconds in medians.items():
            print(
                f"{name:24}{1e3 * seconds:12.3f}{1e9 * seconds / size:12.2f}"
                f"{seconds / medians['jnp.sum']:12.1f}{seconds / medians['chunk-wise']:9.1f}"
            )


def build(x: jax.Array, count: int):
    functions = {
        "jnp.sum": jnp.sum,
        "chunk-wise": lambda x: selection.largest_in_chunks(x, CHUNK),
        "argmax of chunks": lambda x: jnp.argmax(jnp.abs(x.reshape(-1, CHUNK)), axis=1),
        "lax.top_k": lambda x: selection.largest(x, count),
        "lax.approx_max_k": lambda x: jax.lax.approx_max_k(jnp.abs(x), count)[1],
    }
    jitted = {name: jax.jit(function) for name, function in functions.items()}
    return {name: functools.partial(function, x) for name, function in jitted.items()}


def build_torch(x: np.ndarray, count: int):
    torch = peers.require("torch")

    torch.set_num_threads(os.cpu_count() or 1)
    tensor = torch.from_numpy(x)
    return {
        "torch.topk": lambda: torch.topk(tensor.abs(), count).indices.numpy(),
        "torch.topk, unsorted": lambda: torch.topk(
            tensor.abs(), count, sorted=False
        ).indices.numpy(),
    }


if __name__ == "__main__":
    main()
