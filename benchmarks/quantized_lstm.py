"""A training step through two bidirectional LSTM layers, 4 bits against float; then qwix.

    pip install qwix    # optional; without it the peer is left out
    python benchmarks/quantized_lstm.py

A step is the loss and its gradient with respect to weights and clips. In 4 bits it quantizes as the
policy ``int4_paper`` does: weights anew at each step, by SAWB+ with a clip for each gate; features
by asymmetric PACT+; hidden states by PACT+ with a clip for each direction. Both take turns in one
process on the same inputs. The ratios are of the medians and of the least times; where other
programs disturb, the least times tell more.

The second part shows what really is quantized: of our layers by the audit; of qwix, whose rules ask
for 4-bit weights and 8-bit activations in the cells of ``nn.RNN(nn.OptimizedLSTMCell)``, by the
products and roundings of the traced program, each counted as often as it runs. Its outputs are to
be compared with ours in 8 bits. qwix replaces functions of JAX while it traces a model; but the
cell multiplies by ``jnp.dot``, which is jitted, so that JAX's cache decides: what was traced first
is used again, in float or quantized, for either model. Hence the different orders, and qwix's
option ``disable_jit``.
"""

import argparse
import functools
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import peers
from jax.extend.core import Jaxpr
from turns import alternate

from gossamer.core.audit import audit, table
from gossamer.core.blocks import MATRIX, gates
from gossamer.core.quantization import Policy, fake_quantize
from gossamer.core.quantizers import calibrated, max_abs, pact_plus, sawb_plus
from gossamer.core.sites import CALIBRATION, CLIPS
from gossamer.speech.lstm import LSTM

BATCH, FRAMES, FEATURES, SIZE, LAYERS = 16, 200, 640, 320, 2
BUDGET = 1.25  # of a step in 4 bits, in steps in float
FOUR_BITS = Policy(
    weights=((".*/(kernel|recurrent)", sawb_plus(4, gates(4))),),
    activations=(
        ("layer_0/input", pact_plus(4)),
        (".*/hidden", pact_plus(4, MATRIX, symmetric=True)),
    ),
)
EIGHT_BITS = Policy(
    weights=((".*/(kernel|recurrent)", max_abs(8, gates(4))),),
    activations=(
        ("layer_0/input", calibrated(8, method="max")),
        (".*/hidden", calibrated(8, MATRIX, method="max")),
    ),
)


class Stack(nn.Module):
    """Our layers."""

    policy: Policy | None = None

    @nn.compact
    def __call__(self, x):
        """``[batch, time, features] -> [batch, time, 2 size]``."""
        for layer in range(LAYERS):
            is_last = layer == LAYERS - 1
            x, _ = LSTM(
                SIZE,
                bidirectional=True,
                policy=self.policy,
                returns_codes=not is_last,
                name=f"layer_{layer}",
            )(x)
        return x


class FlaxStack(nn.Module):
    """The same of flax's layers."""

    @nn.compact
    def __call__(self, x):
        """``[batch, time, features] -> [batch, time, 2 size]``."""
        for _ in range(LAYERS):
            forward, backward = (nn.RNN(nn.OptimizedLSTMCell(SIZE)) for _ in range(2))
            outputs: Any = nn.Bidirectional(forward, backward)(x)
            x = outputs
        return x


def main():
    parser = argparse.ArgumentParser(description="Quantized LSTM layers: gossamer and qwix.")
    parser.add_argument("--turns", type=int, default=11, help="of each contender")
    options = parser.parse_args()
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], (BATCH, FRAMES, FEATURES))
    factors = jax.random.normal(keys[1], (BATCH, FRAMES, 2 * SIZE))  # of the outputs in the loss
    params: Any = Stack().init(keys[2], inputs)["params"]
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores\n"
        f"Forward and gradient, {LAYERS} layers, B={BATCH} T={FRAMES} {FEATURES} -> 2 x {SIZE}"
    )
    compare_steps(params, inputs, factors, options.turns)
    expected = jax.jit(Stack().apply)({"params": params}, inputs)
    audit_ours(params, inputs, expected)
    print()
    qwix = peers.find("qwix")
    if qwix is not None:
        count_peers(qwix, {"params": as_flax(params)}, inputs, expected)


def compare_steps(params, inputs, factors, turns: int) -> None:
    """Prints the times of steps in float and in 4 bits."""
    contenders, compile_seconds = {}, {}
    for name, apply, variables in (
        ("float", Stack().apply, {"params": params}),
        ("4 bits", *quantized(FOUR_BITS, params, inputs)),
    ):
        step, compile_seconds[name] = compile_step(apply, variables, inputs, factors)
        contenders[name] = functools.partial(step, variables, inputs)
    times = alternate(contenders, turns)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{'':8}{'median ms':>11}{'ratio':>8}{'least ms':>10}{'ratio':>8}{'compile s':>11}")
    for name, median in medians.items():
        print(
            f"{name:8}{1e3 * median:11.0f}{median / medians['float']:8.2f}"
            f"{1e3 * min(times[name]):10.0f}{min(times[name]) / min(times['float']):8.2f}"
            f"{compile_seconds[name]:11.1f}"
        )
    print(f"The budget is a ratio of {BUDGET}.\n")


def audit_ours(params, inputs, expected) -> None:
    """Prints the audit of our layers in 4 bits, and how far their outputs are from float."""
    _, variables = quantized(FOUR_BITS, params, inputs)
    codes = {**variables, "params": fake_quantize(FOUR_BITS).codes(params, {})}
    found = audit(Stack(FOUR_BITS).apply, codes, inputs, policy=FOUR_BITS, params=params)
    print(table(found))
    for bits, policy in ((4, FOUR_BITS), (8, EIGHT_BITS)):
        apply, variables = quantized(policy, params, inputs)
        error = deviation(jax.jit(apply)(variables, inputs), expected)
        counts = count_operations(apply, variables, inputs)
        print(
            f"In {bits} bits outputs deviate from float by {100 * error:.2f}%; {counts['float32']} "
            f"products, of whole numbers in float32, and {counts['round']} roundings."
        )


def count_peers(qwix: Any, variables, inputs, expected) -> None:
    """Prints the products and roundings of flax's layers and of what qwix makes of them."""

    def show(name: str, model: nn.Module, provider: Any = None) -> None:
        def apply(variables, inputs):  # a new function each time: JAX has not traced it yet
            return model.apply(variables, inputs)

        counts = count_operations(apply, variables, inputs)
        try:
            error = 100 * deviation(jax.jit(apply)(variables, inputs), expected)
            outcome = f"{error:.2f}%"
        except jax.errors.JaxRuntimeError:
            outcome = "no program"
        unused = provider is not None and provider.get_unused_rules()
        columns = (f"{counts[kind]:,}" for kind in ("float32", "int8", "int4", "round"))
        print(f"{name:36}" + "".join(f"{x:>11}" for x in (*columns, outcome)), end="")
        print("  the rule matched nothing" if unused else "")

    def quantize(activations: str = "int8", *, disable_jit: bool = False) -> tuple[nn.Module, Any]:
        rule = qwix.QuantizationRule(
            module_path="OptimizedLSTMCell_.*", weight_qtype="int4", act_qtype=activations
        )
        provider = qwix.QtProvider([rule], disable_jit=disable_jit)
        return qwix.quantize_model(FlaxStack(), provider), provider

    print(f"\n{'products, by dtype of operands':36}", end="")
    print("".join(f"{x:>11}" for x in ("float32", "int8", "int4", "roundings", "deviation")))
    jax.clear_caches()
    show("flax", FlaxStack())
    show("qwix, traced after flax", *quantize())
    jax.clear_caches()
    show("qwix, traced first", *quantize())
    show("flax, traced after qwix", FlaxStack())
    jax.clear_caches()
    show("qwix, disable_jit", *quantize(disable_jit=True))
    show("qwix, disable_jit, int4 activations", *quantize("int4", disable_jit=True))


def quantized(policy: Policy, params, inputs) -> tuple[Callable, dict[str, Any]]:
    """Our layers with weights quantized on the way, and their variables, calibrated."""
    stack = Stack(policy)

    def apply(variables, inputs):
        codes = fake_quantize(policy).codes(variables["params"], {})
        return stack.apply({**variables, "params": codes}, inputs)

    first = stack.init(jax.random.key(0), inputs)[CLIPS]
    _, noted = stack.apply({"params": params, CLIPS: first}, inputs, mutable=[CALIBRATION])
    clips = {
        layer: {site: noted[CALIBRATION][layer][site][0] for site in sites}
        for layer, sites in first.items()
    }
    return apply, {"params": params, CLIPS: clips}


def as_flax(params) -> dict:
    """Our parameters, one cell per layer and direction, in which each gate is a dense layer."""

    def cell(layer: int, direction: int) -> dict:
        kernel, recurrent, bias = (
            jnp.split(params[f"layer_{layer}"][name][direction], 4, axis=-1)
            for name in ("kernel", "recurrent", "bias")
        )
        return {f"i{gate}": {"kernel": kernel[i]} for i, gate in enumerate("ifgo")} | {
            f"h{gate}": {"kernel": recurrent[i], "bias": bias[i]} for i, gate in enumerate("ifgo")
        }

    return {
        f"OptimizedLSTMCell_{2 * layer + direction}": cell(layer, direction)
        for layer in range(LAYERS)
        for direction in range(2)
    }


def compile_step(apply: Callable, variables, inputs, factors) -> tuple[Callable, float]:
    """The jitted loss and gradient, and the seconds that compiling took."""

    def loss(variables, inputs):
        return jnp.sum(apply(variables, inputs) * factors)

    start = time.perf_counter()
    compiled = jax.jit(jax.value_and_grad(loss)).lower(variables, inputs).compile()
    return compiled, time.perf_counter() - start


def count_operations(function: Callable, *arguments) -> Counter:
    """How often each of `operations` runs in a call."""
    counts = Counter()
    for kind, times in operations(jax.make_jaxpr(function)(*arguments).jaxpr):
        counts[kind] += times
    return counts


def operations(program: Jaxpr, trips: int = 1) -> Iterator[tuple[str, int]]:
    """Products, by the dtype of their operands, and roundings, with how often each runs."""
    for equation in program.eqns:
        primitive = equation.primitive.name
        if primitive == "dot_general":
            aval: Any = equation.invars[0].aval
            yield str(aval.dtype), trips
        if primitive == "round":
            yield "round", trips
        inner = trips * equation.params["length"] if primitive == "scan" else trips
        for leaf in jax.tree.leaves(equation.params):
            within = getattr(leaf, "jaxpr", leaf)
            if isinstance(within, Jaxpr):
                yield from operations(within, inner)


def deviation(outputs: jax.Array, expected: jax.Array) -> float:
    """Root mean square of the difference, relative to that of `expected`."""
    return float(jnp.sqrt(jnp.mean((outputs - expected) ** 2) / jnp.mean(expected**2)))


if __name__ == "__main__":
    main()
