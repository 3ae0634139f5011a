"""A trained transducer, from waveform to text, and its packed file.

A packed recognizer is one safetensors file: the parameters in half precision or as packed codes
(see `packing`), and in the header the configuration and the vocabulary as JSON.  It is a tenth of
a training checkpoint or less and holds no code.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from . import features, packing, pauses
from .decoding import Hypotheses, greedy_decode
from .policies import named_policy
from .run_config import SpeechConfig
from .text import Vocabulary
from .transducer import Transducer

FORMATS = ("gossamer-recognizer-1", "gossamer-recognizer-2")  # those that `load` reads
BATCH_SECONDS = 40.0  # audio per decoding batch
SHORTEST_SECONDS = 0.1  # waveforms are padded to at least this


class Recognizer(NamedTuple):
    """What is needed to read speech."""

    config: SpeechConfig
    vocabulary: Vocabulary
    params: Any  # the transducer's variables: float32, or codes and clips if quantized

    @property
    def model(self) -> Transducer:
        """The transducer that ``params`` belong to."""
        return Transducer(
            self.config.model,
            vocabulary_size=len(self.vocabulary),
            policy=named_policy(self.config.quantize),
        )


class Transcript(NamedTuple):
    """What was read in one recording."""

    text: str
    labels: list[tuple[str, float]]  # each character with the second at which it was emitted
    score: float  # log probability of the decoded path


def transcribe(
    recognizer: Recognizer, waveforms: Sequence[np.ndarray], *, max_seconds: float = 12.0
) -> list[Transcript]:
    """Reads recordings with batched greedy search.

    Args:
        recognizer: the model.
        waveforms: recordings ``[samples]`` in [-1, 1] at the recognizer's sample rate.
        max_seconds: longer recordings are cut at their pauses into pieces of at most this length.

    Returns:
        One transcript per recording, in order.
    """
    sample_rate = recognizer.config.data.sample_rate
    pieces = [
        (owner, start, waveform[start:end])
        for owner, waveform in enumerate(waveforms)
        for start, end in _spans(pauses.cut(waveform, sample_rate, max_seconds=max_seconds))
    ]
    parts: list[list[tuple[int, Transcript]]] = [[] for _ in waveforms]
    for batch in _batches(pieces, sample_rate):
        hypotheses = _read(recognizer, [piece for _, _, piece in batch])
        for row, (owner, start, _) in enumerate(batch):
            transcript = _transcript(recognizer, hypotheses, row, start / sample_rate)
            parts[owner].append((start, transcript))
    return [_concatenate([part for _, part in sorted(group, key=_start)]) for group in parts]


def save(path: str | os.PathLike, recognizer: Recognizer) -> None:
    """Packs a recognizer into one file, atomically.

    Args:
        path: where the file goes; its folder must exist.
        recognizer: the model.
    """
    tensors, table = packing.pack_tree(recognizer.params)
    header = {
        "format": FORMATS[-1],
        "config": json.dumps(cattrs.unstructure(recognizer.config)),
        "vocabulary": json.dumps(recognizer.vocabulary.characters, ensure_ascii=False),
        "codes": json.dumps(table),
    }
    partial_path = Path(f"{os.fspath(path)}.partial")
    save_file(tensors, partial_path, metadata=header)
    partial_path.replace(path)


def load(path: str | os.PathLike) -> Recognizer:
    """Unpacks a recognizer.

    Raises:
        ValueError: if the file is not a packed recognizer of this version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{os.fspath(path)}: not a packed recognizer ({error}).") from error
    if header.get("format") not in FORMATS:
        raise ValueError(
            f"{os.fspath(path)}: format {header.get('format')!r}, expected {FORMATS[-1]!r}; "
            "pack the run again with this version of gossamer."
        )
    return Recognizer(
        cattrs.structure(json.loads(header["config"]), SpeechConfig),
        Vocabulary(tuple(json.loads(header["vocabulary"]))),
        packing.unpack_tree(tensors, json.loads(header.get("codes", "{}"))),
    )


def pretrained(name: str = "prompts") -> Recognizer:
    """Loads a recognizer that ships with gossamer.

    Args:
        name: ``prompts``, trained on the bundled telephone prompts.

    Raises:
        ValueError: if there is no recognizer of that name.
    """
    folder = resources.files("gossamer.speech") / "pretrained"
    names = sorted(entry.name.removesuffix(".safetensors") for entry in folder.iterdir())
    if name not in names:
        raise ValueError(f"`name` must be one of {', '.join(names)}, got {name!r}.")
    with resources.as_file(folder / f"{name}.safetensors") as path:
        return load(path)


def _spans(boundaries: list[int]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise(boundaries)


def _start(part: tuple[int, Transcript]) -> int:
    return part[0]


def _batches(pieces: list, sample_rate: int) -> Iterator[list]:
    """Groups pieces of similar length, so many that a batch holds about ``BATCH_SECONDS``."""
    queue = sorted(pieces, key=lambda piece: -len(piece[2]))
    while queue:
        rows = max(1, int(BATCH_SECONDS * sample_rate / _bound(len(queue[0][2]), sample_rate)))
        yield queue[:rows]
        queue = queue[rows:]


def _bound(num_samples: int, sample_rate: int) -> int:
    """Pads lengths to few values, half an octave apart, since each is compiled once."""
    bound = SHORTEST_SECONDS * sample_rate
    while bound < num_samples:
        bound *= 1.5
    return int(bound)


def _read(recognizer: Recognizer, waveforms: list[np.ndarray]) -> Hypotheses:
    sample_rate = recognizer.config.data.sample_rate
    bound = _bound(max(map(len, waveforms)), sample_rate)
    rows = 1 << (len(waveforms) - 1).bit_length()  # few batch sizes too
    batch = np.zeros((rows, bound), np.float32)
    paddings = np.ones((rows, bound), np.float32)
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = waveform
        paddings[row, : len(waveform)] = 0
    return jax.device_get(
        _decode(recognizer.model, sample_rate, recognizer.params, batch, paddings)
    )


@partial(jax.jit, static_argnums=(0, 1))
def _decode(
    model: Transducer, sample_rate: int, params: Any, waveform: jax.Array, paddings: jax.Array
) -> Hypotheses:
    apply: Callable[..., Any] = model.apply
    inputs, input_paddings = features.extract(waveform, sample_rate, waveform_paddings=paddings)
    encoded, encoded_paddings = apply(params, inputs, input_paddings, method="encode")
    return greedy_decode(
        encoded,
        encoded_paddings,
        predictor_step=lambda tokens, state: apply(params, tokens, state, method="predict_step"),
        joiner=lambda frames, prefixes: apply(params, frames, prefixes, method="join"),
        initial_state=model.initial_state(waveform.shape[0]),
    )


def _transcript(
    recognizer: Recognizer, hypotheses: Hypotheses, row: int, offset: float
) -> Transcript:
    length = int(np.sum(1 - hypotheses.label_paddings[row]))
    labels = hypotheses.labels[row, :length]
    seconds_per_frame = 0.02 * recognizer.config.model.reduction
    times = offset + seconds_per_frame * hypotheses.frames[row, :length]
    text = recognizer.vocabulary.decode(labels)
    return Transcript(
        " ".join(text.split()),
        [
            (recognizer.vocabulary.decode([label]), float(time))
            for label, time in zip(labels, times, strict=True)
        ],
        float(hypotheses.scores[row]),
    )


def _concatenate(parts: list[Transcript]) -> Transcript:
    return Transcript(
        " ".join(part.text for part in parts if part.text),
        [label for part in parts for label in part.labels],
        sum(part.score for part in parts),
    )
