"""The best path of an automaton over frames, by tokens that pass along its arcs.

In each frame every live state hands its cost on along the arcs that read something; states keep the
cheapest token that reaches them, pass it on along arcs that read nothing, and stay alive if it
costs less than the best one and the beam.
"""

from typing import NamedTuple

import numpy as np

from .automaton import NOTHING, Automaton, leaving


class Path(NamedTuple):
    """What was read and written."""

    inputs: list[int]  # of each frame
    outputs: list[int]
    cost: float
    final: bool  # ends in a final state; if not, this is the cheapest path that got farthest


class _Arcs(NamedTuple):
    """Some arcs of an automaton."""

    numbers: np.ndarray  # [arcs] among all
    starts: np.ndarray  # [states + 1], where those of each state begin in `numbers`

    def leaving(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `automaton.leaving`."""
        arcs, places = leaving(self.starts, states)
        return self.numbers[arcs], places


class _Tokens:
    """The cheapest way to each live state, and where it came from."""

    def __init__(self, num_states: int):
        self.costs = np.full(num_states, np.inf)  # [states], infinite unless live
        self.tokens = np.full(num_states, -1)  # [states]
        self.live = np.zeros(0, np.int64)  # states
        self._arcs: list[np.ndarray] = []  # by which each token came
        self._before: list[np.ndarray] = []  # the token it was before
        self._number = 0

    def clear(self) -> None:
        """Lets all states die."""
        self.costs[self.live] = np.inf
        self.live = self.live[:0]

    def offer(
        self, targets: np.ndarray, costs: np.ndarray, arcs: np.ndarray, before: np.ndarray
    ) -> np.ndarray:
        """Takes what is cheaper than before; returns the states that are better off."""
        better = np.flatnonzero(costs < self.costs[targets])
        better = better[np.lexsort((costs[better], targets[better]))]
        states, first = np.unique(targets[better], return_index=True)
        chosen = better[first]
        self.live = np.concatenate((self.live, states[np.isinf(self.costs[states])]))
        self.costs[states] = costs[chosen]
        self.tokens[states] = self._number + np.arange(len(states))
        self._arcs.append(arcs[chosen])
        self._before.append(before[chosen])
        self._number += len(states)
        return states

    def prune(self, beam: float, most: int) -> None:
        """Lets only the cheapest states live."""
        costs = self.costs[self.live]
        limit = costs.min() + beam
        if len(costs) > most:
            limit = min(limit, np.partition(costs, most - 1)[most - 1])
        self.costs[self.live[costs > limit]] = np.inf
        self.live = self.live[costs <= limit]

    def trace(self, token: int) -> list[int]:
        """The arcs that led to a token."""
        arcs, before = np.concatenate(self._arcs), np.concatenate(self._before)
        path = []
        while token > 0:  # the first one stands at the beginning
            path.append(int(arcs[token]))
            token = int(before[token])
        return path[::-1]


def search(
    automaton: Automaton, costs: np.ndarray, *, beam: float = 16.0, max_active: int = 7000
) -> Path:
    """Finds the cheapest path.

    Args:
        automaton: without endless paths that read nothing at negative cost.
        costs: [frames, inputs], column ``i`` of input ``i + 1``.
        beam: how much more than the best a state may cost.
        max_active: states that live after a frame, but for ties.
    """
    reading = _select(automaton, automaton.inputs != NOTHING)
    silent = _select(automaton, automaton.inputs == NOTHING)
    columns = automaton.inputs - 1
    tokens = _Tokens(len(automaton.finals))
    none = np.array([-1])
    tokens.offer(none + 1, np.zeros(1), none, none)
    _pass_silently(automaton, silent, tokens, tokens.live)
    heard = 0
    for frame in costs:
        arcs, places = reading.leaving(tokens.live)
        if not len(arcs):
            break
        paid = tokens.costs[tokens.live][places] + automaton.costs[arcs] + frame[columns[arcs]]
        before = tokens.tokens[tokens.live][places]
        tokens.clear()
        better = tokens.offer(automaton.targets[arcs], paid, arcs, before)
        tokens.prune(beam, max_active)
        _pass_silently(automaton, silent, tokens, better)
        heard += 1
    totals = tokens.costs[tokens.live] + automaton.finals[tokens.live]
    final = heard == len(costs) and bool(np.isfinite(totals).any())
    if not final:
        totals = tokens.costs[tokens.live]
    best = tokens.live[np.argmin(totals)]
    arcs = np.array(tokens.trace(int(tokens.tokens[best])), np.int64)
    inputs, outputs = automaton.inputs[arcs], automaton.outputs[arcs]
    return Path(
        inputs[inputs != NOTHING].tolist(),
        outputs[outputs != NOTHING].tolist(),
        float(totals.min()),
        final,
    )


def _select(automaton: Automaton, chosen: np.ndarray) -> _Arcs:
    """The arcs where a mask [arcs] is true."""
    numbers = np.flatnonzero(chosen)
    states = np.arange(len(automaton.finals) + 1)
    return _Arcs(numbers, np.searchsorted(automaton.sources[numbers], states))


def _pass_silently(
    automaton: Automaton, silent: _Arcs, tokens: _Tokens, states: np.ndarray
) -> None:
    """Passes tokens along arcs that read nothing until no state is better off."""
    while len(states):
        arcs, places = silent.leaving(states)
        paid = tokens.costs[states][places] + automaton.costs[arcs]
        alive = np.isfinite(paid)
        arcs, places = arcs[alive], places[alive]
        states = tokens.offer(
            automaton.targets[arcs], paid[alive], arcs, tokens.tokens[states][places]
        )
