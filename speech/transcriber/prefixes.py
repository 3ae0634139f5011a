"""Label sequences as a tree, and what networks remember of those in use.

A prefix is its parent and one more label, so that equal sequences are the same object.  Vectors and
states of networks lie in tables with a row for each prefix that was used lately; networks run on
all rows that need it at once.
"""

import itertools
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from .networks import StepNetwork


class Prefix:
    """A label sequence; but for the empty one made by `extend` only, so that it is the only one."""

    __slots__ = ("__weakref__", "_known", "_number", "label", "length", "parent", "row")

    def __init__(self, parent: "Prefix | None" = None, label: int = 0):
        self.parent = parent
        self.label = label
        self.length: int = 0 if parent is None else parent.length + 1
        self.row: int | None = None  # of the tables, while it has one
        # One table for the whole tree: a table for each prefix costs more than all else.
        self._known: _Known = _Known() if parent is None else parent._known
        self._number = next(self._known.numbers)

    def extend(self, label: int) -> "Prefix":
        """The sequence with one more label."""
        key = self._number, label
        child = self._known.prefixes.get(key)
        if child is None:
            child = self._known.prefixes[key] = Prefix(self, label)
        return child

    def labels(self) -> list[int]:
        """The sequence."""
        found, prefix = [], self
        while prefix.parent is not None:
            found.append(prefix.label)
            prefix = prefix.parent
        return found[::-1]


class _Known:
    """The sequences that somebody holds, by the number of the parent and the label."""

    def __init__(self):
        self.numbers = itertools.count()
        self.prefixes: WeakValueDictionary[tuple[int, int], Prefix] = WeakValueDictionary()


class Table:
    """What a network made of each row's labels.

    Attributes:
        vectors: ``[rows, width]``.
    """

    def __init__(self, network: StepNetwork, num_rows: int):
        self._network = network
        self.vectors = np.zeros((num_rows, network.width), np.float32)
        self._states = [np.zeros((num_rows, size), np.float32) for size in network.sizes]
        self._tokens = np.zeros(num_rows, np.int64)
        self.is_behind = np.zeros(num_rows, bool)  # whose last label the network has not read yet

    def start(self, row: int) -> None:
        """Makes a row that of the empty sequence."""
        for state in self._states:
            state[row] = 0
        self._tokens[row] = 0
        self.catch_up(np.array([row]))

    def append(self, rows: np.ndarray, parents: np.ndarray, labels: np.ndarray) -> None:
        """Makes rows those of other rows with one more label, which the network reads later."""
        for state in self._states:
            state[rows] = state[parents]
        self._tokens[rows] = labels
        self.vectors[rows] = 0
        self.is_behind[rows] = True

    def catch_up(self, rows: np.ndarray) -> None:
        """Runs the network over the last labels of rows."""
        states = [state[rows] for state in self._states]
        self.vectors[rows], states = self._network(self._tokens[rows], states)
        for state, new in zip(self._states, states, strict=True):
            state[rows] = new
        self.is_behind[rows] = False


class Rows:
    """Gives prefixes rows of the tables, and takes them back when there are no more.

    Args:
        number: of rows.
    """

    def __init__(self, number: int):
        self._free = list(range(number))
        self._used: list[Any] = []

    def assign(self, prefixes: list[Prefix], keep: list[Prefix]) -> list[Prefix]:
        """Finds rows for those that have none.

        Args:
            prefixes: who needs a row.
            keep: who must not lose theirs.

        Returns:
            Those of `prefixes` that had none before, each once.
        """
        new = list(dict.fromkeys(prefix for prefix in prefixes if prefix.row is None))
        if len(new) > len(self._free):
            needed = {id(prefix) for prefix in (*prefixes, *keep)}
            for prefix in self._used:
                if id(prefix) not in needed:
                    self._free.append(prefix.row)
                    prefix.row = None
            self._used = [prefix for prefix in self._used if prefix.row is not None]
        for prefix in new:
            prefix.row = self._free.pop()
        self._used += new
        return new
