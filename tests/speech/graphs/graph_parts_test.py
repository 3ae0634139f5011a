import collections
import itertools
import math

import numpy as np
import pytest

from gossamer.speech.graphs import graph_parts, ngram
from gossamer.speech.graphs.automaton import Automaton
from gossamer.speech.hybrids import lexicon

WORDS = lexicon.Lexicon(
    {
        "to": (("T", "UW"), ("T", "AH")),
        "two": (("T", "UW"),),
        "tuna": (("T", "UW", "N", "AH"),),
        "a": (("AH",),),
    }
)
PHONES = ("AH", "N", "SIL", "T", "UW")


def test_shared_pronunciations_are_marked(all_paths):
    made = graph_parts.lexicon_automaton(WORDS, PHONES, silence=0.25)
    assert made.marks == [6, 7, 8, 9]  # #0, two of words, and that of silence
    assert made.back_off == 5
    t, uw, n, ah = 4, 5, 2, 1
    spoken = math.log(0.75)
    wanted = {
        ((t, uw, 7), (1,)): -2 * spoken,  # "tuna" and "two" begin with it
        ((t, ah), (1,)): -2 * spoken,
        ((t, uw, 8), (2,)): -2 * spoken,
        ((t, uw, n, ah), (3,)): -2 * spoken,
        ((ah,), (4,)): -2 * spoken,
    }
    paths = [path for n in range(5) for path in all_paths(made.automaton, n) if path[3]]
    found = {path[:2]: path[2] for path in paths if len(path[1]) == 1 and not {3, 6} & set(path[0])}
    assert found == pytest.approx(wanted)
    # A silence on either side; nothing but silence; backing off between the words.
    sides = {path[:2]: path[2] for path in paths if path[1] == (4,) and 3 in path[0]}
    assert sides[(3, 9, ah), (4,)] == pytest.approx(-math.log(0.25) - spoken)
    assert sides[(ah, 3, 9), (4,)] == pytest.approx(-math.log(0.25) - spoken)
    assert {path[:2] for path in paths if path[1] in ((), (5,)) and len(path[0]) < 3} == {
        ((), ()),
        ((3, 9), ()),
        ((6,), (5,)),
    }


@pytest.mark.parametrize("order", [1, 2, 3])
def test_sentences_cost_what_the_model_says(order):
    generator = np.random.default_rng(0)
    words = list(WORDS.pronunciations)
    texts = [" ".join(generator.choice(words, n)) for n in generator.integers(0, 6, 30)]
    model = ngram.train(texts[:15], order=order, vocabulary=words)
    made = graph_parts.grammar_automaton(model, WORDS, 9)
    arcs = {
        (source, read): (target, cost, written)
        for source, target, read, written, cost in zip(*made[:5], strict=True)
    }
    assert len(arcs) == len(made.sources)
    assert {written for (_, read), (_, _, written) in arcs.items() if read == 9} <= {0}
    for text in texts:
        state, total = 0, 0.0
        for word in [*text.split(), None]:
            label = words.index(word) + 1 if word else None
            while (state, label) not in arcs if word else np.isinf(made.finals[state]):
                state, cost, _ = arcs[state, 9]
                total += cost
            state, cost, written = arcs[state, label] if word else (0, made.finals[state], label)
            assert written == label
            total += cost
        assert total == pytest.approx(-model.log_prob(text), rel=1e-5)


def test_hmm_states_are_shared_by_contexts(all_paths, pair_tying):
    # Windows of compose_context: nothing, the beginning, #0 as 9, and phones from 1, 0 at the ends.
    windows = [[], [0], [-9], [0, 1, 4], [5, 1, 4], [5, 1, 0], [1, 3, 4], [0, 3, 0]]
    made = graph_parts.hmm_automaton(windows, PHONES, pair_tying(PHONES))
    silence, ah = 2, 0
    assert made.states.tolist() == [
        [ah, 0, 2 + 2],
        [ah, 0, 2 + 4],
        [silence, 0, 0],
        [silence, 1, 1],
    ]
    paths = {path[:2] for n in range(3) for path in all_paths(made.automaton, n) if path[3]}
    single = {(inputs, outputs) for inputs, outputs in paths if len(outputs) == 1}
    assert single == {
        ((5,), (1,)),
        ((6,), (2,)),
        ((1,), (3,)),
        ((2,), (4,)),
        ((2,), (5,)),
        ((3, 4), (6,)),
        ((3, 4), (7,)),
    }


def test_loops_let_every_state_last(all_paths):
    arcs = [(0, 1, 1, 8, 0.5), (0, 1, 2, 0, 0.25), (1, 2, 0, 9, 1.0), (2, 1, 1, 0, 0.0)]
    arcs += [(1, 1, 3, 0, 0.125)]
    plain = Automaton.of(arcs, [np.inf, 2.0, 0.75])
    looped = graph_parts.add_loops(plain, stay=0.25)
    frames = 4
    wanted = collections.Counter()
    for read in range(1, frames + 1):
        for inputs, outputs, cost, final in all_paths(plain, read):
            cost -= read * math.log(0.75) + (frames - read) * math.log(0.25)
            for ends in itertools.combinations(range(1, frames), read - 1):
                lengths = np.diff([0, *ends, frames])
                states = [
                    label
                    for state, length in zip(inputs, lengths, strict=True)
                    for label in [2 * state - 1, *[2 * state] * (length - 1)]
                ]
                wanted[tuple(states), outputs, round(cost, 4), final] += 1
    found = collections.Counter(
        (inputs, outputs, round(cost, 4), final)
        for inputs, outputs, cost, final in all_paths(looped, frames)
    )
    assert found == wanted
