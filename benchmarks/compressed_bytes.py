"""Bytes that a learner sends in a step of compressed gradients, for 2 to 64 learners.

    python benchmarks/compressed_bytes.py

Gradients of 1,048,576 float32 elements as a matrix [1024, 1024], one element of 128. Bytes are
counted in the compiled program under ``shard_map``, by the ring algorithms; a formula that says
otherwise is printed.
"""

import argparse

import jax
import jax.numpy as jnp

parser = argparse.ArgumentParser(description="Bytes of compressed gradients.")
parser.add_argument("--learners", nargs="+", type=int, default=[2, 4, 8, 16, 32, 64])
parser.add_argument("--rate", type=float, default=128)
OPTIONS = parser.parse_args()
jax.config.update("jax_num_cpu_devices", max(OPTIONS.learners))  # before the first array exists

from gossamer.core import error_feedback, learners, sparsification, traffic  # noqa: E402
from gossamer.core.low_rank import power_sgd  # noqa: E402
from gossamer.core.one_bit import signs  # noqa: E402

SHAPE = (1024, 1024)
SCHEMES = {
    "dense": (sparsification.clt_k(), 1.0),
    "ScaleCom": (sparsification.clt_k(), OPTIONS.rate),
    "random k": (sparsification.random_k(), OPTIONS.rate),
    "PowerSGD": (power_sgd(), OPTIONS.rate),
    "gTop-k": (sparsification.gtop_k(), OPTIONS.rate),
    "local top-k": (sparsification.local_top_k(), OPTIONS.rate),
    "1 bit": (signs(), OPTIONS.rate),
}


def main():
    print(f"jax {jax.__version__}; kB that a learner sends, one element of {OPTIONS.rate:g}")
    print(f"{'':14}" + "".join(f"{f'n = {n}':>10}" for n in OPTIONS.learners) + f"{'less':>8}")
    for name, (compressor, rate) in SCHEMES.items():
        counted = [count(compressor, rate, n) for n in OPTIONS.learners]
        params = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
        n = OPTIONS.learners[-1]
        less = error_feedback.traffic(compressor, 1.0, params, n) / counted[-1]
        print(f"{name:14}" + "".join(f"{x / 1e3:10.1f}" for x in counted) + f"{less:8.1f}")
        predicted = error_feedback.traffic(compressor, rate, params, n)
        if abs(predicted - counted[-1]) > 8:  # the number of the step
            print(f"  the formula gives {predicted / 1e3:.1f} at n = {n}")


def count(compressor, rate: float, n: int) -> float:
    link = error_feedback.error_feedback(compressor, rate)
    gradients = jnp.zeros((n, *SHAPE))
    state = learners.replicate(link.init(gradients[0]), n)
    step = learners.spread(lambda g, s: link.update(g, s), n, engine="shard_map")
    return traffic.measure(step.lower(gradients, state).compile()).mean


if __name__ == "__main__":
    main()
