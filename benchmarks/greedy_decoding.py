"""Batched greedy decoding against the loop over utterances, frames and symbols in Python.

    python benchmarks/greedy_decoding.py

Both run the `small` transducer with random weights, its blank biased to a label in about every
third frame, on 6 s of speech per utterance.  The plain loop calls the jitted predictor and joiner
once a symbol.  Prints medians and their ratios.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech.decoding import greedy_decode
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import PRESETS

VOCABULARY, FRAMES, ROUNDS = 29, 150, 5
CONFIG = PRESETS["small"]
MODEL: Any = Transducer(CONFIG, VOCABULARY)


def initialize() -> Any:
    """Parameters of predictor and joiner; the blank's bias was tuned by hand."""
    labels = jnp.zeros((1, 1), jnp.int32)
    params: Any = MODEL.init(jax.random.key(0), jnp.zeros((1, 8, 240)), jnp.zeros((1, 8)), labels)
    bias = params["params"]["output"]["bias"]
    params["params"]["output"]["bias"] = bias.at[0].set(1.3)
    return params


def read_one(params, frames: jax.Array) -> list[int]:
    """Decodes one utterance, ``frames [frames, E]``, symbol by symbol."""
    predicted, state = _predict(params, jnp.zeros(1, jnp.int32), MODEL.initial_state(1))
    labels = []
    for t in range(len(frames)):
        for _ in range(4):
            label = int(_choose(params, frames, t, predicted))
            if label == 0:
                break
            labels.append(label)
            predicted, state = _predict(params, jnp.full(1, label), state)
    return labels


@jax.jit
def _predict(params, tokens, state):
    return MODEL.apply(params, tokens, state, method="predict_step")


@jax.jit
def _choose(params, frames, t, predicted):
    return jnp.argmax(MODEL.apply(params, frames[t][None], predicted, method="join"))


def build(batch: int, lookahead: int):
    """Our decoder, jitted."""

    @jax.jit
    def decode(params, encoded):
        return greedy_decode(
            encoded,
            jnp.zeros(encoded.shape[:2]),
            predictor_step=lambda *step: MODEL.apply(params, *step, method="predict_step"),
            joiner=lambda *pair: MODEL.apply(params, *pair, method="join"),
            initial_state=MODEL.initial_state(batch),
            lookahead=lookahead,
        )

    return decode


def measure(function, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main():
    params = initialize()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for batch in (1, 32):
        encoded = 8 * jax.random.normal(jax.random.key(1), (batch, FRAMES, CONFIG.joiner_size))
        decoders = {lookahead: build(batch, lookahead) for lookahead in (1, 2, 4, 8)}

        def plain_loop(params, encoded):
            return [read_one(params, frames) for frames in encoded]

        expected = plain_loop(params, encoded)
        for decode in decoders.values():
            result = jax.device_get(decode(params, encoded))
            for labels, paddings, reference in zip(*result[:2], expected, strict=True):
                if labels[paddings == 0].tolist() != reference:
                    raise AssertionError("the decoders disagree")
        rate = np.mean([len(labels) for labels in expected]) / FRAMES
        rounds = [
            [measure(function, params, encoded) for function in (plain_loop, *decoders.values())]
            for _ in range(ROUNDS)
        ]
        plain, *ours = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"batch {batch}, {rate:.2f} labels per frame: plain loop {1e3 * plain:.0f} ms")
        for lookahead, median in zip(decoders, ours, strict=True):
            ratio = plain / median
            print(f"  lookahead {lookahead}: {1e3 * median:8.2f} ms, {ratio:.0f} times faster")


if __name__ == "__main__":
    main()
