"""Reading recordings with a hybrid recognizer: its likelihoods searched in a graph of words."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..graphs import arpa, decoding_graph, graph_decoding
from ..graphs.decoding_graph import DecodingGraph
from ..graphs.graph_decoding import Decoded
from ..graphs.ngram import SPECIAL
from ..transcript import Transcript
from . import hybrid, hybrid_run, pronunciations
from .hybrid import FRAME_SECONDS, Hybrid
from .hybrid_folder import WORDS


@dataclasses.dataclass(frozen=True)
class WordSearch:
    """A hybrid recognizer and what can be said.

    Attributes:
        model: the recognizer.
        graph: of its tied states and the words of a language model.
        acoustic_scale: weight of the log-likelihoods against the language model's.
        beam: how much worse than the best a path may be, at each frame.
    """

    model: Hybrid
    graph: DecodingGraph
    acoustic_scale: float = 0.2
    beam: float = 14.0

    def __post_init__(self) -> None:
        for name in ("acoustic_scale", "beam"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")


def open_run(folder: str | Path, *, language_model: str | Path | None = None) -> WordSearch:
    """The search of a finished run.

    Args:
        folder: of the run.
        language_model: ARPA file; None stands for that of the run's own training transcripts.

    Raises:
        ValueError: if the folder holds no finished run, the language model cannot be read, or a
            word of it has no pronunciation.
    """
    model = hybrid_run.read_run(folder)
    words = arpa.read_arpa(Path(folder) / WORDS if language_model is None else language_model)
    spoken = pronunciations.of_run(folder, None, words.words[len(SPECIAL) :])
    return WordSearch(model, decoding_graph.build(spoken, words, model.tying))


def transcribe(search: WordSearch, waveforms: Sequence[np.ndarray]) -> list[Transcript]:
    """Reads recordings.

    Args:
        search: the recognizer and its graph.
        waveforms: recordings ``[samples]`` in [-1, 1] at its sample rate.

    Returns:
        The likeliest words of each; a label's second is that at which its word begins.
    """
    return decode(search, hybrid.log_likelihoods(search.model, waveforms))


def transcribe_nbest(
    search: WordSearch, waveforms: Sequence[np.ndarray], nbest: int
) -> list[list[Transcript]]:
    """The `nbest` likeliest texts of each recording, best first; see `transcribe`."""
    return [
        [
            _transcript(found)
            for found in graph_decoding.decode_nbest(
                search.graph,
                scores,
                nbest,
                acoustic_scale=search.acoustic_scale,
                beam=search.beam,
            )
        ]
        if len(scores)
        else [Transcript("", [], 0.0)]
        for scores in hybrid.log_likelihoods(search.model, waveforms)
    ]


def decode(search: WordSearch, log_likelihoods: Sequence[np.ndarray]) -> list[Transcript]:
    """As `transcribe`, of likelihoods ``[frames, pdfs]`` that are known already."""
    return [
        _transcript(
            graph_decoding.decode(
                search.graph, scores, acoustic_scale=search.acoustic_scale, beam=search.beam
            )
        )
        if len(scores)  # too short for a frame
        else Transcript("", [], 0.0)
        for scores in log_likelihoods
    ]


def tune(
    search: WordSearch,
    waveforms: Sequence[np.ndarray],
    error: Callable[[list[Transcript]], float],
    scales: Sequence[float],
) -> tuple[WordSearch, list[float]]:
    """Chooses the acoustic scale on held-out recordings.

    Args:
        search: what to search.
        waveforms: the recordings.
        error: of their transcripts, the smaller the better.
        scales: what to try.

    Returns:
        The search with the best scale, of equal ones the first, and the error of each.
    """
    scores = hybrid.log_likelihoods(search.model, waveforms)
    tried = [dataclasses.replace(search, acoustic_scale=scale) for scale in scales]
    errors = [error(decode(one, scores)) for one in tried]
    return tried[int(np.argmin(errors))], errors


def _transcript(found: Decoded) -> Transcript:
    labels: list[tuple[str, float]] = []
    for word in found.words:
        start = word.start * FRAME_SECONDS
        labels += [(letter, start) for letter in (" " if labels else "") + word.text]
    return Transcript(found.text, labels, found.score)
