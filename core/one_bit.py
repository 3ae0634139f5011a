"""One bit for each element: signs with a common magnitude, gathered by all learners.

A learner sends the signs of u, eight in a byte, and the mean magnitude |u|, one for each array; all
learners average mean|u_i| sign(u_i).  What is sent grows with the number of learners.

References:
    F. Seide et al., "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel
        Distributed Training of Speech DNNs", 2014, Interspeech.
    S. P. Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes",
        2019, arXiv:1901.09847 (the magnitude).
"""

import functools

import jax
import jax.numpy as jnp

from . import mixing
from .error_feedback import Compressor, Reduced


def signs() -> Compressor:
    """The compressor of the module; whatever the rate, an element takes one bit."""

    def reduce(arrays, rates, memory, step, axis_name):
        del rates, step
        magnitudes = [jnp.mean(jnp.abs(x)) for x in arrays]
        bits = [jnp.packbits(x.reshape(-1) >= 0) for x in arrays]
        rest = [
            x - jnp.where(x >= 0, magnitude, -magnitude)
            for x, magnitude in zip(arrays, magnitudes, strict=True)
        ]
        gather = functools.partial(jax.lax.all_gather, axis_name=axis_name)
        all_bits, all_magnitudes = mixing.map_packed(gather, (bits, magnitudes))
        mean = [_decode(*each) for each in zip(all_bits, all_magnitudes, arrays, strict=True)]
        return Reduced(mean, rest, memory)

    def traffic(arrays, rates, num_learners):
        del rates
        return (num_learners - 1.0) * sum(-(-x.size // 8) + 4 for x in arrays)

    return Compressor(lambda arrays, rates: (), reduce, traffic)


def _decode(bits: jax.Array, magnitudes: jax.Array, like: jax.Array) -> jax.Array:
    """The mean over the learners of their signs [n, bytes] times their magnitudes [n]."""
    positive = jnp.unpackbits(bits, axis=1, count=like.size)
    signs = 2 * positive.astype(magnitudes.dtype) - 1
    return (magnitudes @ signs / len(magnitudes)).reshape(like.shape)
