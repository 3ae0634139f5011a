"""What tests of graphs share: all paths of an automaton, and a tying of phones."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def all_paths() -> Callable[..., list[tuple[tuple[int, ...], tuple[int, ...], float, bool]]]:
    """``(automaton, frames)`` -> inputs, outputs, cost and finality of all paths of that length."""

    def enumerate_paths(automaton, frames):
        arcs: dict[int, list] = {}
        for source, *arc in zip(*(x.tolist() for x in automaton[:5]), strict=True):
            arcs.setdefault(source, []).append(arc)
        paths = []
        stack: list[tuple[int, tuple[int, ...], tuple[int, ...], float]] = [(0, (), (), 0.0)]
        while stack:
            state, inputs, outputs, cost = stack.pop()
            if len(inputs) == frames:
                final = float(automaton.finals[state])
                paths.append((inputs, outputs, cost, False))
                if np.isfinite(final):
                    paths.append((inputs, outputs, cost + final, True))
            for target, read, written, more in arcs.get(state, []):
                if not read or len(inputs) < frames:
                    said = outputs + ((written,) if written else ())
                    stack.append((target, inputs + ((read,) if read else ()), said, cost + more))
        return paths

    return enumerate_paths


class PairTying:
    """Phones of one state, silence of two; a distribution for each pair of neighbors."""

    def __init__(self, phones):
        self.phones = tuple(phones)
        self.num_pdfs = 2 + len(self.phones) ** 2

    def num_states(self, phone):
        return 1 + (phone == "SIL")

    def pdf(self, left, phone, right, state):
        if phone == "SIL":
            return state
        neighbor = {"left": left, "right": right}["left" if phone < "M" else "right"]
        return 2 + self.phones.index(phone) * len(self.phones) + self.phones.index(neighbor)


@pytest.fixture(scope="session")
def pair_tying() -> type[PairTying]:
    """Makes the tying of some phones."""
    return PairTying
