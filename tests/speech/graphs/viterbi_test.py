import numpy as np
import pytest

from gossamer.speech.graphs import viterbi
from gossamer.speech.graphs.automaton import Automaton


def draw(seed, states=4, arcs=11, symbols=3):
    """A random automaton; arcs that read nothing go to later states, never round and round."""
    generator = np.random.default_rng(seed)
    sources, targets = generator.integers(0, states, (2, arcs))
    inputs = np.where(sources < targets, generator.integers(0, symbols + 1, arcs), 1)
    outputs = generator.integers(0, 3, arcs)
    costs = np.round(16 * generator.normal(size=arcs)) / 16  # so that sums are exact
    finals = np.where(generator.random(states) < 0.3, 0.25, np.inf)
    return Automaton.of(np.column_stack((sources, targets, inputs, outputs, costs)), finals)


@pytest.mark.parametrize("seed", range(20))
def test_cheapest_of_all_paths_is_found(all_paths, seed):
    automaton, frames = draw(seed), 4
    costs = np.round(16 * np.random.default_rng(seed).normal(size=(frames, 3))) / 16
    paths = all_paths(automaton, frames)
    found = viterbi.search(automaton, costs, beam=np.inf)
    ends = any(path[3] for path in paths)
    assert found.final is ends
    totals = {
        (inputs, outputs): cost + sum(costs[t, i - 1] for t, i in enumerate(inputs))
        for inputs, outputs, cost, final in sorted(paths, key=lambda path: -path[2])
        if final is ends
    }
    if paths:
        assert found.cost == min(totals.values())
        assert totals[tuple(found.inputs), tuple(found.outputs)] == found.cost
    else:
        assert len(found.inputs) < frames


def test_narrow_beams_lose_paths():
    # The cheap first step leads to a dear second one.
    arcs = [(0, 1, 1, 1, 0.0), (0, 2, 1, 2, 2.0), (1, 3, 1, 0, 9.0), (2, 3, 1, 0, 0.0)]
    automaton = Automaton.of(arcs, [np.inf, np.inf, np.inf, 0.5])
    costs = np.zeros((2, 1))
    assert viterbi.search(automaton, costs) == ([1, 1], [2], 2.5, True)
    assert viterbi.search(automaton, costs, beam=1.0) == ([1, 1], [1], 9.5, True)
    assert viterbi.search(automaton, costs, max_active=1) == ([1, 1], [1], 9.5, True)


def test_paths_that_do_not_end_are_told():
    automaton = Automaton.of([(0, 1, 1, 1, 0.5), (1, 2, 2, 2, 0.25)], [np.inf, np.inf, 0.0])
    costs = np.array([[1.0, 8.0], [8.0, 2.0], [1.0, 1.0]])
    assert viterbi.search(automaton, costs[:1]) == ([1], [1], 1.5, False)
    assert viterbi.search(automaton, costs[:2]) == ([1, 2], [1, 2], 3.75, True)
    # Nothing follows: the path that got farthest, which may end but not here.
    assert viterbi.search(automaton, costs) == ([1, 2], [1, 2], 3.75, False)


@pytest.mark.parametrize("seed", range(20))
def test_lattices_hold_all_good_paths(all_paths, seed):
    automaton, frames = draw(seed), 4
    costs = np.round(16 * np.random.default_rng(seed).normal(size=(frames, 3))) / 16
    lattice, final = viterbi.search_lattice(automaton, costs, beam=np.inf, lattice_beam=2.0)
    paths = [path for path in all_paths(automaton, frames) if path[3] == final]
    if not paths:
        pytest.skip("no path is that long")

    def weigh(inputs, cost):
        return cost + sum(costs[t, i - 1] for t, i in enumerate(inputs))

    every = {(inputs, outputs, weigh(inputs, cost)) for inputs, outputs, cost, _ in paths}
    found = {
        (inputs, outputs, cost)
        for inputs, outputs, cost, ends in all_paths(lattice, frames)
        if ends
    }
    best = viterbi.search(automaton, costs, beam=np.inf)
    good = {path for path in every if path[2] <= best.cost + 2.0}
    assert good <= found <= every
    assert final is best.final
