"""Batched beam search against the same search in Python, and against greedy decoding.

    python benchmarks/beam_search.py --rounds 3

All read 6 s of speech per utterance with the `small` transducer and random weights, its blank
biased to a label in about every third frame.  The plain search keeps its beam in a dictionary and
calls the jitted predictor and joiner once per alignment length, for all hypotheses of an utterance
together; both give the same labels, else the script stops.  Prints seconds of compiling, temporary
memory as XLA assigns it, the real-time factor, and how many times longer the plain search takes.
"""

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech.decoding import beam_search, greedy_decode
from gossamer.speech.transducer import PRESETS, Transducer

VOCABULARY, FRAMES, SECONDS, MAX_SYMBOLS = 29, 150, 6.0, 4
CONFIG = PRESETS["small"]
MODEL: Any = Transducer(CONFIG, VOCABULARY)


def initialize() -> Any:
    """Parameters of predictor and joiner; the blank's bias was tuned by hand."""
    labels = jnp.zeros((1, 1), jnp.int32)
    params: Any = MODEL.init(jax.random.key(0), jnp.zeros((1, 8, 240)), jnp.zeros((1, 8)), labels)
    bias = params["params"]["output"]["bias"]
    params["params"]["output"]["bias"] = bias.at[0].set(1.3)
    return params


def build(batch: int, beam: int):
    """Our search, jitted; a beam of 1 is greedy decoding."""

    @jax.jit
    def decode(params, encoded):
        network: dict[str, Any] = {
            "predictor_step": lambda *step: MODEL.apply(params, *step, method="predict_step"),
            "joiner": lambda *pair: MODEL.apply(params, *pair, method="join"),
            "initial_state": MODEL.initial_state(batch),
        }
        paddings = jnp.zeros(encoded.shape[:2])
        if beam == 1:
            return greedy_decode(encoded, paddings, **network)
        return beam_search(encoded, paddings, beam=beam, nbest=1, **network)

    return decode


@jax.jit
def _predict(params, tokens, state):
    return MODEL.apply(params, tokens, state, method="predict_step")


@jax.jit
def _join(params, encoded, predicted):
    logits = MODEL.apply(params, encoded, predicted, method="join")
    return jax.nn.log_softmax(logits)


def read_one(params, frames: np.ndarray, beam: int) -> tuple[int, ...]:
    """Reads one utterance; predictor vectors and states are kept for each label sequence."""
    memory: dict = {}
    hypotheses: dict = {(): (0.0, ())}
    best, best_score = (), -np.inf
    pending: dict = {(): (0, np.zeros((2, CONFIG.predictor_size), np.float32))}
    for step in range(2 * len(frames)):
        if pending:
            tokens, states = zip(*_padded(list(pending.values()), beam), strict=True)
            state = np.stack(states, axis=1)
            vectors, new = jax.device_get(
                _predict(params, np.asarray(tokens), (state[0], state[1]))
            )
            for row, labels in enumerate(pending):
                memory[labels] = vectors[row], np.stack([new[0][row], new[1][row]])
        rows = _padded([(step - len(labels), memory[labels][0]) for labels in hypotheses], beam)
        log_probs = np.asarray(
            _join(params, frames[[t for t, _ in rows]], np.stack([vector for _, vector in rows]))
        )
        extended: dict = {}
        for row, (labels, (score, times)) in enumerate(hypotheses.items()):
            t = step - len(labels)
            is_full = times.count(t) == MAX_SYMBOLS or len(labels) == len(frames)
            for token in range(1 if is_full else VOCABULARY):
                new_score = score + float(log_probs[row, token])
                if token == 0 and t == len(frames) - 1:
                    best, best_score = max((best, best_score), (labels, new_score), key=_score)
                    continue
                key = (*labels, token) if token else labels
                new_times = (*times, t) if token else times
                other, other_times = extended.get(key, (-np.inf, ()))
                likelier = new_times if new_score > other else other_times
                extended[key] = np.logaddexp(new_score, other), likelier
        kept = sorted(extended.items(), key=lambda pair: -pair[1][0])[:beam]
        hypotheses = dict(kept)
        if (
            not kept
            or np.logaddexp.reduce([score for score, _ in hypotheses.values()]) < best_score
        ):
            break
        pending = {
            labels: (labels[-1], memory[labels[:-1]][1])
            for labels in hypotheses
            if labels not in memory
        }
    return best


def _padded(rows: list, beam: int) -> list:
    """Repeats the first row, so that everything is compiled once."""
    return rows + rows[:1] * (beam - len(rows))


def _score(pair):
    return pair[1]


def measure(function, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    params = initialize()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {rounds} rounds")
    for batch in (1, 32):
        encoded = 8 * jax.random.normal(jax.random.key(1), (batch, FRAMES, CONFIG.joiner_size))
        frames = np.asarray(encoded)
        for beam in (1, 4, 16):
            start = time.perf_counter()
            decode = build(batch, beam).lower(params, encoded).compile()
            compiling = time.perf_counter() - start
            memory = decode.memory_analysis()
            found = jax.device_get(decode(params, encoded))
            ours = statistics.median(measure(decode, params, encoded) for _ in range(rounds))
            line = (
                f"batch {batch:2}, {'greedy ' if beam == 1 else f'beam {beam:2}'}: "
                f"compiling {compiling:.1f} s, temporary "
                f"{getattr(memory, 'temp_size_in_bytes', 0) / 1e6:.2f} MB, "
                f"real-time factor {ours / SECONDS / batch:.2g}"
            )
            if beam > 1:
                # The plain search reads utterances one by one: some tell the time of all.
                few = min(batch, 4)
                expected = [read_one(params, frames[row], beam) for row in range(few)]
                for row, labels in enumerate(expected):
                    ours_row = found.labels[row, 0][found.label_paddings[row, 0] == 0]
                    if ours_row.tolist() != list(labels):
                        raise AssertionError(f"the searches disagree in utterance {row}")
                start = time.perf_counter()
                for row in range(few):
                    read_one(params, frames[row], beam)
                plain = (time.perf_counter() - start) * batch / few
                line += f", the plain search takes {plain / ours:.0f} times as long"
            print(line, flush=True)


if __name__ == "__main__":
    main()
