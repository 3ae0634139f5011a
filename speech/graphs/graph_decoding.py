"""Decoding with a graph: the likeliest words under an acoustic model, and when they were said.

The score of a path is the acoustic scale times the log-likelihoods of its frames, plus the
log-probability of the graph. For a network with posteriors p(s | x) the scaled likelihood of a
distribution is ``log p(s | x) - log p(s)``.

kaldi-decoder, of the extra ``hybrid``, searches where it is installed; else ``viterbi`` does, in
NumPy. N-best lists are always made in NumPy: the one lattice decoder of kaldi-decoder has no limit
of active states, and is slower.
"""

import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np

from ..hybrids.lexicon import SILENCE, Lexicon
from . import viterbi
from .automaton import kaldifst
from .decoding_graph import DecodingGraph
from .viterbi import Path
from .word_lattice import best_texts

Engine = Literal["kaldi", "numpy"]


class Segment(NamedTuple):
    """A word or a phone."""

    text: str
    start: int  # frame
    end: int  # frame after the last one


class Decoded(NamedTuple):
    """What was said."""

    words: tuple[Segment, ...]
    phones: tuple[Segment, ...]  # with silences
    score: float  # log-probability of the path, acoustics scaled
    complete: (
        bool  # False if no sentence could end at the last frame; then the last word may be cut
    )

    @property
    def text(self) -> str:
        """The words with spaces."""
        return " ".join(word.text for word in self.words)


def decode(
    graph: DecodingGraph,
    log_likelihoods: np.ndarray,
    *,
    acoustic_scale: float = 0.1,
    beam: float = 16.0,
    max_active: int = 7000,
    engine: Engine | None = None,
) -> Decoded:
    """Finds the likeliest words.

    Args:
        graph: what can be said.
        log_likelihoods: [frames, pdfs], finite.
        acoustic_scale: weight of the likelihoods, below 1 because neighboring frames tell much the
            same.
        beam: how much worse than the best a path may be, at each frame.
        max_active: states that live after a frame.
        engine: ``kaldi``, ``numpy``, or what is installed.

    Returns:
        The words; the best path so far, and `complete` False, where none reached its end.

    Raises:
        ValueError: if the likelihoods do not fit, or the engine is not installed.
    """
    scores = _scale(graph, log_likelihoods, acoustic_scale)
    if engine is None:
        engine = "kaldi" if importlib.util.find_spec("kaldi_decoder") else "numpy"
    if engine == "numpy":
        path = viterbi.search(graph.automaton, -scores, beam=beam, max_active=max_active)
        return _place(graph, path)
    kaldi = _kaldi_decoder()
    options = kaldi.FasterDecoderOptions(beam=beam, max_active=max_active, min_active=0)
    decoder = kaldi.FasterDecoder(graph.fst, options)
    decoder.decode(kaldi.DecodableCtc(scores))
    _, best = decoder.get_best_path()
    _, inputs, outputs, weight = kaldifst().get_linear_symbol_sequence(best)
    path = Path(inputs, outputs, weight.value1 + weight.value2, decoder.reached_final())
    return _place(graph, path)


def decode_nbest(
    graph: DecodingGraph,
    log_likelihoods: np.ndarray,
    n: int,
    *,
    acoustic_scale: float = 0.1,
    beam: float = 16.0,
    max_active: int = 7000,
    lattice_beam: float = 8.0,
) -> list[Decoded]:
    """Finds the likeliest texts, best first, each with its likeliest path.

    Args:
        graph: see `decode`.
        log_likelihoods: see `decode`.
        n: how many different texts at most.
        acoustic_scale: see `decode`.
        beam: see `decode`.
        max_active: see `decode`.
        lattice_beam: how much worse than the best a whole path may be.

    Returns:
        1 to `n` texts, as many as there are within `lattice_beam`.

    Raises:
        ValueError: if the likelihoods do not fit.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}.")
    lattice, final = viterbi.search_lattice(
        graph.automaton,
        -_scale(graph, log_likelihoods, acoustic_scale),
        beam=beam,
        max_active=max_active,
        lattice_beam=lattice_beam,
    )
    return [_place(graph, path._replace(final=final)) for path in best_texts(lattice, n)]


def _scale(graph: DecodingGraph, log_likelihoods: np.ndarray, scale: float) -> np.ndarray:
    """[frames, inputs] float32 scores of the graph's inputs."""
    likelihoods = np.asarray(log_likelihoods, np.float32)
    if likelihoods.ndim != 2 or not len(likelihoods) or likelihoods.shape[1] != graph.num_pdfs:
        raise ValueError(
            f"`log_likelihoods` must be [frames, {graph.num_pdfs}] with a column for each pdf of "
            f"the graph, got {likelihoods.shape}."
        )
    if not np.isfinite(likelihoods).all():
        raise ValueError(
            "`log_likelihoods` must be finite; clip the logarithm of small probabilities."
        )
    return np.ascontiguousarray(scale * likelihoods[:, graph.input_pdfs], np.float32)


def _place(graph: DecodingGraph, path: Path) -> Decoded:
    """When the words and phones of a path were said."""
    begins = [t for t, i in enumerate(path.inputs) if i % 2 and not graph.states[i // 2, 1]]
    ends = [*begins[1:], len(path.inputs)]
    names = [graph.phones[graph.states[path.inputs[t] // 2, 0]] for t in begins]
    phones = tuple(map(Segment, names, begins, ends))
    texts = [graph.words[output - 1] for output in path.outputs]
    matches = _match(graph.lexicon, texts, names, complete=path.final)
    words = tuple(
        Segment(text, phones[first].start, phones[last - 1].end)
        for text, (first, last) in zip(texts, matches, strict=True)
        if first < last
    )
    return Decoded(words, phones, -path.cost, path.final)


def _match(
    lexicon: Lexicon, words: Sequence[str], phones: Sequence[str], *, complete: bool
) -> list[tuple[int, int]]:
    """From and up to which phone each word goes.

    Between words may be a silence. If the path is not complete, the last word may be cut short, and
    phones may follow whose word is not known yet.
    """
    reached: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]  # by end: the end before, the begin
    for number, word in enumerate(words, start=1):
        cut = number == len(words) and not complete
        ends: dict[int, tuple[int, int]] = {}
        for done in reached[-1]:
            begin = done + (phones[done : done + 1] == [SILENCE])
            for said in lexicon[word]:
                heard = tuple(phones[begin : begin + len(said)])
                if heard == said or (cut and heard == said[: len(heard)]):
                    ends.setdefault(begin + len(heard), (done, begin))
        reached.append(ends)
    found, end = [], max(reached[-1])
    for ends in reached[:0:-1]:
        done, begin = ends[end]
        found.append((begin, end))
        end = done
    return found[::-1]


def _kaldi_decoder() -> ModuleType:
    """The package of that name."""
    try:
        import kaldi_decoder
    except ImportError as error:
        raise ValueError(
            "this search needs kaldi-decoder: pip install '.[hybrid]' in a checkout of gossamer, "
            'or take `engine="numpy"` for the best path.'
        ) from error
    return kaldi_decoder
