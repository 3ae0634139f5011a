"""Weighted finite-state transducers as arrays, and as kaldifst holds them.

A path of arcs from state 0 to a final state reads the inputs and writes the outputs of its arcs,
except for 0, which stands for nothing, at the sum of the costs of its arcs and of the final state.
Costs are negative natural logarithms of probabilities.

To compose, determinize and minimize them is kaldifst's work, which is in the extra ``hybrid``.

References:
    M. Mohri, F. Pereira and M. Riley, Weighted Finite-State Transducers in Speech Recognition, 2002
    (Computer Speech and Language 16).
"""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

NOTHING = 0  # as an input or output


class Automaton(NamedTuple):
    """A transducer, its arcs sorted by their sources."""

    sources: np.ndarray  # [arcs] int32 states
    targets: np.ndarray  # [arcs] int32 states
    inputs: np.ndarray  # [arcs] int32
    outputs: np.ndarray  # [arcs] int32
    costs: np.ndarray  # [arcs] float32
    finals: np.ndarray  # [states] float32 costs, infinite where not final

    @classmethod
    def of(cls, arcs: ArrayLike, finals: ArrayLike) -> "Automaton":
        """An automaton of its arcs in any order.

        Args:
            arcs: [arcs, 5] source, target, input, output, cost.
            finals: [states] costs, infinite where not final.
        """
        arcs = np.asarray(arcs, np.float64).reshape(-1, 5)
        arcs = arcs[np.argsort(arcs[:, 0], kind="stable")]
        sources, targets, inputs, outputs = arcs[:, :4].astype(np.int32).T
        costs, finals = arcs[:, 4].astype(np.float32), np.asarray(finals, np.float32)
        return cls(sources, targets, inputs, outputs, costs, finals)

    @property
    def starts(self) -> np.ndarray:
        """[states + 1], where the arcs of each state begin, and the number of arcs."""
        return np.searchsorted(self.sources, np.arange(len(self.finals) + 1))

    def begin_at(self, start: int) -> "Automaton":
        """The automaton with another first state, which changes places with the present one."""
        places = np.arange(len(self.finals))
        places[[0, start]] = start, 0
        ends = places[self.sources], places[self.targets]
        arcs = np.column_stack((*ends, self.inputs, self.outputs, self.costs))
        return Automaton.of(arcs, self.finals[places])


def leaving(starts: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arcs that leave states.

    Args:
        starts: see `Automaton.starts`.
        states: [n].

    Returns:
        [m] numbers of arcs, and [m] the place among `states` of the state that each one leaves.
    """
    numbers = starts[states + 1] - starts[states]
    places = np.repeat(np.arange(len(states)), numbers)
    first = starts[states] - np.cumsum(numbers) + numbers
    return first[places] + np.arange(len(places)), places


def kaldifst() -> ModuleType:
    """The package of that name.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import kaldifst
    except ImportError as error:
        raise ValueError(
            "decoding graphs are composed by kaldifst: pip install '.[hybrid]' in a checkout of "
            "gossamer; a graph that another machine wrote needs nothing."
        ) from error
    return kaldifst


def to_fst(automaton: Automaton) -> Any:
    """The same as a ``kaldifst.StdVectorFst``, whose states may have other numbers."""
    arcs = zip(*(column.tolist() for column in automaton[:5]), strict=True)
    lines = [f"{s} {t} {i} {o} {cost:.9g}" for s, t, i, o, cost in arcs]
    finals = enumerate(automaton.finals.tolist())
    lines += [f"{state} {cost:.9g}" for state, cost in finals if np.isfinite(cost)]
    if not len(automaton.sources) or automaton.sources[0] != 0:
        lines = sorted(lines, key=lambda line: not line.startswith("0 "))
    return kaldifst().compile("\n".join(lines) + "\n")


def from_fst(fst: Any) -> Automaton:
    """The same as arrays; of a lattice, whose costs have two parts, with their sums.

    Raises:
        ValueError: if it has no path.
    """
    lines = [line.split() for line in fst.to_str(show_weight_one=True).splitlines()]
    for line in lines:
        if "," in line[-1]:
            line[-1] = sum(map(float, line[-1].split(",")))
    arcs = np.array([line for line in lines if len(line) == 5], np.float64).reshape(-1, 5)
    final = np.array([line for line in lines if len(line) == 2], np.float64).reshape(-1, 2)
    if not len(final):
        raise ValueError("`fst` must have a path to a final state, got none.")
    finals = np.full(fst.num_states, np.inf)
    finals[final[:, 0].astype(int)] = final[:, 1]
    return Automaton.of(arcs, finals).begin_at(fst.start)
