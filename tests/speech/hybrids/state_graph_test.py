import itertools

import numpy as np
import pytest

from gossamer.speech.hybrids.lexicon import SILENCE
from gossamer.speech.hybrids.state_graph import NO_WORD, Slot, build
from gossamer.speech.hybrids.tying import Context, monophones

LEXICON = {"a": [("A",)], "ab": [("A", "B"), ("B",)], "ca": [("C", "A"), ("C",)]}
TYING = monophones("ABC", states=2)


def sequences(words):
    """Every phone sequence of an utterance in words of their own, independently of graphs."""
    choices = itertools.product(*(LEXICON[word] for word in words))
    for variant in choices:
        for silences in itertools.product((False, True), repeat=len(words) + 1):
            phones = [SILENCE] if silences[0] else []
            for part, silence in zip(variant, silences[1:], strict=True):
                phones += [*part, *([SILENCE] if silence else [])]
            if phones:
                yield tuple(phones)


def paths(graph):
    """Every sequence of states from a first to a last one, as contexts."""
    after = {state: [] for state in range(-1, len(graph.pdfs))}
    for state, before in enumerate(graph.predecessors):
        for other in before[before >= 0]:
            after[other].append(state)

    def walk(state):
        if graph.is_last[state]:
            yield (state,)
        for following in after[state]:
            for rest in walk(following):
                yield (state, *rest)

    for first in np.flatnonzero(graph.is_first):
        for path in walk(int(first)):
            yield [graph.contexts[state] for state in path]


def expected_contexts(phones):
    padded = (SILENCE, *phones, SILENCE)
    found = []
    for left, phone, right in zip(padded, padded[1:], padded[2:], strict=False):
        around = (SILENCE, SILENCE) if phone == SILENCE else (left, right)
        found += [
            Context(around[0], phone, around[1], state) for state in range(TYING.num_states(phone))
        ]
    return found


@pytest.mark.parametrize("words", [["a"], ["ab"], ["ca", "ab"], ["ab", "a", "ca"]])
def test_paths_are_all_ways_to_say_it(words):
    graph = build(words, LEXICON, TYING)
    # Different words and pronunciations may have the same phones.
    found = {tuple(path) for path in paths(graph)}
    expected = {tuple(expected_contexts(phones)) for phones in sequences(words)}
    assert found == expected
    assert graph.num_frames == min(map(len, expected))


def test_states_come_in_order():
    graph = build(["ca", "ab"], LEXICON, TYING)
    before = graph.predecessors
    assert (before < np.arange(len(before))[:, None]).all()
    assert graph.phones[0] == Slot(SILENCE, NO_WORD)
    assert [slot.word for slot in graph.phones if slot.phone == "C"] == [0, 0]
    np.testing.assert_array_equal(graph.pdfs, [TYING.pdf(*context) for context in graph.contexts])


def test_nothing_said_is_silence():
    graph = build([], LEXICON, TYING)
    assert list(paths(graph)) == [[Context(SILENCE, SILENCE, SILENCE, 0)]]


def test_refusals():
    with pytest.raises(ValueError, match="no pronunciation of xx, yy"):
        build(["yy", "a", "xx"], LEXICON, TYING)
    with pytest.raises(ValueError, match="must have the phones C"):
        build(["ca"], LEXICON, monophones("AB"))
