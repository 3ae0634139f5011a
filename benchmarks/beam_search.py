"""Batched beam search against the same search in Python, and against greedy decoding.

    python benchmarks/beam_search.py --rounds 3

All read 6 s of telephone prompts per utterance with the recognizer that ships.  The plain search
keeps its beam in a dictionary and calls the jitted predictor, joiner and language models once per
alignment length, for all hypotheses of an utterance together; both give the same labels, else the
script stops.  The density ratio takes LSTM language models of 384 and 256 cells, of random weights.
Prints seconds of compiling, temporary memory as XLA assigns it, the real-time factor without
encoder, and how many times longer the plain search takes.
"""

import argparse
import itertools
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech import recognizer
from gossamer.speech.corpora.corpus import telephone_prompts
from gossamer.speech.decoding import beam_search, greedy_decode
from gossamer.speech.front_end import recognizer_inputs
from gossamer.speech.fusion import FusedModels
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig

SECONDS, RATE, MAX_SYMBOLS = 6.0, 8000, 4
SHIPPED = recognizer.pretrained("prompts")
MODEL: Any = SHIPPED.model
VOCABULARY = len(SHIPPED.vocabulary)
LANGUAGE_MODELS = (  # external, source
    LanguageModelConfig(size=384, embedding_size=64),
    LanguageModelConfig(size=256, embedding_size=64),
)


def encode_speech(rows: int) -> jax.Array:
    """Encoder vectors of the telephone prompts, one after the other, in rows of 6 s."""
    waveform = np.concatenate([utterance.waveform for utterance in telephone_prompts().train])
    length = int(SECONDS * RATE)
    waveforms = jnp.asarray(waveform[: rows * length].reshape(rows, length))
    inputs, paddings = recognizer_inputs(SHIPPED.config.data, waveforms, jnp.zeros(waveforms.shape))
    return MODEL.apply(SHIPPED.params, inputs, paddings, method="encode")[0]


def initialize_models() -> FusedModels:
    """An external and a source model, of random weights."""
    models = tuple(LanguageModel(config, VOCABULARY) for config in LANGUAGE_MODELS)
    labels = jnp.zeros((1, 1), jnp.int32)
    params = tuple(model.init(jax.random.key(2), labels) for model in models)
    return FusedModels(models, params, weights=(0.3, -0.1))


def build(batch: int, beam: int):
    """Our search, jitted; a beam of 1 is greedy decoding."""

    @jax.jit
    def decode(params, encoded, language_models):
        network: dict[str, Any] = {
            "predictor_step": lambda *step: MODEL.apply(params, *step, method="predict_step"),
            "joiner": lambda *pair: MODEL.apply(params, *pair, method="join"),
            "initial_state": MODEL.initial_state(batch),
        }
        paddings = jnp.zeros(encoded.shape[:2])
        if beam == 1:
            return greedy_decode(encoded, paddings, **network)
        fusion = None if language_models is None else language_models.fusion()
        return beam_search(encoded, paddings, beam=beam, nbest=1, fusion=fusion, **network)

    return decode


@jax.jit
def _predict(params, language_models, tokens, state):
    """The predictor's vectors, what language models add to each label, and the new states."""
    predictor, fused = state
    predicted, predictor = MODEL.apply(params, tokens, predictor, method="predict_step")
    if language_models is None:
        return predicted, jnp.zeros((len(tokens), VOCABULARY)), (predictor, fused)
    increments, fused = language_models.fusion().step(tokens, fused)
    return predicted, increments.at[:, 0].set(0), (predictor, fused)


@jax.jit
def _join(params, encoded, predicted):
    logits = MODEL.apply(params, encoded, predicted, method="join")
    return jax.nn.log_softmax(logits)


def read_one(params, language_models, frames: np.ndarray, beam: int) -> tuple[int, ...]:
    """Reads one utterance; predictor vectors and states are kept for each label sequence."""
    fused = () if language_models is None else language_models.fusion().initial_state(1)
    start = jax.tree.map(lambda leaf: np.asarray(leaf[0]), (MODEL.initial_state(1), fused))
    memory: dict = {}
    hypotheses: dict = {(): (0.0, ())}
    best, best_score = (), -np.inf
    pending: dict = {(): (0, start)}
    for step in range(2 * len(frames)):
        if pending:
            tokens, states = zip(*_padded(list(pending.values()), beam), strict=True)
            state = jax.tree.map(lambda *rows: np.stack(rows), *states)
            found = jax.device_get(_predict(params, language_models, np.asarray(tokens), state))
            for row, labels in enumerate(pending):
                memory[labels] = jax.tree.map(lambda leaf, row=row: leaf[row], found)
        rows = _padded([(step - len(labels), memory[labels][0]) for labels in hypotheses], beam)
        log_probs = np.asarray(
            _join(params, frames[[t for t, _ in rows]], np.stack([vector for _, vector in rows]))
        )
        extended: dict = {}
        for row, (labels, (score, times)) in enumerate(hypotheses.items()):
            t = step - len(labels)
            is_full = times.count(t) == MAX_SYMBOLS or len(labels) == len(frames)
            for token in range(1 if is_full else VOCABULARY):
                new_score = score + float(log_probs[row, token] + memory[labels][1][token])
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
        rest = np.logaddexp.reduce([score for score, _ in hypotheses.values()] or [-np.inf])
        if not kept or (language_models is None and rest < best_score):
            break
        pending = {
            labels: (labels[-1], memory[labels[:-1]][2])
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
    params = SHIPPED.params
    density_ratio = initialize_models()
    speech = jax.jit(encode_speech, static_argnums=0)(32)
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {rounds} rounds")
    searches = {
        "greedy": (1, None),
        "beam 4": (4, None),
        "beam 16": (16, None),
        "beam 4, density ratio": (4, density_ratio),
        "beam 16, density ratio": (16, density_ratio),
    }
    for batch, (name, (beam, models)) in itertools.product((1, 32), searches.items()):
        encoded = speech[:batch]
        print(
            f"batch {batch:2}, {name:23}{report(params, models, encoded, beam, rounds)}", flush=True
        )


def report(params, models: FusedModels | None, encoded: jax.Array, beam: int, rounds: int) -> str:
    """What a search takes, against the plain one."""
    batch, frames = len(encoded), np.asarray(encoded)
    start = time.perf_counter()
    decode = build(batch, beam).lower(params, encoded, models).compile()
    compiling = time.perf_counter() - start
    memory = decode.memory_analysis()
    found = jax.device_get(decode(params, encoded, models))
    ours = statistics.median(measure(decode, params, encoded, models) for _ in range(rounds))
    line = (
        f"compiling {compiling:.1f} s, temporary "
        f"{getattr(memory, 'temp_size_in_bytes', 0) / 1e6:.2f} MB, "
        f"real-time factor {ours / SECONDS / batch:.2g}"
    )
    if beam == 1:
        return line
    # The plain search reads utterances one by one: some tell the time of all.
    few = min(batch, 4)
    expected = [read_one(params, models, frames[row], beam) for row in range(few)]
    for row, labels in enumerate(expected):
        ours_row = found.labels[row, 0][found.label_paddings[row, 0] == 0]
        if ours_row.tolist() != list(labels):
            raise AssertionError(f"the searches disagree in utterance {row}")
    start = time.perf_counter()
    for row in range(few):
        read_one(params, models, frames[row], beam)
    plain = (time.perf_counter() - start) * batch / few
    return f"{line}, the plain search takes {plain / ours:.0f} times as long"


if __name__ == "__main__":
    main()
