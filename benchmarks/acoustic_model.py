"""A training step of the hybrid's acoustic model, in float and in 4 bits, against PyTorch.

    pip install torch    # optional; without it PyTorch is left out
    python benchmarks/acoustic_model.py [--preset paper --pdfs 32000 --batch 128 --frames 21]

A step is the frame cross-entropy of a batch of features and targets, its gradient, and Adam.  All
have the same weights and take turns in one process; losses must agree.  Augmentation, features,
dropout and DropConnect are left out on all sides.  The 4 bits are those of the policy int4_paper.
"""

import argparse
import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import peers
from turns import alternate

from gossamer.core.quantized_variables import quantize_variables
from gossamer.speech.calibration import calibrate
from gossamer.speech.hybrids.acoustic_model import AcousticModel
from gossamer.speech.hybrids.acoustic_model_config import PRESETS, AcousticModelConfig
from gossamer.speech.policies import named_policy

FEATURES, RATE = 240, 1e-3


def main():
    parser = argparse.ArgumentParser(
        description="Steps of an acoustic model: gossamer and PyTorch."
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default="small")
    parser.add_argument("--pdfs", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=100, help="of 20 ms")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    config = dataclasses.replace(PRESETS[options.preset], dropout=0.0, dropconnect=0.0)
    shape = (options.batch, options.frames)
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = jax.random.normal(keys[0], (*shape, FEATURES))
    targets = jax.random.randint(keys[1], shape, 0, options.pdfs)
    params: Any = AcousticModel(config, options.pdfs).init(keys[2], inputs, jnp.zeros(shape))

    contenders, seconds, losses = {}, {}, {}
    for name in ("float32", "int4_paper"):
        run, seconds[name], losses[name] = build_ours(
            config, options.pdfs, None if name == "float32" else name, params, inputs, targets
        )
        contenders[name] = run
    if (peer := build_torch(config, options.pdfs, params, inputs, targets)) is not None:
        name, contenders[name], losses[name] = peer
        if not np.isclose(losses[name], losses["float32"], rtol=1e-4):
            raise AssertionError(f"losses differ: {losses}")
    times = alternate(contenders, options.rounds)
    number = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores; "
        f"{options.preset}, {number / 1e6:.1f} M parameters, batch {options.batch} x "
        f"{options.frames} frames"
    )
    print(
        f"{'':16}{'median ms':>11}{'least ms':>10}{'frames/s':>10}{'ratio':>8}{'of least':>10}"
        f"{'compile s':>11}"
    )
    base = times["float32"]
    for name, taken in times.items():
        median, least = statistics.median(taken), min(taken)
        compiled = f"{seconds[name]:.1f}" if name in seconds else "-"
        print(
            f"{name:16}{1e3 * median:11.0f}{1e3 * least:10.0f}"
            f"{options.batch * options.frames / median:10.0f}"
            f"{median / statistics.median(base):8.2f}{least / min(base):10.2f}{compiled:>11}"
        )


def build_ours(
    config: AcousticModelConfig, pdfs: int, policy: Any, params: Any, inputs, targets
) -> tuple[Callable, float, float]:
    """A step that goes on from its last one, the seconds to compile it, and the first loss."""
    model = AcousticModel(config, pdfs, named_policy(policy))
    variables = params
    paddings = jnp.zeros(targets.shape)
    if policy is not None:
        rows = {"rows": inputs.reshape(-1, FEATURES)}
        clips = calibrate(
            model,
            params["params"],
            iter([rows]),
            lambda batch: (batch["rows"].reshape(inputs.shape), paddings),
        )
        variables = params | {"clips": clips}
    optimizer = optax.adam(RATE)
    apply: Callable[..., Any] = model.apply

    def loss(variables, inputs, targets):
        logits = apply(quantize_variables(model.policy, variables), inputs, paddings)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(variables, state, inputs, targets):
        value, gradient = jax.value_and_grad(loss)(variables, inputs, targets)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, updates), state, value

    held = [jax.tree.map(jnp.copy, variables), optimizer.init(variables)]
    start = time.perf_counter()
    compiled = step.lower(*held, inputs, targets).compile()
    seconds = time.perf_counter() - start

    def run():
        held[0], held[1], value = compiled(held[0], held[1], inputs, targets)
        return value

    return run, seconds, float(jax.jit(loss)(variables, inputs, targets))


def build_torch(
    config: AcousticModelConfig, pdfs: int, params: Any, inputs, targets
) -> tuple[str, Callable, float] | None:
    """The same network in PyTorch with our weights, if there is PyTorch."""
    torch = peers.find("torch")
    if torch is None:
        return None
    torch.set_num_threads(os.cpu_count() or 1)
    lstm = torch.nn.LSTM(
        FEATURES, config.size, num_layers=config.layers, batch_first=True, bidirectional=True
    )
    ours = jax.tree.map(np.asarray, params["params"])
    for layer in range(config.layers):
        weights = ours[f"encoder_{layer + 1}"]
        for direction, suffix in enumerate(("", "_reverse")):
            values = {
                "weight_ih": weights["kernel"][direction].T,
                "weight_hh": weights["recurrent"][direction].T,
                "bias_ih": weights["bias"][direction],
                "bias_hh": np.zeros(4 * config.size, np.float32),
            }
            for name, value in values.items():
                getattr(lstm, f"{name}_l{layer}{suffix}").data = torch.tensor(value)
    bottleneck = torch.nn.Linear(2 * config.size, config.bottleneck)
    states = torch.nn.Linear(config.bottleneck, pdfs)
    for linear, name in ((bottleneck, "bottleneck"), (states, "states")):
        linear.weight.data = torch.tensor(ours[name]["kernel"].T)
        linear.bias.data = torch.tensor(ours[name]["bias"])
    weights = [*lstm.parameters(), *bottleneck.parameters(), *states.parameters()]
    optimizer = torch.optim.Adam(weights, lr=RATE)
    features = torch.tensor(np.asarray(inputs))
    labels = torch.tensor(np.asarray(targets), dtype=torch.int64).flatten()

    def loss():
        hidden, _ = lstm(features)
        return torch.nn.functional.cross_entropy(states(bottleneck(hidden)).flatten(0, 1), labels)

    def run():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.item()

    return f"torch {torch.__version__}", run, loss().item()


if __name__ == "__main__":
    main()
