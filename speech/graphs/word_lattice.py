"""The best texts of a lattice: an automaton without cycles, as a decoder leaves it.

A lattice has very many paths for each text, which differ in their times. Each state keeps its `n`
cheapest different texts, with the cheapest path of each: whatever follows, what is dearer than all
of these cannot be among the `n` best at the end. States are visited in topological order, all that
are ready at once.
"""

from typing import NamedTuple

import numpy as np

from .automaton import NOTHING, Automaton, leaving
from .viterbi import Path


class _Best(NamedTuple):
    """The best ways to each state, cheapest first; the costs of what is missing are infinite."""

    costs: np.ndarray  # [states, n]
    texts: np.ndarray  # [states, n] numbers
    arcs: np.ndarray  # [states, n] the last arc
    ranks: np.ndarray  # [states, n] which of the ways to that arc's source it continues


class _Texts:
    """Numbers for sequences of words; the empty one is 0."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}

    def extend(self, texts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The texts with a word more, where there is a word."""
        texts = texts.copy()
        for i in np.flatnonzero(words):
            pair = int(texts[i]), int(words[i])
            texts[i] = self._numbers.setdefault(pair, len(self._numbers) + 1)
        return texts


def best_texts(lattice: Automaton, n: int) -> list[Path]:
    """Finds the cheapest different texts, each with its cheapest path.

    Args:
        lattice: has no cycles.
        n: how many at most.

    Returns:
        Paths to final states, cheapest first.
    """
    size = len(lattice.finals)
    backward = np.argsort(lattice.targets, kind="stable")
    ends = np.searchsorted(lattice.targets[backward], np.arange(size + 1))
    starts = lattice.starts
    waiting = np.bincount(lattice.targets, minlength=size)  # arcs whose sources are not visited
    shape = size, n
    best = _Best(np.full(shape, np.inf), *(np.zeros(shape, np.int64) for _ in range(3)))
    best.costs[0, 0] = 0.0
    texts = _Texts()
    ready = np.flatnonzero(waiting == 0)
    while len(ready):
        arcs, places = leaving(ends, ready)
        _visit(lattice, best, texts, backward[arcs], ready[places])
        targets = lattice.targets[leaving(starts, ready)[0]]
        np.subtract.at(waiting, targets, 1)
        ready = np.unique(targets[waiting[targets] == 0])
    totals = (best.costs + lattice.finals[:, None]).ravel()
    order = np.argsort(totals, kind="stable")
    order = order[np.isfinite(totals[order])]
    _, first = np.unique(best.texts.ravel()[order], return_index=True)
    chosen = order[np.sort(first)[:n]]
    return [_trace(lattice, best, *divmod(int(i), n), float(totals[i])) for i in chosen]


def _visit(
    lattice: Automaton, best: _Best, texts: _Texts, arcs: np.ndarray, states: np.ndarray
) -> None:
    """Finds the best ways to states along the arcs [arcs] that lead to them, states [arcs]."""
    rows, ranks = np.nonzero(np.isfinite(best.costs[lattice.sources[arcs]]))
    arcs, states = arcs[rows], states[rows]
    sources = lattice.sources[arcs]
    costs = best.costs[sources, ranks] + lattice.costs[arcs]
    said = texts.extend(best.texts[sources, ranks], lattice.outputs[arcs])
    order = np.lexsort((costs, said, states))  # the cheapest of each text comes first
    pairs = np.column_stack((states, said))[order]
    order = order[np.any(np.diff(pairs, axis=0, prepend=-1), axis=1)]
    order = order[np.lexsort((costs[order], states[order]))]
    places = np.arange(len(order)) - np.searchsorted(states[order], states[order])
    order, places = order[places < best.costs.shape[1]], places[places < best.costs.shape[1]]
    for column, values in zip(best, (costs, said, arcs, ranks), strict=True):
        column[states[order], places] = values[order]


def _trace(lattice: Automaton, best: _Best, state: int, rank: int, cost: float) -> Path:
    """The path of one way to a state."""
    arcs = []
    while state:  # no arc leads back to 0
        arc = int(best.arcs[state, rank])
        arcs.append(arc)
        state, rank = int(lattice.sources[arc]), int(best.ranks[state, rank])
    inputs, outputs = lattice.inputs[arcs[::-1]], lattice.outputs[arcs[::-1]]
    return Path(
        inputs[inputs != NOTHING].tolist(), outputs[outputs != NOTHING].tolist(), cost, True
    )
