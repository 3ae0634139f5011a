"""What the tests of the audit share: a small recurrent network of codes, and its policy."""

import functools

import jax
import jax.numpy as jnp

from gossamer.core.audit import audit
from gossamer.core.blocks import gates
from gossamer.core.quantization import Policy, fake_quantize
from gossamer.core.quantized import dequantize, matmul, take
from gossamer.core.quantizers import fixed, max_abs, sawb_plus

PLAIN = Policy()
POLICY = Policy(
    weights=((".*/(kernel|recurrent)", sawb_plus(4, gates(4))), ("embedding", max_abs(8))),
    activations=((".*/(input|hidden)", fixed(4)),),
)
FIXED = functools.partial(fixed(4).codes, {})
X, W = jnp.ones((3, 5)), jnp.ones((5, 5))  # 75 multiply-accumulates


def products(function, *arguments, policy=PLAIN, params=(), **options):
    return audit(function, *arguments, policy=policy, params=params, **options).products


# A recurrent network: a lookup, an input product for all frames, a product in each step.


def make_params():
    cell = {"kernel": jnp.full((6, 8), 0.3), "recurrent": jnp.full((8, 8), -0.2)}
    return {"cell": cell, "embedding": jnp.full((11, 6), 0.7)}


def quantized(params, policy=POLICY):
    """Shapes of codes, of parameters or of a function that makes them: nothing is compiled."""
    transform = fake_quantize(policy)

    def codes():
        tree = params() if callable(params) else params
        return transform.codes(tree, transform.init(tree))

    return jax.eval_shape(codes)


def network(params, labels, *, quantizer=FIXED):
    """``[batch, time]`` labels to ``[time, batch, 8]`` states."""
    embedded = take(params["embedding"], labels, name="embedding")
    inputs = quantizer(dequantize(embedded)) if quantizer else embedded
    projected = matmul(inputs, params["cell"]["kernel"], name="cell/kernel")

    def step(hidden, projected):
        seen = quantizer(hidden) if quantizer else hidden
        recurrent = params["cell"]["recurrent"]
        hidden = jnp.tanh(projected + matmul(seen, recurrent, name="cell/recurrent"))
        return hidden, hidden

    zeros = jnp.zeros((labels.shape[0], 8))
    return jax.lax.scan(step, zeros, jnp.swapaxes(projected, 0, 1))[1]


LABELS = jnp.zeros((2, 9), jnp.int32)
