"""Alignments against enumeration of every path of small utterances."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.hybrids import alignment
from gossamer.speech.hybrids.alignment import Alignment, Segment
from gossamer.speech.hybrids.lexicon import SILENCE
from gossamer.speech.hybrids.state_graph import NO_WORD, build
from gossamer.speech.hybrids.tying import monophones

LEXICON = {"a": [("A",)], "ab": [("A", "B"), ("B",)], "b": [("B",)]}
TYING = monophones("AB", states=2)


def best_path(graph, log_likelihoods):
    """By all sequences of states of that many frames."""
    frames = len(log_likelihoods)
    best = -math.inf, None

    def extend(path, score):
        nonlocal best
        if len(path) == frames:
            if graph.is_last[path[-1]] and score > best[0]:
                best = score, path
            return
        now = len(path)
        state = path[-1]
        options = [(state, math.log(alignment.STAY))]
        options += [
            (other, math.log(1 - alignment.STAY))
            for other in range(len(graph.pdfs))
            if state in graph.predecessors[other]
        ]
        for other, cost in options:
            extend([*path, other], score + cost + log_likelihoods[now, graph.pdfs[other]])

    for first in np.flatnonzero(graph.is_first):
        extend([int(first)], log_likelihoods[0, graph.pdfs[first]])
    return best


@pytest.mark.parametrize("seed", range(3))
def test_the_best_path_is_found(seed):
    generator = np.random.default_rng(seed)
    utterances = [["ab"], ["b", "a"], ["a"]]
    lengths = [7, 6, 3]
    graphs = [build(words, LEXICON, TYING) for words in utterances]
    scores = generator.normal(size=(3, 7, TYING.num_pdfs)).astype(np.float32)
    paddings = np.arange(7)[None] >= np.array(lengths)[:, None]
    found = alignment.align(jnp.asarray(scores), jnp.asarray(paddings, jnp.float32), graphs)
    for one, graph, frames, length in zip(found, graphs, scores, lengths, strict=True):
        score, path = best_path(graph, frames[:length])
        assert one is not None
        np.testing.assert_allclose(one.score, score, rtol=1e-5)
        assert one.states.tolist() == path


def test_too_few_frames():
    graph = build(["ab", "ab"], LEXICON, TYING)
    assert graph.num_frames == 4
    scores, paddings = jnp.zeros((2, 4, TYING.num_pdfs)), jnp.array([[0.0] * 4, [0.0] * 3 + [1.0]])
    long_enough, too_short = alignment.align(scores, paddings, [graph, graph])
    assert long_enough is not None
    assert too_short is None


def test_segments_of_phones_and_words():
    graph = build(["b", "a"], LEXICON, TYING)
    phones = [graph.phones[slot].phone for slot in graph.slots]
    b, a = phones.index("B"), phones.index("A")
    path = np.array([0, 0, b, b + 1, b + 1, a, a + 1], np.int32)
    spoken = [graph.contexts[state].phone for state in path]
    assert spoken == [SILENCE, SILENCE, *"BBBAA"]
    found, words = alignment.segments(Alignment(path, 0.0), graph, ["b", "a"], frame_seconds=0.5)
    assert found == [
        Segment(SILENCE, 0.0, 1.0, NO_WORD),
        Segment("B", 1.0, 2.5, 0),
        Segment("A", 2.5, 3.5, 1),
    ]
    assert words == [Segment("b", 1.0, 2.5, 0), Segment("a", 2.5, 3.5, 1)]


def test_the_first_alignment_is_even():
    graph = build(["b", "a"], LEXICON, TYING)
    found = alignment.uniform(graph, 100)
    assert found is not None
    assert len(found.states) == 100
    labels = [graph.contexts[state] for state in found.states]
    runs = [(key, len(list(group))) for key, group in itertools.groupby(labels)]
    assert [context.phone for context, _ in runs] == [SILENCE, *"BBAA", SILENCE]
    assert all(abs(length - 20) <= 1 for context, length in runs if context.phone != SILENCE)
    assert all(abs(length - 10) <= 1 for context, length in runs if context.phone == SILENCE)
    steps = np.flatnonzero(np.diff(found.states))
    for step in steps:  # a path of the graph
        before, after = found.states[step], found.states[step + 1]
        assert before in graph.predecessors[after]
    assert alignment.uniform(graph, 5) is None


def test_refusals():
    graph = build(["a"], LEXICON, TYING)
    with pytest.raises(ValueError, match=r"must be .batch, frames, pdfs"):
        alignment.align(jnp.zeros((4, 5)), jnp.zeros(4), [graph])
    with pytest.raises(ValueError, match="one for each of 2"):
        alignment.align(jnp.zeros((2, 4, 5)), jnp.zeros((2, 4)), [graph])
    words = ["ab"] * 1000
    with pytest.raises(ValueError, match="at most 4096 states"):
        alignment.align(jnp.zeros((1, 4, 5)), jnp.zeros((1, 4)), [build(words, LEXICON, TYING)])
