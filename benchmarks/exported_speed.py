"""The recognizer of arXiv:2206.07882 in its sizes on one processor core: real-time factors.

    taskset -c 0 python benchmarks/exported_speed.py --recognizers int4=runs/int4_paper
        --external float32=runs/external int4=runs/external-int4
        --source float32=runs/source int4=runs/source-int4

Encoder (6 bidirectional layers of 640, 50 frames a second), predictor (768), joiner (256) and
language models (2 layers of 2048, one of 768) have the sizes that are remembered of the paper. How
much a search does depends on what it reads, and random networks read nothing. So the search is
real: predictor, joiner and language models are small trained ones, made as large as the paper's by
units of weight zero, which takes the time of the large ones and gives the results of the small
ones, and they read the encoder vectors that the small recognizer has of telephone prompts, 25 a
second, with silence after each to make 50. The large encoder is random and reads the same
recordings; its vectors are thrown away.

The streaming encoder has 6 layers of 1088 in one direction and reads parts of 0.32 s. Prints
real-time factors and the bytes of all files that a search needs.
"""

import argparse
import dataclasses
import gc
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plain_errors
from turns import timed

from gossamer.core.quantized import Quantized
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import (
    experiment,
    language_model_config,
    language_model_run,
    transducer_config,
)
from gossamer.speech.corpora.corpus import telephone_prompts
from gossamer.speech.decoding import beam_search, greedy_decode
from gossamer.speech.deployment.arithmetic import Arithmetic
from gossamer.speech.deployment.export import Fusion, export
from gossamer.speech.front_end import recognizer_inputs
from gossamer.speech.fusion import FusedModels
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.recognizer import Recognizer
from gossamer.speech.transcriber.front_end import FeatureStream
from gossamer.speech.transcriber.transcriber import EncoderState, Search, Transcriber

PAPER = transducer_config.PRESETS["paper"]
STREAMING = dataclasses.replace(PAPER, encoder_size=1088, bidirectional=False)
PART = 16  # frames of 20 ms
ARITHMETICS: dict[str, list[tuple[Arithmetic, Arithmetic]]] = {  # recognizer, language models
    "float32": [("float", "float")],
    "int8": [("integer", "integer")],
    "int4": [("integer", "integer"), ("integer", "blockwise"), ("blockwise", "blockwise")],
}
MODELS = ("external", "source")
BEAMS = (1, 4, 8, 16, 32)
WEIGHTS = {"external_weight": 0.2, "source_weight": 0.1, "length_reward": 0.1}


def widen(tree: Any, like: Any) -> Any:
    """The same function in larger sizes: units of weight zero added, to each gate by itself.

    Args:
        tree: parameters of a small network, arrays or codes.
        like: shapes of the large network's.
    """

    def pad(name: str, x: Any, shape: tuple[int, ...]) -> Any:
        if isinstance(x, Quantized):
            scale = x.scale
            if scale.ndim and scale.shape[-1] > 1:
                scale = jnp.asarray(
                    pad_array(name, np.asarray(scale), (*scale.shape[:-1], shape[-1]))
                )
                scale = jnp.where(scale == 0, 1.0, scale)
            return x.replace(jnp.asarray(pad_array(name, np.asarray(x.codes), shape)), scale)
        return jnp.asarray(pad_array(name, np.asarray(x), shape))

    def pad_array(name: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        gates = 4 if name in ("kernel", "recurrent", "bias") and x.shape[0] == 1 else 1
        parts = np.split(x, gates, axis=-1)
        target = (*shape[:-1], shape[-1] // gates)
        padded = [
            np.pad(part, [(0, max(0, b - a)) for a, b in zip(part.shape, target, strict=True)])
            for part in parts
        ]
        return np.concatenate(padded, axis=-1)

    return {
        layer: {name: pad(name, x, like[layer][name].shape) for name, x in params.items()}
        for layer, params in tree.items()
    }


def shapes(model: Any, *inputs: Any) -> Any:
    return jax.eval_shape(model.copy(policy=None).init, jax.random.key(0), *inputs)["params"]


def enlarge(small: Recognizer, config: transducer_config.TransducerConfig) -> Recognizer:
    """A recognizer of the paper's sizes: encoder of random weights, the rest widened."""
    sizes = small.config.model
    config = dataclasses.replace(
        config, embedding_size=sizes.embedding_size, joiner=sizes.joiner, reduce_after=()
    )
    data = small.config.data
    if not config.bidirectional:
        data = dataclasses.replace(data, normalization="running")
    large = Recognizer(
        dataclasses.replace(small.config, model=config, data=data), small.vocabulary, None
    )
    variables = experiment.initial_parameters(large.model, seed=0)
    if "clips" in variables:
        bounds = {"clip_low": -2.0, "clip_high": 2.5, "clip": 0.8}
        variables["clips"] = jax.tree_util.tree_map_with_path(
            lambda path, clip: jnp.full_like(clip, bounds[path[-1].key]), variables["clips"]
        )
    found = deploy_variables(large.model.policy, variables)
    text = jnp.zeros((1, 2), jnp.int32)
    like = shapes(large.model, jnp.zeros((1, 8, 240)), jnp.zeros((1, 8)), text)
    names = ("embedding", "predictor", "predictor_projection", "output")
    small_params = {name: small.params["params"][name] for name in names}
    found["params"] |= widen(small_params, like)
    if "clips" in found:
        found["clips"] |= {n: c for n, c in small.params["clips"].items() if n in names}
    return large._replace(params=found)


def enlarge_model(small: TrainedLanguageModel, preset: str) -> TrainedLanguageModel:
    """A language model of the paper's sizes that gives what the small one gives."""
    config = dataclasses.replace(
        language_model_config.PRESETS[preset], embedding_size=small.config.embedding_size
    )
    if small.config.layers != config.layers:
        raise ValueError(f"the {preset} language model must have {config.layers} layers.")
    large = small._replace(config=config)
    like = shapes(large.model, jnp.zeros((1, 2), jnp.int32))
    params = dict(small.params) | {"params": widen(small.params["params"], like)}
    return large._replace(params=params)


def encode(small: Recognizer, waveforms: list[np.ndarray]) -> list[np.ndarray]:
    """What the search reads: vectors of the small encoder, with silence between, widened."""
    vectors = []
    for waveform in waveforms:
        x = jnp.asarray(waveform)[None]
        inputs, paddings = recognizer_inputs(small.config.data, x, jnp.zeros(x.shape))
        encoded, _ = small.model.apply(small.params, inputs, paddings, method="encode")
        encoded = np.asarray(encoded[0])
        silence = np.broadcast_to(encoded[:1], encoded.shape)
        joined = np.stack([encoded, silence], axis=1).reshape(-1, encoded.shape[1])
        vectors.append(np.pad(joined, ((0, 0), (0, PAPER.joiner_size - joined.shape[1]))))
    return vectors


def time_encoder(transcriber: Transcriber, waveforms: list[np.ndarray], rounds: int) -> float:
    return timed(lambda: [transcriber.encode(waveform) for waveform in waveforms], rounds)


def time_parts(transcriber: Transcriber, waveforms: list[np.ndarray], rounds: int) -> float:
    def run():
        for waveform in waveforms:
            state = EncoderState(transcriber._encoder, transcriber.manifest)
            features = FeatureStream(transcriber._front_end)
            frames = features.feed(waveform)
            for start in range(0, len(frames), PART):
                state.run(frames[start : start + PART], is_last=False)

    return timed(run, rounds)


def time_search(
    transcriber: Transcriber, vectors: list[np.ndarray], search: Search, rounds: int
) -> float:
    return timed(lambda: [transcriber.search(encoded, search) for encoded in vectors], rounds)


def time_xla(
    large: Recognizer,
    fusion: Fusion,
    waveforms: list[np.ndarray],
    vectors: list[np.ndarray],
    options: Any,
) -> tuple[float, list[float], list[float]]:
    """Seconds of the encoder, and of the search without and with language models, in JAX.

    Recordings are padded to the same length, so that each program is compiled once.
    """
    model: Any = large.model
    longest = max(map(len, waveforms))
    sounds = [np.pad(x, (0, longest - len(x)))[None] for x in waveforms]
    masks = [(np.arange(longest)[None] >= len(x)).astype(np.float32) for x in waveforms]

    @jax.jit
    def encode(params, sound, mask):
        inputs, paddings = recognizer_inputs(large.config.data, sound, mask)
        return model.apply(params, inputs, paddings, method="encode")

    def run(function, *arguments):
        for rows in zip(*arguments, strict=True):
            jax.block_until_ready(function(large.params, *rows))

    encoder = timed(lambda: run(encode, sounds, masks), options.rounds)
    frames = max(map(len, vectors))
    encoded = [np.pad(x, ((0, frames - len(x)), (0, 0)))[None] for x in vectors]
    paddings = [(np.arange(frames)[None] >= len(x)).astype(np.float32) for x in vectors]
    trained = list(fusion.models().values())
    fused = FusedModels(
        tuple(one.model for one in trained),
        tuple(one.params for one in trained),
        weights=(fusion.external_weight, -fusion.source_weight),
        length_reward=fusion.length_reward,
    )

    def build(beam, models):
        @jax.jit
        def search(params, encoded, paddings):
            network: Any = {
                "predictor_step": lambda *x: model.apply(params, *x, method="predict_step"),
                "joiner": lambda *x: model.apply(params, *x, method="join"),
                "initial_state": model.initial_state(1),
            }
            if beam == 1:
                return greedy_decode(encoded, paddings, **network)
            added = None if models is None else models.fusion()
            return beam_search(encoded, paddings, beam=beam, nbest=1, fusion=added, **network)

        return search

    def measure(beam, models):
        return timed(lambda: run(build_once(beam, models), encoded, paddings), options.rounds)

    programs: dict[Any, Any] = {}

    def build_once(beam, models):
        key = beam, models is None
        programs.setdefault(key, build(beam, models))
        return programs[key]

    return (
        encoder,
        [measure(beam, None) for beam in options.beams],
        [measure(beam, fused) for beam in options.beams if beam > 1],
    )


def pair(word: str) -> tuple[str, str]:
    """NAME=RUN in two."""
    name, run = word.split("=", 1)
    return name, run


def main():
    parser = argparse.ArgumentParser(description="Real-time factors of exported recognizers.")
    parser.add_argument(
        "--recognizers", nargs="*", type=pair, default=[], help="NAME=RUN, quantized ones"
    )
    parser.add_argument(
        "--external", nargs="+", type=pair, required=True, help="NAME=RUN, of float32 and each name"
    )
    parser.add_argument("--source", nargs="+", type=pair, required=True, help="likewise")
    parser.add_argument("--seconds", type=float, default=40.0, help="of recordings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--xla", nargs="*", default=[], help="names to run in JAX too")
    parser.add_argument("--prune", type=float, default=6.0, help="see `Search`")
    parser.add_argument("--beams", type=int, nargs="+", default=BEAMS)
    options = parser.parse_args()
    recognizers = {"float32": "prompts"} | dict(options.recognizers)
    models = {kind: dict(getattr(options, kind)) for kind in MODELS}
    for kind, runs in models.items():
        if missing := recognizers.keys() - runs.keys():
            parser.error(f"--{kind} lacks the runs of {', '.join(sorted(missing))}")
    found = {name: experiment.find_recognizer(run) for name, run in recognizers.items()}
    trained = {
        kind: {name: language_model_run.load(runs[name]) for name in recognizers}
        for kind, runs in models.items()
    }
    waveforms, total = [], 0.0
    for utterance in telephone_prompts().test:
        if total < options.seconds:
            waveforms.append(utterance.waveform)
            total += len(utterance.waveform) / 8000
    print(f"{len(waveforms)} recordings, {total:.1f} s\n")
    print(f"{'':28}{'MB':>8}{'encoder':>9}{'in parts':>9}", end="")
    print("".join(f"{f'beam {beam}':>9}" for beam in options.beams))
    with tempfile.TemporaryDirectory() as folder:
        for name, small in found.items():
            vectors = encode(small, waveforms)
            fusion = Fusion(
                enlarge_model(trained["external"][name], "external"),
                enlarge_model(trained["source"][name], "source"),
                **WEIGHTS,
            )
            whole, streaming = enlarge(small, PAPER), enlarge(small, STREAMING)
            if name in options.xla:
                encoder, *searches = time_xla(whole, fusion, waveforms, vectors, options)
                print(f"{f'{name} XLA':28}{'':8}{encoder / total:9.4f}{'':9}", end="")
                print("".join(f"{seconds / total:9.4f}" for seconds in searches[0]))
                print(f"{'  density ratio':28}{'':26}{'':9}", end="")
                print("".join(f"{seconds / total:9.4f}" for seconds in searches[1]), flush=True)
            for kind, model_kind in ARITHMETICS.get(name, ARITHMETICS["int4"]):
                path = Path(folder) / f"{name}-{kind}-{model_kind}"
                sizes = export(
                    whole, path, arithmetic=kind, model_arithmetic=model_kind, fusion=fusion
                )
                transcriber = Transcriber(path)
                gc.collect()
                gc.freeze()  # a program that reads speech does not hold all of JAX
                if kind == model_kind:
                    export(streaming, f"{path}-parts", arithmetic=kind)
                    encoders = [
                        time_encoder(transcriber, waveforms, options.rounds) / total,
                        time_parts(Transcriber(f"{path}-parts"), waveforms, options.rounds) / total,
                    ]
                    size = sum(size for part, size in sizes.items() if part not in MODELS)
                    print(f"{f'{name} {kind}':28}{size / 1e6:8.1f}", end="")
                    print("".join(f"{factor:9.4f}" for factor in encoders), end="", flush=True)
                    print_search(transcriber, vectors, total, options, fused=False)
                size = sum(sizes.values())
                print(f"{f'  density ratio, {model_kind}':28}{size / 1e6:8.1f}{'':18}", end="")
                print_search(transcriber, vectors, total, options, fused=True)


def print_search(
    transcriber: Transcriber, vectors: list[np.ndarray], total: float, options: Any, *, fused: bool
) -> None:
    """The real-time factors of the search with all beams, as the rest of a line."""
    weight = None if fused else 0.0  # None: as exported
    for beam in options.beams:
        if fused and beam == 1:
            print(f"{'':9}", end="")
            continue
        search = Search(beam, external_weight=weight, source_weight=weight, prune=options.prune)
        seconds = time_search(transcriber, vectors, search, options.rounds)
        print(f"{seconds / total:9.4f}", end="", flush=True)
    print()


if __name__ == "__main__":
    plain_errors.run(main)
