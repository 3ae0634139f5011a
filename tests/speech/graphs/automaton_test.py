import sys

import kaldifst
import numpy as np
import pytest

from gossamer.speech.graphs import automaton
from gossamer.speech.graphs.automaton import Automaton

ARCS = [(2, 1, 5, 0, 0.5), (0, 2, 0, 7, 1.25), (2, 2, 6, 8, 0.0), (0, 1, 4, 0, -0.75)]
FINALS = [np.inf, 0.5, 2.0]


@pytest.fixture
def made() -> Automaton:
    return Automaton.of(ARCS, FINALS)


def test_arcs_are_sorted_by_source(made):
    assert made.sources.tolist() == [0, 0, 2, 2]
    assert made.inputs.tolist() == [0, 4, 5, 6]
    assert made.starts.tolist() == [0, 2, 2, 4]
    assert [x.dtype for x in made] == [np.int32] * 4 + [np.float32] * 2


def test_leaving_arcs_come_with_their_states(made):
    arcs, places = automaton.leaving(made.starts, np.array([2, 1, 0, 2]))
    assert arcs.tolist() == [2, 3, 0, 1, 2, 3]
    assert places.tolist() == [0, 0, 2, 2, 3, 3]


@pytest.mark.parametrize("start", [0, 2])
def test_kaldifst_gives_the_same_paths_back(made, all_paths, start):
    moved = made.begin_at(start)
    back = automaton.from_fst(automaton.to_fst(moved))
    for frames in range(4):
        assert sorted(all_paths(back, frames)) == sorted(all_paths(moved, frames))
    assert moved.begin_at(start).targets.tolist() == made.targets.tolist()


def test_a_start_without_arcs_stays_the_start():
    lone = Automaton.of([(1, 0, 3, 3, 0.0)], [0.25, np.inf])
    assert automaton.from_fst(automaton.to_fst(lone)).finals[0] == 0.25


def test_costs_of_lattices_are_added():
    lattice = kaldifst.Lattice()
    lattice.add_state()
    lattice.add_state()
    lattice.start = 0
    weight = kaldifst.LatticeWeight(1.5, 0.25)
    lattice.add_arc(0, kaldifst.LatticeArc(3, 4, weight, 1))
    lattice.set_final(1, weight)
    read = automaton.from_fst(lattice)
    assert [x.tolist() for x in read] == [[0], [1], [3], [4], [1.75], [np.inf, 1.75]]


def test_automata_without_paths_are_refused():
    with pytest.raises(ValueError, match="must have a path to a final state"):
        automaton.from_fst(kaldifst.StdVectorFst())


def test_missing_kaldifst_names_the_remedy(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaldifst", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[hybrid\]' in a checkout"):
        automaton.to_fst(made)
