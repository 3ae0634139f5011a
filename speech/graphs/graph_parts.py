"""The three automata that a decoding graph is composed of, and the loops that are added last.

    L  phones to words, with silence or without it between words
    G  words to words, at the costs of an n-gram model
    H  HMM states to phones in context

Phones that several words begin with can be shared only if the automata stay determinizable. So each
pronunciation that another one equals or begins with ends with a symbol of its own, ``#1``, ``#2``,
...; the arcs along which an n-gram model backs off read ``#0``, and the optional silence is marked
by the last symbol.

References:
    M. Mohri, F. Pereira and M. Riley, Speech Recognition with Weighted Finite-State Transducers,
    2008 (Springer Handbook of Speech Processing).
"""

import collections
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..hybrids.lexicon import SILENCE, Lexicon, Pronunciation
from .automaton import NOTHING, Automaton, leaving
from .ngram import END, NGram

_START, _BETWEEN, _SILENCE, _AFTER = range(4)  # states of L


class Tying(Protocol):
    """Which HMM states share a distribution."""

    @property
    def phones(self) -> Sequence[str]:
        """Names of the phones, silence among them."""
        ...

    @property
    def num_pdfs(self) -> int:
        """Number of distributions."""
        ...

    def num_states(self, phone: str) -> int:
        """Number of HMM states of a phone, passed from left to right."""
        ...

    def pdf(self, left: str, phone: str, right: str, state: int) -> int:
        """The distribution of a phone's HMM state between two phones."""
        ...


class LexiconAutomaton(NamedTuple):
    """L and its symbols."""

    automaton: Automaton  # phones are numbered from 1, words too
    marks: list[int]  # inputs that are no phones, #0 first
    back_off: int  # output, #0


def lexicon_automaton(
    lexicon: Lexicon, phones: Sequence[str], *, silence: float
) -> LexiconAutomaton:
    """L, the phones of every word.

    Args:
        lexicon: word ``i`` of it is the output ``i + 1``.
        phones: phone ``i`` of them is the input ``i + 1``.
        silence: probability of a silence before, between and after words.
    """
    symbols = {phone: number for number, phone in enumerate(phones, start=1)}
    marked = list(_mark(lexicon))
    marks = range(len(phones) + 1, len(phones) + 3 + max(mark for *_, mark in marked))
    back_off = 1 + len(lexicon)
    spoken, silent = -math.log(1 - silence), -math.log(silence)
    arcs = [
        (_START, _BETWEEN, NOTHING, NOTHING, spoken),
        (_START, _SILENCE, NOTHING, NOTHING, silent),
        (_SILENCE, _AFTER, symbols[SILENCE], NOTHING, 0.0),
        (_AFTER, _BETWEEN, marks[-1], NOTHING, 0.0),
        (_BETWEEN, _BETWEEN, marks[0], back_off, 0.0),
    ]
    state = _AFTER
    for word, pronunciation, mark in marked:
        *inputs, last = [symbols[phone] for phone in pronunciation] + [marks[mark]] * (mark > 0)
        source, output = _BETWEEN, word
        for symbol in inputs:
            state += 1
            arcs.append((source, state, symbol, output, 0.0))
            source, output = state, NOTHING
        # Straight to the next word: were each end a state, each would be determinized by itself.
        arcs.append((source, _BETWEEN, last, output, spoken))
        arcs.append((source, _SILENCE, last, output, silent))
    finals = np.full(state + 1, np.inf)
    finals[_BETWEEN] = 0.0
    return LexiconAutomaton(Automaton.of(arcs, finals), list(marks), back_off)


def grammar_automaton(model: NGram, lexicon: Lexicon, back_off: int) -> Automaton:
    """G, all sentences at their costs.

    Backing off is always allowed, as usual: where it is cheaper than a longer n-gram, a sentence
    costs less than by the model.

    Args:
        model: of the lexicon's words; ``<unk>`` has no pronunciation and is left out.
        lexicon: word ``i`` of it is input and output ``i + 1``.
        back_off: the input of arcs that back off.
    """
    states, places = np.unique(model.contexts, return_inverse=True)
    numbers = {word: number for number, word in enumerate(lexicon.pronunciations, start=1)}
    labels = np.array([numbers.get(word, 0) for word in model.words])
    said = np.flatnonzero(labels[model.last_words])
    label = labels[model.last_words[said]]
    sources = places[model.parents]
    spoken = np.column_stack((sources[said], places[said], label, label, -model.log_probs[said]))
    longer = states[states > 0]
    backing_off = np.zeros((len(longer), 5))
    backing_off[:, :2] = np.column_stack((places[longer], places[model.suffixes[longer]]))
    backing_off[:, 2] = back_off
    backing_off[:, 4] = -model.log_backoffs[longer]
    finals = np.full(len(states), np.inf)
    ends = np.flatnonzero(model.last_words == model.ids[END])
    finals[sources[ends]] = -model.log_probs[ends]
    arcs = np.concatenate((spoken, backing_off))
    return Automaton.of(arcs, finals).begin_at(int(places[model.start]))


class HmmAutomaton(NamedTuple):
    """H and its symbols."""

    automaton: Automaton
    states: np.ndarray  # [HMM states, 3] phone, number in it, pdf; the input of state i is i + 1


def hmm_automaton(
    windows: Sequence[Sequence[int]], phones: Sequence[str], tying: Tying
) -> HmmAutomaton:
    """H, the HMM states of phones in context, each read once.

    Args:
        windows: as ``kaldifst.compose_context`` lists them: what output ``i`` means, the phone
            before, the phone, and the phone after, each counted from 1 and 0 at the ends of an
            utterance; or a single number for a mark.
        phones: names of the phones.
        tying: their HMM states.
    """
    names = (SILENCE, *phones)
    chains: dict[int, list[tuple[int, int, int]]] = {}
    for output, window in enumerate(windows):
        if len(window) == 3:
            before, phone, after = (names[number] for number in window)
            chains[output] = [
                (window[1] - 1, state, tying.pdf(before, phone, after, state))
                for state in range(tying.num_states(phone))
            ]
    states = sorted({state for chain in chains.values() for state in chain})
    inputs = {state: number for number, state in enumerate(states, start=1)}
    last = 0
    arcs = [
        (0, 0, len(states) + output, output, 0.0)
        for output, window in enumerate(windows)
        if len(window) == 1
    ]
    for output, chain in chains.items():
        source = 0
        for number, state in enumerate(chain, start=1):
            last += number < len(chain)
            target = last if number < len(chain) else 0
            arcs.append((source, target, inputs[state], output, 0.0))
            source, output = target, NOTHING
    finals = np.full(last + 1, np.inf)
    finals[0] = 0.0
    return HmmAutomaton(Automaton.of(arcs, finals), np.array(states))


def add_loops(automaton: Automaton, *, stay: float) -> Automaton:
    """Lets HMM states last.

    Input ``h`` of HMM state ``h - 1`` becomes ``2 h - 1``, which begins it, and its loops read
    ``2 h``.  So that each state of the automaton has the loop of one HMM state at most, it is split
    by what is read before it.

    Args:
        automaton: reads each HMM state once.
        stay: probability of a loop.
    """
    before = np.append(automaton.inputs, NOTHING)
    pairs = np.column_stack((np.append(automaton.targets, 0), before))
    states, places = np.unique(pairs, axis=0, return_inverse=True)
    arcs, sources = leaving(automaton.starts, states[:, 0])
    read = automaton.inputs[arcs]
    moved = np.column_stack(
        (
            sources,
            places[arcs],
            np.where(read > 0, 2 * read - 1, NOTHING),
            automaton.outputs[arcs],
            automaton.costs[arcs] - np.where(read > 0, math.log(1 - stay), 0.0),
        )
    )
    lasting = np.flatnonzero(states[:, 1])
    loops = np.column_stack(
        (
            lasting,
            lasting,
            2 * states[lasting, 1],
            np.full(len(lasting), NOTHING),
            np.full(len(lasting), -math.log(stay)),
        )
    )
    split = Automaton.of(np.concatenate((moved, loops)), automaton.finals[states[:, 0]])
    return split.begin_at(int(places[-1]))


def _mark(lexicon: Lexicon) -> Iterator[tuple[int, Pronunciation, int]]:
    """Words from 1 with each pronunciation and its mark, 0 where it needs none."""
    variants = [phones for variants in lexicon.pronunciations.values() for phones in variants]
    numbers = collections.Counter(variants)
    begun = {phones[:length] for phones in numbers for length in range(1, len(phones))}
    used: dict[Pronunciation, int] = collections.Counter()
    for word, variants in enumerate(lexicon.pronunciations.values(), start=1):
        for phones in variants:
            used[phones] += 1
            shared = numbers[phones] > 1 or phones in begun
            yield word, phones, used[phones] if shared else 0
