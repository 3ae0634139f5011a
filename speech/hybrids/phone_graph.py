"""What could have been said instead, as one graph of HMM states: the denominator of MMI.

The graphs of all training texts laid over each other: states with the same phone, neighbors and
number are one, and a state is followed by what follows it in the texts, as often.  That is an
n-gram of phones without smoothing, of three to four phones within words and across them.  Every
text has its paths in it.

References:
    D. Povey et al., "Purely sequence-trained neural networks for ASR based on lattice-free MMI",
        Interspeech 2016.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .alignment import STAY
from .state_graph import StateGraph


class PhoneGraph(NamedTuple):
    """States, and arcs between different ones; each state also has a loop of probability STAY."""

    pdfs: np.ndarray  # [states] int32, the tied state of each
    first: np.ndarray  # [states] float32, probability to begin there
    sources: np.ndarray  # [arcs] int32
    targets: np.ndarray  # [arcs] int32, rising
    weights: np.ndarray  # [arcs] float32 probabilities; those that leave a state make 1 - STAY


def unite(graphs: Iterable[StateGraph]) -> PhoneGraph:
    """The graph of many utterances.

    Args:
        graphs: of each utterance, with the same tied states.

    Raises:
        ValueError: if there is none.
    """
    places: dict[tuple, int] = {}
    pdfs: list[int] = []
    arcs: Counter[tuple[int, int]] = Counter()
    begins: Counter[int] = Counter()
    for graph in graphs:
        numbers = []
        for context, pdf in zip(graph.contexts, graph.pdfs.tolist(), strict=True):
            numbers.append(places.setdefault(context, len(places)))
            if len(pdfs) < len(places):
                pdfs.append(pdf)
        targets, columns = np.nonzero(graph.predecessors >= 0)
        sources = graph.predecessors[targets, columns]
        arcs.update((numbers[i], numbers[j]) for i, j in zip(sources, targets, strict=True))
        begins.update(numbers[i] for i in np.flatnonzero(graph.is_first))
    if not places:
        raise ValueError("`graphs` must hold the graph of an utterance, got none.")
    number = len(places)
    ordered = sorted(arcs, key=lambda arc: (arc[1], arc[0]))
    sources, targets = np.array(ordered, np.int32).reshape(-1, 2).T
    counts = np.array([arcs[arc] for arc in ordered], np.float64)
    leaving = np.bincount(sources, counts, number)
    first = np.bincount(list(begins), list(begins.values()), number)
    return PhoneGraph(
        np.array(pdfs, np.int32),
        (first / first.sum()).astype(np.float32),
        sources,
        targets,
        ((1 - STAY) * counts / leaving[sources]).astype(np.float32),
    )
