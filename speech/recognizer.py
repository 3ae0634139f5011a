"""A trained transducer, from waveform to text, and its packed file.

A packed recognizer is one safetensors file: the parameters in half precision or as packed codes
(see `packing`), and in the header the configuration and the vocabulary as JSON.  It is a tenth of
a training checkpoint or less and holds no code.
"""

import itertools
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import cattrs
import jax
import numpy as np

from ..core import packing
from . import combination, pauses, waveform_batches
from .beam import NBest, beam_search
from .combination import Network
from .decoding import greedy_decode
from .features import HOP_SECONDS, STACK
from .front_end import recognizer_inputs
from .fusion import FusedModels
from .policies import named_policy
from .run_config import DataConfig, SpeechConfig
from .text import Vocabulary
from .transcript import Transcript, join_pieces
from .transducer import Transducer

_SHIPPED = resources.files("gossamer.speech") / "pretrained"
FORMATS = ("gossamer-recognizer-1", "gossamer-recognizer-2")  # those that `load` reads


class Recognizer(NamedTuple):
    """What is needed to read speech."""

    config: SpeechConfig
    vocabulary: Vocabulary
    params: Any  # the transducer's variables: float32, or codes and clips if quantized
    partners: tuple["Recognizer", ...] = ()  # that read with it, see `combine`

    @property
    def model(self) -> Transducer:
        """The transducer that ``params`` belong to."""
        return Transducer(
            self.config.model,
            vocabulary_size=len(self.vocabulary),
            policy=named_policy(self.config.quantize),
        )


def combine(recognizers: Sequence[Recognizer]) -> Recognizer:
    """Makes recognizers read together, by the mean of their log probabilities.

    Args:
        recognizers: at least one; of other sizes, policies or features if need be, but over the
            same labels, sample rate and frames.

    Returns:
        The first one with the others as partners, for every search but streams; it can be neither
        saved nor exported.

    Raises:
        ValueError: if they do not fit together.
    """
    first, *others = recognizers
    for other in others:
        for what, own, found in (
            ("letters", first.vocabulary.characters, other.vocabulary.characters),
            ("sample rate", first.config.data.sample_rate, other.config.data.sample_rate),
            ("`model.reduction`", first.config.model.reduction, other.config.model.reduction),
        ):
            if own != found:
                raise ValueError(
                    f"recognizers that read together must have the same {what}, got {own} and "
                    f"{found}."
                )
    team = [each for one in recognizers for each in (one, *one.partners)]
    alone = [each._replace(partners=()) for each in team]
    return alone[0]._replace(partners=tuple(alone[1:]))


def check_alone(recognizer: Recognizer) -> None:
    """Refuses recognizers that read together, where one network is asked for.

    Raises:
        ValueError: if they do.
    """
    if recognizer.partners:
        raise ValueError(
            "`recognizer` reads together with others; save, export or stream each one alone."
        )


def transcribe(
    recognizer: Recognizer,
    waveforms: Sequence[np.ndarray],
    *,
    max_seconds: float = 12.0,
    beam: int = 1,
    language_models: FusedModels | None = None,
) -> list[Transcript]:
    """Reads recordings with batched search.

    Args:
        recognizer: the model.
        waveforms: recordings ``[samples]`` in [-1, 1] at the recognizer's sample rate.
        max_seconds: longer recordings are cut at their pauses into pieces of at most this length.
        beam: hypotheses of the beam search; 1 takes the most likely symbol at every step instead.
        language_models: what adds to the scores of the beam search, over the recognizer's labels.

    Returns:
        One transcript per recording, in order.

    Raises:
        ValueError: if `beam` is not positive, or 1 with language models.
    """
    lists = transcribe_nbest(
        recognizer,
        waveforms,
        max_seconds=max_seconds,
        beam=beam,
        nbest=1,
        language_models=language_models,
    )
    return [transcripts[0] for transcripts in lists]


def transcribe_nbest(
    recognizer: Recognizer,
    waveforms: Sequence[np.ndarray],
    *,
    max_seconds: float = 12.0,
    beam: int = 16,
    nbest: int = 5,
    language_models: FusedModels | None = None,
) -> list[list[Transcript]]:
    """Reads recordings with batched search and tells the alternatives.

    Args:
        recognizer: the model.
        waveforms: as in `transcribe`.
        max_seconds: as in `transcribe`; the alternatives of a recording combine those of its
            pieces.
        beam: as in `transcribe`.
        nbest: transcripts per recording, no more than ``beam``.
        language_models: as in `transcribe`.

    Returns:
        For each recording up to ``nbest`` transcripts of different texts, the best first, at least
        one.

    Raises:
        ValueError: if `beam` or `nbest` is not positive, `nbest` is larger than `beam`, or there
            are language models and no beam.
    """
    if beam < 1:
        raise ValueError(f"`beam` must be positive, got {beam}; 1 is greedy search.")
    if not 1 <= nbest <= beam:
        raise ValueError(
            f"`nbest` must be between 1 and `beam`, got {nbest} with a beam of {beam}; widen the "
            "beam."
        )
    if beam == 1 and language_models is not None:
        raise ValueError("`beam` must be above 1 with `language_models`, for instance 8.")
    sample_rate = recognizer.config.data.sample_rate
    pieces = [
        (owner, start, waveform[start:end])
        for owner, waveform in enumerate(waveforms)
        for start, end in itertools.pairwise(
            pauses.cut(waveform, sample_rate, max_seconds=max_seconds)
        )
    ]
    parts: list[list[tuple[int, list[Transcript]]]] = [[] for _ in waveforms]
    for members in waveform_batches.group([piece for _, _, piece in pieces], sample_rate):
        batch = [pieces[index] for index in members]
        found = _read(recognizer, [piece for _, _, piece in batch], beam, nbest, language_models)
        for row, (owner, start, _) in enumerate(batch):
            parts[owner].append((start, _transcripts(recognizer, found, row, start / sample_rate)))
    return [join_pieces([part for _, part in sorted(group, key=_start)], nbest) for group in parts]


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def decode(
    model: Transducer,
    data: DataConfig,
    beam: int,
    nbest: int,
    params: Any,
    language_models: FusedModels | None,
    waveform: jax.Array,
    paddings: jax.Array,
) -> NBest:
    """Reads a batch as one compiled program: features, encoder, search.

    Args:
        model: the transducer.
        data: which features it reads.
        beam: hypotheses of the beam search; 1 is greedy search.
        nbest: sequences for each recording, no more than ``beam``.
        params: its variables.
        language_models: what adds to the scores of the beam search, over the same labels.
        waveform: ``[batch, samples]`` in [-1, 1].
        paddings: ``[batch, samples]``, 1 at padded samples.

    Returns:
        The label sequences, the best first.
    """
    return _search(_hear(model, data, params, waveform, paddings), beam, nbest, language_models)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _decode_together(
    parts: tuple[tuple[Transducer, DataConfig], ...],
    beam: int,
    nbest: int,
    params: tuple[Any, ...],
    language_models: FusedModels | None,
    waveform: jax.Array,
    paddings: jax.Array,
) -> NBest:
    """`decode` with several transducers."""
    networks = [
        _hear(model, data, own, waveform, paddings)
        for (model, data), own in zip(parts, params, strict=True)
    ]
    return _search(combination.combine(networks), beam, nbest, language_models)


def _hear(
    model: Transducer, data: DataConfig, params: Any, waveform: jax.Array, paddings: jax.Array
) -> Network:
    apply: Callable[..., Any] = model.apply
    inputs, input_paddings = recognizer_inputs(data, waveform, paddings)
    return Network(
        *apply(params, inputs, input_paddings, method="encode"),
        predictor_step=lambda tokens, state: apply(params, tokens, state, method="predict_step"),
        joiner=lambda frames, prefixes: apply(params, frames, prefixes, method="join"),
        initial_state=model.initial_state(waveform.shape[0]),
    )


def _search(network: Network, beam: int, nbest: int, language_models: FusedModels | None) -> NBest:
    if beam > 1:
        fusion = None if language_models is None else language_models.fusion()
        return beam_search(**network._asdict(), beam=beam, nbest=nbest, fusion=fusion)
    hypotheses = greedy_decode(**network._asdict())
    return NBest(**{name: leaf[:, None] for name, leaf in hypotheses._asdict().items()})


def save(path: str | os.PathLike, recognizer: Recognizer) -> None:
    """Packs a recognizer into one file, atomically.

    Args:
        path: where the file goes; its folder must exist.
        recognizer: the model.

    Raises:
        ValueError: if it reads together with others.
    """
    check_alone(recognizer)
    header = {
        "format": FORMATS[-1],
        "config": json.dumps(cattrs.unstructure(recognizer.config)),
        "vocabulary": json.dumps(recognizer.vocabulary.characters, ensure_ascii=False),
    }
    packing.write(path, recognizer.params, header)


def load(path: str | os.PathLike) -> Recognizer:
    """Unpacks a recognizer.

    Raises:
        ValueError: if the file is not a packed recognizer of this version.
    """

    def build(header: dict[str, str], params: dict[str, Any]) -> Recognizer:
        return Recognizer(
            cattrs.structure(json.loads(header["config"]), SpeechConfig),
            Vocabulary(tuple(json.loads(header["vocabulary"]))),
            params,
        )

    remedy = "`gossamer train speech` with its run folder packs it"
    return packing.read(path, FORMATS, "recognizer", remedy, build)


def pretrained(name: str = "prompts") -> Recognizer:
    """Loads a recognizer that ships with gossamer.

    Args:
        name: ``prompts``, trained on synthetic speech and then on the bundled telephone prompts.

    Raises:
        ValueError: if there is no recognizer of that name.
    """
    if name not in shipped():
        raise ValueError(f"`name` must be one of {', '.join(shipped())}, got {name!r}.")
    with resources.as_file(_SHIPPED / f"{name}.safetensors") as path:
        return load(path)


def shipped() -> list[str]:
    """The names that `pretrained` knows."""
    names = [entry.name for entry in _SHIPPED.iterdir() if entry.name.endswith(".safetensors")]
    return sorted(name.removesuffix(".safetensors") for name in names)


def _start(part: tuple[int, list[Transcript]]) -> int:
    return part[0]


def _read(
    recognizer: Recognizer,
    waveforms: list[np.ndarray],
    beam: int,
    nbest: int,
    language_models: FusedModels | None,
) -> NBest:
    batch, paddings = waveform_batches.stack(waveforms, recognizer.config.data.sample_rate)
    team = (recognizer, *recognizer.partners)
    parts = tuple((each.model, each.config.data) for each in team)
    params = tuple(each.params for each in team)
    recordings = (language_models, batch, paddings)
    if recognizer.partners:
        return jax.device_get(_decode_together(parts, beam, nbest, params, *recordings))
    return jax.device_get(decode(*parts[0], beam, nbest, params[0], *recordings))


def _transcripts(recognizer: Recognizer, found: NBest, row: int, offset: float) -> list[Transcript]:
    """The transcripts of one piece of a recording, which starts after ``offset`` seconds."""
    seconds_per_frame = HOP_SECONDS * STACK * recognizer.config.model.reduction
    transcripts = []
    for labels, paddings, frames, score in zip(*(leaf[row] for leaf in found), strict=True):
        length = int(np.sum(1 - paddings))
        if transcripts and not np.isfinite(score):
            break  # there are no more sequences
        text = recognizer.vocabulary.decode(labels[:length])
        times = offset + seconds_per_frame * frames[:length]
        emitted = [
            (recognizer.vocabulary.decode([label]), float(time))
            for label, time in zip(labels[:length], times, strict=True)
        ]
        transcripts.append(Transcript(" ".join(text.split()), emitted, float(score)))
    return transcripts
