"""The graph of all texts holds each of their paths, as often as they say it."""

import numpy as np
import pytest

from gossamer.speech.hybrids import state_graph
from gossamer.speech.hybrids.phone_graph import unite
from gossamer.speech.hybrids.tying import monophones

LEXICON = {"a": [("A",)], "ab": [("A", "B")], "ba": [("B", "A")]}
TYING = monophones("AB", states=2, silence_states=1)


def build(*texts):
    return [state_graph.build(text.split(), LEXICON, TYING) for text in texts]


def test_probabilities_sum_to_one():
    graph = unite(build("a ab", "ba", "ba a"))
    assert graph.first.sum() == pytest.approx(1.0)
    leaving = np.bincount(graph.sources, graph.weights, len(graph.pdfs))
    assert set(np.round(leaving, 6)) == {0.5}  # silence at an end is silence elsewhere, too
    assert (np.diff(graph.targets) >= 0).all()


def test_states_in_the_same_context_are_one():
    once, twice = unite(build("a ab")), unite(build("a ab", "a ab"))
    for one, other in zip(once, twice, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_said_more_often_is_likelier():
    graph = unite(build("ab", "ab", "ba"))
    silence = TYING.pdf("SIL", "SIL", "SIL", 0)
    begins = {TYING.pdf("SIL", phone, "SIL", 0): phone for phone in "AB"}
    (first,) = np.flatnonzero(graph.pdfs == silence)
    found = {
        begins[graph.pdfs[target]]: weight
        for source, target, weight in zip(graph.sources, graph.targets, graph.weights, strict=True)
        if source == first
    }
    assert found == {"A": pytest.approx(1 / 3), "B": pytest.approx(1 / 6)}


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="`graphs` must hold"):
        unite([])
