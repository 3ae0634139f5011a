"""A training step through two bidirectional LSTM layers, 4 bits against float; then qwix.

    pip install qwix    # optional; without it the peer is left out
    python benchmarks/quantized_lstm.py

A step is the loss and its gradient with respect to weights and clips. In 4 bits it quantizes as the
policy ``int4_paper`` does: weights anew at each step, by SAWB+ with a clip for each gate; features
by asymmetric PACT+; hidden states by PACT+ with a clip for each direction. All take turns in one
process on the same inputs. The ratios are of the medians and of the least times; where other
programs disturb, the least times tell more.

What really is quantized, the second part shows. Of our layers it prints the audit. Of qwix, whose
rules ask for 4-bit weights and 8-bit activations in ``nn.RNN(nn.OptimizedLSTMCell)``, it counts the
products by the dtype of their operands and the roundings in the traced program, and compares the
outputs with those in float. qwix replaces functions of JAX while it traces a model; but the cell
multiplies by ``jnp.dot``, which is jitted, so what was traced first stays in JAX's cache. Hence the
models are traced in several orders, and with qwix's option ``disable_jit``.
"""

import argparse
import importlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from gossamer.core.audit import audit, table
from gossamer.core.blocks import MATRIX, gates
from gossamer.core.quantization import Policy, fake_quantize
from gossamer.core.quantizers import pact_plus, sawb_plus
from gossamer.speech.layers import CALIBRATION, CLIPS
from gossamer.speech.lstm import LSTM

BATCH, FRAMES, FEATURES, SIZE, LAYERS = 16, 200, 640, 320, 2
BUDGET = 1.25  # of a quantized step, in steps in float
POLICY = Policy(
    weights=(("layer_.*/(kernel|recurrent)", sawb_plus(4, gates(4))),),
    activations=(
        ("layer_0/input", pact_plus(4)),
        (".*/hidden", pact_plus(4, MATRIX, symmetric=True)),
    ),
)


class Stack(nn.Module):
    """Our layers."""

    policy: Policy | None = None

    @nn.compact
    def __call__(self, x: Any):
        """``[batch, time, features] -> [batch, time, 2 size]``."""
        for layer in range(LAYERS):
            codes = layer + 1 < LAYERS
            lstm = LSTM(SIZE, True, policy=self.policy, returns_codes=codes, name=f"layer_{layer}")
            x, _ = lstm(x)
        return x


class FlaxStack(nn.Module):
    """The same of flax's layers."""

    @nn.compact
    def __call__(self, x: Any):
        """``[batch, time, features] -> [batch, time, 2 size]``."""
        for _ in range(LAYERS):
            forward, backward = (nn.RNN(nn.OptimizedLSTMCell(SIZE)) for _ in range(2))
            x = nn.Bidirectional(forward, backward)(x)
        return x


def main():
    parser = argparse.ArgumentParser(description="Quantized LSTM layers: gossamer and qwix.")
    parser.add_argument("--turns", type=int, default=11, help="of each contender")
    options = parser.parse_args()
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], (BATCH, FRAMES, FEATURES))
    factors = jax.random.normal(keys[1], (BATCH, FRAMES, 2 * SIZE))  # of the outputs in the loss
    params: Any = Stack().init(keys[2], inputs)["params"]
    ours = {"params": params, CLIPS: calibrated_clips(params, inputs)}
    flaxs = {"params": as_flax(params)}
    qwix = import_qwix()

    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores\n"
        f"Forward and gradient, {LAYERS} layers, B={BATCH} T={FRAMES} {FEATURES} -> 2 x {SIZE}"
    )
    contenders = {"float": (Stack().apply, {"params": params}), "4 bits": (apply_quantized, ours)}
    if qwix:
        patched = quantize_by_qwix(qwix, disable_jit=True)[0]
        contenders |= {"flax, float": (FlaxStack().apply, flaxs), "qwix": (patched.apply, flaxs)}
    print_times(
        {
            name: compile_gradient(apply, variables, inputs, factors)
            for name, (apply, variables) in contenders.items()
        },
        options.turns,
    )

    codes = {**ours, "params": fake_quantize(POLICY).codes(params, {})}
    found = audit(Stack(POLICY).apply, codes, inputs, policy=POLICY, params=params)
    expected = jax.jit(Stack().apply)({"params": params}, inputs)
    error = deviation(jax.jit(apply_quantized)(ours, inputs), expected)
    print(f"\n{table(found)}\nOutputs deviate from float by {100 * error:.1f}% (root mean square).")
    if qwix:
        print(
            f"\n{'':36}{'in float':>10}{'in int8':>9}{'in int4':>9}{'roundings':>11}{'deviate':>9}"
        )
        print_flax("flax", FlaxStack(), flaxs, inputs, expected)
        print_qwix("qwix", qwix, flaxs, inputs, expected)
        jax.clear_caches()
        print_qwix("qwix, traced before flax", qwix, flaxs, inputs, expected)
        print_flax("flax, traced after qwix", FlaxStack(), flaxs, inputs, expected)
        jax.clear_caches()
        print_qwix("qwix, disable_jit", qwix, flaxs, inputs, expected, disable_jit=True)
        print_qwix(
            "qwix, disable_jit, int4 activations",
            qwix,
            flaxs,
            inputs,
            expected,
            disable_jit=True,
            activations="int4",
        )


def apply_quantized(variables, inputs):
    codes = fake_quantize(POLICY).codes(variables["params"], {})
    return Stack(POLICY).apply({**variables, "params": codes}, inputs)


def calibrated_clips(params, inputs) -> dict:
    """Clips of the sites, as they would choose them for the inputs."""
    first = Stack(POLICY).init(jax.random.key(0), inputs)[CLIPS]
    variables = {"params": params, CLIPS: first}
    _, noted = Stack(POLICY).apply(variables, inputs, mutable=[CALIBRATION])
    return {
        layer: {site: noted[CALIBRATION][layer][site][0] for site in sites}
        for layer, sites in first.items()
    }


def as_flax(params) -> dict:
    """Our parameters, one dense layer per gate and one cell per layer and direction."""

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


def import_qwix() -> Any:
    try:
        return importlib.import_module("qwix")
    except ImportError:
        print("qwix is missing and left out; `pip install qwix` adds it.")
        return None


def quantize_by_qwix(
    qwix: Any, *, disable_jit: bool = False, activations: str = "int8"
) -> tuple[nn.Module, Any]:
    """Flax's layers with 4-bit weights, as far as qwix gets, and its provider."""
    rule = qwix.QuantizationRule(
        module_path="OptimizedLSTMCell_.*", weight_qtype="int4", act_qtype=activations
    )
    provider = qwix.QtProvider([rule], disable_jit=disable_jit)
    return qwix.quantize_model(FlaxStack(), provider), provider


def compile_gradient(apply: Callable, variables, inputs, factors) -> tuple[Callable, float]:
    """A training step without its optimizer, and the seconds that compiling took."""

    def loss(variables, inputs):
        return jnp.sum(apply(variables, inputs) * factors)

    start = time.perf_counter()
    compiled = jax.jit(jax.value_and_grad(loss)).lower(variables, inputs).compile()
    return lambda: compiled(variables, inputs), time.perf_counter() - start


def print_times(contenders: dict[str, tuple[Callable, float]], turns: int) -> None:
    times = alternate({name: run for name, (run, _) in contenders.items()}, turns)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{'':16}{'median ms':>11}{'ratio':>8}{'least ms':>10}{'ratio':>8}{'compile s':>11}")
    for name, median in medians.items():
        print(
            f"{name:16}{1e3 * median:11.0f}{median / medians['float']:8.2f}"
            f"{1e3 * min(times[name]):10.0f}{min(times[name]) / min(times['float']):8.2f}"
            f"{contenders[name][1]:11.1f}"
        )
    print(f"The budget of 4 bits is a ratio of {BUDGET}.")


def alternate(contenders: dict[str, Callable], turns: int) -> dict[str, list[float]]:
    """Seconds of each, taking turns after one turn that does not count."""
    times = {name: [] for name in contenders}
    for turn in range(1 + turns):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def print_qwix(name: str, qwix: Any, variables, inputs, expected, **settings) -> None:
    model, provider = quantize_by_qwix(qwix, **settings)
    unused = "  rule unused"
    print_flax(
        name,
        model,
        variables,
        inputs,
        expected,
        lambda: unused if provider.get_unused_rules() else "",
    )


def print_flax(name: str, model: nn.Module, variables, inputs, expected, remark=lambda: "") -> None:
    """A row: products by dtype, roundings, and how far the outputs are from those in float."""

    def apply(variables, inputs):  # a new function, which JAX has not traced yet
        return model.apply(variables, inputs)

    program = jax.make_jaxpr(apply)(variables, inputs).jaxpr
    numbers = Counter()
    for kind, count in operations(program):
        numbers[kind] += count
    try:
        deviates = f"{100 * deviation(jax.jit(apply)(variables, inputs), expected):8.2f}%"
    except jax.errors.JaxRuntimeError as error:
        deviates = f"  does not compile: {str(error)[:120]}"
    print(
        f"{name:36}{numbers['float32']:10,}{numbers['int8']:9,}{numbers['int4']:9,}"
        f"{numbers['round']:11,}{deviates}{remark()}"
    )


def operations(program: Jaxpr, trips: int = 1) -> Iterator[tuple[str, int]]:
    """Products, by the dtype of their operands, and roundings, with how often each runs."""
    for equation in program.eqns:
        primitive = equation.primitive.name
        if primitive == "dot_general":
            operand: Any = equation.invars[0].aval
            yield str(operand.dtype), trips
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
