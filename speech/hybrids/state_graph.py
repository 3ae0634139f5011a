"""The states through which an utterance of known words may pass.

Words have alternative pronunciations, silence may stand before, between and after them.  Each phone
that may occur is a slot; a slot becomes one node for each pair of phones that may stand beside it,
so that states in context are exact, also across words.  A node has the states of its phone in a
row; every state has itself as a predecessor besides those listed.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .lexicon import SILENCE
from .tying import Context, Tying

NO_WORD = -1


class Pronunciations(Protocol):
    """The phones of words, at least one row each: a `Lexicon`, or a dictionary."""

    def __contains__(self, word: object, /) -> bool:
        """Whether there is such a word."""
        ...

    def __getitem__(self, word: str, /) -> Sequence[Sequence[str]]:
        """The pronunciations of a word."""
        ...


class Slot(NamedTuple):
    """A phone that may occur at a place of the utterance."""

    phone: str
    word: int  # which word of the utterance it is in, or NO_WORD


class StateGraph(NamedTuple):
    """States of an utterance, in an order in which predecessors come first."""

    pdfs: np.ndarray  # [states] int32, the tied state of each
    predecessors: np.ndarray  # [states, K] int32, -1 where there are fewer
    is_first: np.ndarray  # [states] bool, whether an utterance may begin there
    is_last: np.ndarray  # [states] bool, whether it may end there
    slots: np.ndarray  # [states] int32, index into `phones`
    phones: tuple[Slot, ...]
    contexts: tuple[Context, ...]  # of each state

    @property
    def num_frames(self) -> int:
        """The fewest frames that lead from a first state to a last one."""
        distance = np.where(self.is_first, 1, np.iinfo(np.int32).max)
        for state, before in enumerate(self.predecessors):
            for other in before[before >= 0]:
                distance[state] = min(distance[state], distance[other] + 1)
        return int(distance[self.is_last].min())


def build(words: Sequence[str], pronunciations: Pronunciations, tying: Tying) -> StateGraph:
    """The graph of an utterance.

    Args:
        words: what is said; none is silence.
        pronunciations: of each word, one at least.
        tying: the tied states.

    Returns:
        The graph.

    Raises:
        ValueError: if words have no pronunciation, or phones that `tying` lacks.

    Example:
        >>> graph = build(["a"], {"a": [("AH",)]}, monophones(["AH"], states=2))
        >>> [graph.phones[slot].phone for slot in graph.slots]
        ['SIL', 'AH', 'AH', 'SIL']
    """
    missing = sorted({word for word in words if word not in pronunciations})
    if missing:
        raise ValueError(
            f"no pronunciation of {', '.join(missing)}; add them to the lexicon, or let letters "
            "tell (`letter_to_sound.cover`)."
        )
    slots, arcs, first, last = _lay_out(words, pronunciations)
    unknown = sorted({slot.phone for slot in slots} - set(tying.phones))
    if unknown:
        raise ValueError(f"`tying` must have the phones {', '.join(unknown)} of these words.")
    return _expand(slots, arcs, first, last, tying)


def _lay_out(
    words: Sequence[str], pronunciations: Pronunciations
) -> tuple[list[Slot], list[tuple[int, int]], list[int], list[int]]:
    """Slots, arcs between them (forward in their order), and where to begin and to end."""
    slots, arcs = [Slot(SILENCE, NO_WORD)], []
    ends, begins = [0], [0]  # slots that the next word may follow; where the utterance may begin
    starts_here = True  # nothing but silence stands before the next word
    for number, word in enumerate(words):
        heads, tails = [], []
        for phones in pronunciations[word]:
            slots += [Slot(phone, number) for phone in phones]
            chain = list(range(len(slots) - len(phones), len(slots)))
            arcs += itertools.pairwise(chain)
            heads.append(chain[0])
            tails.append(chain[-1])
        arcs += [(end, head) for end in ends for head in heads]
        if starts_here:
            begins += heads
            starts_here = False
        silence = len(slots)
        slots.append(Slot(SILENCE, NO_WORD))
        arcs += [(tail, silence) for tail in tails]
        ends = [*tails, silence]
    return slots, arcs, begins, ends


def _expand(
    slots: list[Slot],
    arcs: list[tuple[int, int]],
    begins: list[int],
    ends: list[int],
    tying: Tying,
) -> StateGraph:
    before: list[list[int]] = [[] for _ in slots]
    after: list[list[int]] = [[] for _ in slots]
    for source, target in arcs:
        after[source].append(target)
        before[target].append(source)
    nodes: list[tuple[int, str, str]] = []  # slot, left and right phone
    for index, slot in enumerate(slots):
        if slot.phone == SILENCE:
            nodes.append((index, SILENCE, SILENCE))
            continue
        lefts = {slots[other].phone for other in before[index]}
        rights = {slots[other].phone for other in after[index]}
        lefts |= {SILENCE} if index in begins else set()
        rights |= {SILENCE} if index in ends else set()
        nodes += [(index, *pair) for pair in itertools.product(sorted(lefts), sorted(rights))]
    of_slot: dict[int, list[int]] = {}
    for number, (index, _, _) in enumerate(nodes):
        of_slot.setdefault(index, []).append(number)

    def meet(source: int, target: int) -> bool:
        """Whether each node expects the other's phone, which silence does of any."""
        (one, _, right), (other, left, _) = nodes[source], nodes[target]
        fits = slots[one].phone == SILENCE or right == slots[other].phone
        return fits and (slots[other].phone == SILENCE or left == slots[one].phone)

    contexts, owners, predecessors, heads = [], [], [], []
    is_first, is_last, tails = [], [], []
    for number, (index, left, right) in enumerate(nodes):
        heads.append(len(contexts))
        phone = slots[index].phone
        incoming = [
            tails[other]
            for source in before[index]
            for other in of_slot[source]
            if meet(other, number)
        ]
        states = tying.num_states(phone)
        for state in range(states):
            predecessors.append(incoming if state == 0 else [len(contexts) - 1])
            begins_here = index in begins and (phone == SILENCE or left == SILENCE)
            ends_here = index in ends and (phone == SILENCE or right == SILENCE)
            is_first.append(state == 0 and begins_here)
            is_last.append(state == states - 1 and ends_here)
            contexts.append(Context(left, phone, right, state))
            owners.append(index)
        tails.append(len(contexts) - 1)
    width = max(1, *map(len, predecessors))
    table = np.full((len(contexts), width), -1, np.int32)
    for state, incoming in enumerate(predecessors):
        table[state, : len(incoming)] = incoming
    return StateGraph(
        np.array([tying.pdf(*context) for context in contexts], np.int32),
        table,
        np.array(is_first),
        np.array(is_last),
        np.array(owners, np.int32),
        tuple(slots),
        tuple(contexts),
    )
