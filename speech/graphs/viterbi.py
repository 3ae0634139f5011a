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
    run = _Run(automaton)
    heard = [run.hear(frame, beam, max_active) is not None for frame in costs]
    tokens = run.tokens
    totals = tokens.costs[tokens.live] + automaton.finals[tokens.live]
    final = all(heard) and bool(np.isfinite(totals).any())
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


def search_lattice(
    automaton: Automaton,
    costs: np.ndarray,
    *,
    beam: float = 16.0,
    max_active: int = 7000,
    lattice_beam: float = 8.0,
) -> tuple[Automaton, bool]:
    """Finds all good paths.

    Args:
        automaton: see `search`.
        costs: see `search`.
        beam: see `search`.
        max_active: see `search`.
        lattice_beam: how much more than the best path a path may cost.

    Returns:
        The lattice, an automaton without cycles of what the paths read and write, and whether they
        end in a final state; if not, all that live at the end are final in the lattice.
    """
    run, history = _Run(automaton), _History(len(automaton.finals))
    history.add(run, None)
    heard = True
    for frame in costs:
        tried = run.hear(frame, beam, max_active)
        if tried is None:
            heard = False
            break
        history.add(run, tried)
    ends = automaton.finals[run.tokens.live]
    final = heard and bool(np.isfinite(ends).any())
    return history.prune(automaton, ends if final else np.zeros(len(ends)), lattice_beam), final


class _Run:
    """A search in progress."""

    def __init__(self, automaton: Automaton):
        self.automaton = automaton
        self.reading = _select(automaton, automaton.inputs != NOTHING)
        self.silent = _select(automaton, automaton.inputs == NOTHING)
        self.tokens = _Tokens(len(automaton.finals))
        none = np.array([-1])
        self._pass_silently(self.tokens.offer(none + 1, np.zeros(1), none, none))

    def hear(
        self, frame: np.ndarray, beam: float, most: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Takes a frame of costs [inputs].

        Returns:
            The arcs [arcs] within the beam and their costs [arcs]; None if there is none, and then
            nothing has changed.
        """
        tokens, automaton = self.tokens, self.automaton
        arcs, places = self.reading.leaving(tokens.live)
        if not len(arcs):
            return None
        steps = automaton.costs[arcs] + frame[automaton.inputs[arcs] - 1]
        paid = tokens.costs[tokens.live][places] + steps
        close = paid <= paid.min() + beam  # spares sorting what would not live
        arcs, places, steps, paid = arcs[close], places[close], steps[close], paid[close]
        before = tokens.tokens[tokens.live][places]
        tokens.clear()
        better = tokens.offer(automaton.targets[arcs], paid, arcs, before)
        tokens.prune(beam, most)
        self._pass_silently(better)
        return arcs, steps

    def _pass_silently(self, states: np.ndarray) -> None:
        """Passes tokens along arcs that read nothing until no state is better off."""
        tokens, automaton = self.tokens, self.automaton
        while len(states):
            arcs, places = self.silent.leaving(states)
            paid = tokens.costs[states][places] + automaton.costs[arcs]
            alive = np.isfinite(paid)
            arcs, places = arcs[alive], places[alive]
            states = tokens.offer(
                automaton.targets[arcs], paid[alive], arcs, tokens.tokens[states][places]
            )


class _Link(NamedTuple):
    """Arcs between live states of one frame and the next, or of the same one."""

    sources: np.ndarray  # [arcs] nodes of the lattice
    targets: np.ndarray  # [arcs] nodes of the lattice
    arcs: np.ndarray  # [arcs] of the automaton
    costs: np.ndarray  # [arcs]


class _History:
    """All live states of all frames, the nodes of a lattice, and the arcs between them."""

    def __init__(self, num_states: int):
        self.nodes = np.full(num_states, -1)  # [states] of the present frame, -1 unless live
        self.last = np.zeros(0, np.int64)  # nodes of the present frame
        self.number = 0  # of nodes
        self.costs: list[np.ndarray] = []  # of the best path to each node
        self.links: list[_Link] = []

    def add(self, run: _Run, tried: tuple[np.ndarray, np.ndarray] | None) -> None:
        """Adds the present frame, and the arcs with their costs that led to it."""
        automaton, live, before = run.automaton, run.tokens.live, self.nodes
        self.last = self.number + np.arange(len(live))
        self.number += len(live)
        self.nodes = np.full(len(before), -1)
        self.nodes[live] = self.last
        self.costs.append(run.tokens.costs[live])
        silent, _ = run.silent.leaving(live)
        followed = [] if tried is None else [(before, *tried)]
        for sources, arcs, costs in [*followed, (self.nodes, silent, automaton.costs[silent])]:
            link = sources[automaton.sources[arcs]], self.nodes[automaton.targets[arcs]]
            alive = link[1] >= 0
            self.links.append(_Link(*(column[alive] for column in (*link, arcs, costs))))

    def prune(self, automaton: Automaton, finals: np.ndarray, beam: float) -> Automaton:
        """The lattice of good paths; ``finals`` [live states] are the costs of ending."""
        forward = np.concatenate(self.costs)
        backward, ends = np.full((2, len(forward)), np.inf)
        backward[self.last] = ends[self.last] = finals
        for link in self.links[::-1]:
            old = None
            while old is None or np.any(backward[link.sources] < old):
                old = backward[link.sources]
                np.minimum.at(backward, link.sources, link.costs + backward[link.targets])
        link = _Link(*(np.concatenate(column) for column in zip(*self.links, strict=True)))
        totals = forward[link.sources] + link.costs + backward[link.targets]
        good = totals <= backward[0] + beam
        link = _Link(*(column[good] for column in link))
        used = np.concatenate(([0], link.sources, link.targets))
        kept, places = np.unique(used, return_inverse=True)
        inputs, outputs = automaton.inputs[link.arcs], automaton.outputs[link.arcs]
        sources, targets = places[1:].reshape(2, -1)
        columns = np.column_stack((sources, targets, inputs, outputs, link.costs))
        return Automaton.of(columns, ends[kept])


def _select(automaton: Automaton, chosen: np.ndarray) -> _Arcs:
    """The arcs where a mask [arcs] is true."""
    numbers = np.flatnonzero(chosen)
    states = np.arange(len(automaton.finals) + 1)
    return _Arcs(numbers, np.searchsorted(automaton.sources[numbers], states))
