"""An exported recognizer: from samples to text, whole recordings or as they come in."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import pauses
from ..text import Vocabulary
from ..transcript import Transcript, join_pieces
from . import folder
from .beam import BeamSearch, Fused
from .front_end import FeatureStream, FrontEnd
from .greedy import GreedySearch, Hypothesis
from .networks import Network, StepNetwork

MODELS = ("external", "source")


@dataclass(frozen=True)
class Search:
    """How recordings are read."""

    beam: int = 1
    """Hypotheses that the beam search keeps; 1 takes the most likely symbol at every step."""
    nbest: int = 1
    """Transcripts of each recording."""
    external_weight: float | None = None
    """What the log probability of the external language model counts; None stands for the weight
    that was exported."""
    source_weight: float | None = None
    """What that of the source language model counts against a label."""
    length_reward: float | None = None
    """Added for each label."""
    prune: float = 6.0
    """How far below the best hypothesis others are dropped, in nats; infinity drops none."""

    def __post_init__(self):
        if self.beam < 1:
            raise ValueError(f"`beam` must be positive, got {self.beam}; 1 is greedy search.")
        if not 1 <= self.nbest <= self.beam:
            raise ValueError(
                f"`nbest` must be between 1 and `beam`, got {self.nbest} with a beam of "
                f"{self.beam}; widen the beam."
            )
        if not self.prune > 0:
            raise ValueError(f"`prune` must be positive, got {self.prune}.")
        for name in ("external_weight", "source_weight"):
            weight = getattr(self, name)
            if weight is not None and not weight >= 0:
                raise ValueError(f"`{name}` must be at least 0, got {weight}.")


class Transcriber:
    """Reads speech.

    Args:
        path: folder by `gossamer export`.
        threads: processor cores that it may use.

    Raises:
        folder.ExportError: if the folder holds no intact recognizer.

    Example:
        >>> transcriber = Transcriber("exported")  # doctest: +SKIP
        >>> print(transcriber.transcribe(waveform)[0].text)  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 1):
        path = Path(path)
        self.manifest: dict[str, Any] = folder.read(path)
        self._front_end = FrontEnd.load(path / "front_end.npz")
        self._vocabulary = Vocabulary(tuple(self.manifest["vocabulary"]))

        def load(name: str) -> Network:
            return Network(path / f"{name}.onnx", threads=threads)

        self._encoder, self._joiner = load("encoder"), load("joiner")
        self._predictor = StepNetwork(load("predictor"))
        self._models = {
            name: StepNetwork(load(name)) for name in MODELS if name in self.manifest["weights"]
        }

    @property
    def sample_rate(self) -> int:
        """Samples per second of what it reads."""
        return self.manifest["sample_rate"]

    @property
    def is_streaming(self) -> bool:
        """Whether it can read recordings as they come in."""
        return self._front_end.is_running and not self.manifest["bidirectional"]

    def transcribe(
        self,
        waveform: np.ndarray,
        search: Search = Search(),
        *,
        max_seconds: float = 12.0,
    ) -> list[Transcript]:
        """Reads a recording.

        Args:
            waveform: ``[samples]`` in [-1, 1].
            search: how.
            max_seconds: longer recordings are cut at their pauses.

        Returns:
            The transcripts, the best first.
        """
        cuts = pauses.cut(waveform, self.sample_rate, max_seconds=max_seconds)
        parts = []
        for start, end in itertools.pairwise(cuts):
            encoded = self.encode(waveform[start:end])
            found = self.search(encoded, search)
            offset = start / self.sample_rate
            parts.append([self._transcript(hypothesis, offset) for hypothesis in found])
        return join_pieces(parts, search.nbest)

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encoder vectors of a whole recording, ``[frames, E]``."""
        frames = FeatureStream(self._front_end).feed(waveform, is_last=True)
        if not len(frames):
            return np.zeros((0, self.manifest["joiner_size"]), np.float32)
        return EncoderState(self._encoder, self.manifest).run(frames, is_last=True)

    def search(self, encoded: np.ndarray, search: Search) -> list[Hypothesis]:
        """The best label sequences of encoder vectors."""
        found = self.start(search)
        found.feed(encoded, is_last=True)
        return found.best(search.nbest)

    def start(self, search: Search) -> GreedySearch | BeamSearch:
        """A search that waits for encoder vectors."""
        if search.beam == 1:
            return GreedySearch(self._predictor, self._joiner)
        return BeamSearch(
            self._predictor,
            self._joiner,
            beam=search.beam,
            nbest=search.nbest,
            models=self._fused(search),
            length_reward=_chosen(search.length_reward, self.manifest["length_reward"]),
            prune=search.prune,
        )

    def stream(self, search: Search = Search(), *, part_seconds: float = 0.32) -> "Stream":
        """Reads one recording as it comes in.

        Args:
            search: how; the text of a beam search may change until the end.
            part_seconds: what is read at once; shorter parts come sooner and cost more.

        Raises:
            ValueError: if this recognizer needs whole recordings.
        """
        if not self.is_streaming:
            raise ValueError(
                "this recognizer needs whole recordings; export one that was trained by "
                "`gossamer train speech streaming`."
            )
        return Stream(self, search, part_seconds)

    def _fused(self, search: Search) -> tuple[Fused, ...]:
        weights = self.manifest["weights"]
        chosen = {
            "external": _chosen(search.external_weight, weights.get("external", 0.0)),
            "source": -_chosen(search.source_weight, weights.get("source", 0.0)),
        }
        return tuple(
            Fused(network, chosen[name]) for name, network in self._models.items() if chosen[name]
        )

    def _transcript(self, hypothesis: Hypothesis, offset: float = 0.0) -> Transcript:
        seconds = self.manifest["frame_seconds"]
        emitted = [
            (self._vocabulary.decode([label]), offset + seconds * frame)
            for label, frame in zip(hypothesis.labels, hypothesis.frames, strict=True)
        ]
        text = " ".join(self._vocabulary.decode(hypothesis.labels).split())
        return Transcript(text, emitted, hypothesis.score)


class EncoderState:
    """What an encoder keeps between two parts of a recording.

    Args:
        encoder: the network.
        manifest: of the export.
    """

    def __init__(self, encoder: Network, manifest: dict[str, Any]):
        self._encoder = encoder
        self._lookahead = manifest["lookahead"]
        names = [name for name in encoder.inputs if name not in ("frames", "padding")]
        self._states = {
            name: np.zeros((0 if name.startswith("waiting") else 1, size), np.float32)
            for name in names
            for size in [encoder.inputs[name][1]]
        }

    def run(self, frames: np.ndarray, *, is_last: bool) -> np.ndarray:
        """Encodes the next frames."""
        inputs = {"frames": frames, **self._states}
        if self._lookahead:
            inputs["padding"] = np.array([self._lookahead if is_last else 0])
        results = dict(zip(self._encoder.outputs, self._encoder(**inputs), strict=True))
        self._states = {name: results[f"next_{name}"] for name in self._states}
        return results["encoded"]


class Stream:
    """One recording that is read as it comes in; see `Transcriber.stream`."""

    def __init__(self, transcriber: Transcriber, search: Search, part_seconds: float):
        manifest = transcriber.manifest
        group = manifest["reduction"]  # frames that the encoder joins
        number = round(part_seconds / manifest["frame_seconds"])
        if number < 1:
            raise ValueError(
                f"`part_seconds` must be at least {manifest['frame_seconds']:g}, got "
                f"{part_seconds}."
            )
        self._transcriber, self._group, self._part = transcriber, group, number * group
        self._features = FeatureStream(transcriber._front_end)
        self._encoder = EncoderState(transcriber._encoder, manifest)
        self._search = transcriber.start(search)
        # The first part also holds what each layer keeps waiting.
        self._waiting = group * manifest["encoder_layers"] * manifest["lookahead"]
        self._frames: np.ndarray | None = None  # not encoded yet

    def feed(self, samples: np.ndarray) -> Transcript:
        """Reads on.

        Args:
            samples: ``[samples]`` in [-1, 1], any number, at the recognizer's sample rate.

        Returns:
            What was read so far.
        """
        self._take(self._features.feed(samples))
        # A group stays behind, so that there is something to tell that it was the last.
        while self._frames is not None and len(self._frames) >= self._needed() + self._group:
            part, self._frames = np.split(self._frames, [self._needed()])
            self._waiting = 0
            self._read(part, is_last=False)
        return self.transcript()

    def finish(self) -> Transcript:
        """Reads what is left; the stream is over."""
        self._take(self._features.feed(np.zeros(0, np.float32), is_last=True))
        if self._frames is not None and len(self._frames):
            self._read(self._frames, is_last=True)
        return self.transcript()

    def transcript(self) -> Transcript:
        """What was read so far."""
        return self._transcriber._transcript(self._search.best()[0])

    def _needed(self) -> int:
        return self._part + self._waiting

    def _take(self, frames: np.ndarray) -> None:
        kept = self._frames
        self._frames = frames if kept is None else np.concatenate([kept, frames])

    def _read(self, frames: np.ndarray, *, is_last: bool) -> None:
        encoded = self._encoder.run(frames, is_last=is_last)
        self._search.feed(encoded, is_last=is_last)


def _chosen(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
