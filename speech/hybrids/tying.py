"""Which states of phones in context share a model: decision trees grown from data.

A phone has a few states, left to right.  Which distribution a state has may depend on the phones
beside it, of which there are too many combinations to learn each.  A tree for each state of a phone
asks whether the left or the right neighbor is among certain phones; its leaves are the tied states
(*pdfs*, in Kaldi's words).

Trees grow greedily: each time by the question that raises the likelihood of single Gaussians most,

    gain = L(yes) + L(no) - L(yes and no),      L = -n / 2 sum_d log var_d,

over all leaves of all trees, until there are as many as wanted or none gains enough.  Questions are
the clusters of a hierarchical clustering of the phones by their means; no phonetics is put in.

References:
    Young, Odell, Woodland, Tree-based state tying for high accuracy acoustic modelling, HLT 1994.
"""

import functools
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.cluster import hierarchy

from .lexicon import SILENCE


class Question(NamedTuple):
    """An inner node: is a neighbor among these phones?"""

    side: str  # "left" or "right"
    phones: frozenset[str]
    yes: "Node"
    no: "Node"


Node = int | Question  # a leaf is the number of its tied state


class Context(NamedTuple):
    """A state of a phone between two others."""

    left: str
    phone: str
    right: str
    state: int


class Moments(NamedTuple):
    """Sums over frames."""

    number: float
    total: np.ndarray  # [size]
    squares: np.ndarray  # [size]

    def add(self, other: "Moments") -> "Moments":
        """Those of both."""
        return Moments(
            self.number + other.number, self.total + other.total, self.squares + other.squares
        )


@dataclass(frozen=True)
class Tying:
    """A map from states in context to tied states; silence has no context."""

    phones: tuple[str, ...]
    """All phones, silence among them."""
    trees: Mapping[str, tuple[Node, ...]]
    """By phone, one for each of its states."""

    def __post_init__(self):
        if SILENCE not in self.phones:
            raise ValueError(f"`phones` must hold {SILENCE!r}, got {self.phones}.")
        if set(self.phones) != set(self.trees):
            raise ValueError("`trees` must hold the states of every phone and no other.")
        every = sorted(leaf for trees in self.trees.values() for t in trees for leaf in leaves(t))
        if every != list(range(len(every))):
            raise ValueError("`trees` must number their leaves from 0, each once.")

    @property
    def num_pdfs(self) -> int:
        """Number of tied states."""
        return sum(len(leaves(tree)) for trees in self.trees.values() for tree in trees)

    def num_states(self, phone: str) -> int:
        """States of a phone.

        Raises:
            ValueError: if there is no such phone.
        """
        if phone not in self.trees:
            raise ValueError(f"`phone` must be one of {', '.join(self.phones)}, got {phone!r}.")
        return len(self.trees[phone])

    def pdf(self, left: str, phone: str, right: str, state: int) -> int:
        """The tied state of a state in context; utterances begin and end with silence."""
        node = self.trees[phone][state]
        while isinstance(node, Question):
            neighbor = left if node.side == "left" else right
            node = node.yes if neighbor in node.phones else node.no
        return node

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `from_json`."""
        trees = {phone: [_to_json(tree) for tree in trees] for phone, trees in self.trees.items()}
        return {"phones": list(self.phones), "trees": trees}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Tying":
        """Undoes `to_json`.

        Raises:
            ValueError: if the values are none of a tying.
        """
        trees = {phone: tuple(map(_from_json, trees)) for phone, trees in fields["trees"].items()}
        return cls(tuple(fields["phones"]), trees)


def monophones(phones: Iterable[str], *, states: int = 3, silence_states: int = 1) -> Tying:
    """States that do not depend on their context.

    Args:
        phones: all phones; silence is added where it is missing.
        states: of a phone.
        silence_states: of silence.

    Raises:
        ValueError: if a number is not positive.
    """
    if states < 1 or silence_states < 1:
        raise ValueError(
            f"`states` and `silence_states` must be positive, got {states} and {silence_states}."
        )
    ordered = tuple(sorted({*phones, SILENCE}))
    number = itertools.count()
    trees = {
        phone: tuple(next(number) for _ in range(silence_states if phone == SILENCE else states))
        for phone in ordered
    }
    return Tying(ordered, trees)


def grow(
    base: Tying,
    statistics: Mapping[Context, Moments],
    *,
    num_pdfs: int,
    min_frames: float = 100.0,
    min_gain: float = 0.0,
) -> Tying:
    """Grows trees on states without context.

    Args:
        base: of `monophones`.
        statistics: what was aligned to each state in context.
        num_pdfs: tied states wanted.
        min_frames: that a tied state must have.
        min_gain: log likelihood that a question must win.

    Returns:
        Trees with up to `num_pdfs` leaves.

    Raises:
        ValueError: if there are no statistics, or fewer tied states wanted than there are.
    """
    if num_pdfs < base.num_pdfs:
        raise ValueError(
            f"`num_pdfs` must be at least {base.num_pdfs}, one for each state without context, got "
            f"{num_pdfs}."
        )
    if not statistics:
        raise ValueError("`statistics` must not be empty.")
    everything = functools.reduce(Moments.add, statistics.values())
    floor = 0.01 * _variance(everything, 0.0) + 1e-8
    questions = _draw_questions(statistics)
    roots = {phone: [_Branch([]) for _ in range(base.num_states(phone))] for phone in base.phones}
    for context in sorted(statistics):
        roots[context.phone][context.state].contexts.append(context)
    heap: list[tuple[float, int, _Branch, str, frozenset[str]]] = []
    number = base.num_pdfs
    ties = itertools.count()  # of equal gains the older one first

    def consider(branch: _Branch) -> None:
        found = _find_split(branch.contexts, statistics, questions, floor, min_frames)
        if found is not None and found[0] > min_gain:
            heapq.heappush(heap, (-found[0], next(ties), branch, *found[1:]))

    for phone, branches in roots.items():
        for branch in branches if phone != SILENCE else []:
            consider(branch)
    while heap and number < num_pdfs:
        _, _, branch, side, asked = heapq.heappop(heap)
        yes, no = (_Branch(contexts) for contexts in _divide(branch.contexts, side, asked))
        branch.split = side, asked, yes, no
        number += 1
        consider(yes)
        consider(no)
    numbers = itertools.count()
    trees = {
        phone: tuple(_freeze(branch, numbers) for branch in branches)
        for phone, branches in roots.items()
    }
    return Tying(base.phones, trees)


@dataclass(eq=False)
class _Branch:
    """A node of a tree that grows."""

    contexts: list[Context]
    split: tuple[str, frozenset[str], "_Branch", "_Branch"] | None = None


def _freeze(branch: _Branch, numbers: Iterator[int]) -> Node:
    if branch.split is None:
        return next(numbers)
    side, asked, yes, no = branch.split
    return Question(side, asked, _freeze(yes, numbers), _freeze(no, numbers))


def _find_split(
    contexts: list[Context],
    statistics: Mapping[Context, Moments],
    questions: list[frozenset[str]],
    floor: np.ndarray,
    min_frames: float,
) -> tuple[float, str, frozenset[str]] | None:
    """The question that gains most, ``(gain, side, phones)``; None if none may be asked."""
    best = None
    if len(contexts) < 2:
        return None
    whole = _log_likelihood(
        functools.reduce(Moments.add, (statistics[one] for one in contexts)), floor
    )
    for side in ("left", "right"):
        by_neighbor: dict[str, Moments] = {}
        for context in contexts:
            neighbor, moments = getattr(context, side), statistics[context]
            known = by_neighbor.get(neighbor)
            by_neighbor[neighbor] = moments if known is None else known.add(moments)
        for asked in questions:
            parts = [
                [moments for phone, moments in by_neighbor.items() if (phone in asked) == answer]
                for answer in (True, False)
            ]
            if not all(parts):
                continue
            yes, no = (functools.reduce(Moments.add, part) for part in parts)
            if min(yes.number, no.number) < min_frames:
                continue
            gain = _log_likelihood(yes, floor) + _log_likelihood(no, floor) - whole
            if best is None or gain > best[0]:
                best = gain, side, asked
    return best


def _divide(
    contexts: list[Context], side: str, asked: frozenset[str]
) -> tuple[list[Context], list[Context]]:
    yes = [context for context in contexts if getattr(context, side) in asked]
    no = [context for context in contexts if getattr(context, side) not in asked]
    return yes, no


def _draw_questions(statistics: Mapping[Context, Moments]) -> list[frozenset[str]]:
    """Every phone and every cluster of phones that sound alike, without doubles."""
    by_phone: dict[str, Moments] = {}
    for context, moments in sorted(statistics.items(), key=lambda pair: pair[0]):
        known = by_phone.get(context.phone)
        by_phone[context.phone] = moments if known is None else known.add(moments)
    phones = sorted(by_phone)
    clusters = [frozenset([phone]) for phone in phones]
    if len(phones) > 2:
        spread = np.sqrt(_variance(functools.reduce(Moments.add, by_phone.values()), 1e-8))
        means = np.stack([by_phone[p].total / max(by_phone[p].number, 1e-8) for p in phones])
        for left, right, *_ in hierarchy.linkage(means / spread, method="ward"):
            clusters.append(clusters[int(left)] | clusters[int(right)])
        clusters.pop()  # all of them: no question
    return list(dict.fromkeys(clusters))


def _variance(moments: Moments, floor: Any) -> np.ndarray:
    number = max(moments.number, 1e-8)
    return np.maximum(moments.squares / number - (moments.total / number) ** 2, floor)


def _log_likelihood(moments: Moments, floor: np.ndarray) -> float:
    """Of the frames under their own Gaussian, up to a constant for each frame."""
    return float(-0.5 * moments.number * np.sum(np.log(_variance(moments, floor))))


def parents(tying: Tying, base: Tying) -> np.ndarray:
    """The tied state without context, in `base`, that each one of `tying` came from, ``[pdfs]``."""
    found = np.zeros(tying.num_pdfs, int)
    for phone, trees in tying.trees.items():
        for state, tree in enumerate(trees):
            found[leaves(tree)] = base.pdf(SILENCE, phone, SILENCE, state)
    return found


def leaves(node: Node) -> list[int]:
    """The tied states of a tree."""
    if isinstance(node, Question):
        return leaves(node.yes) + leaves(node.no)
    return [node]


def _to_json(node: Node) -> Any:
    if isinstance(node, Question):
        return [node.side, sorted(node.phones), _to_json(node.yes), _to_json(node.no)]
    return node


def _from_json(value: Any) -> Node:
    if isinstance(value, int):
        return value
    try:
        side, phones, yes, no = value
        if side not in ("left", "right"):
            raise ValueError(side)
        return Question(side, frozenset(phones), _from_json(yes), _from_json(no))
    except (TypeError, ValueError):
        raise ValueError(f"`fields` hold {value!r}, which is no node of a tree.") from None
