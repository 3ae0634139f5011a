"""The text of a compiled program: its computations, their instructions, and what those call.

XLA prints an optimized program as computations in HLO, one instruction a line,

    %name = shape kind(%operand, %operand), attribute=..., attribute=...

from which `traffic` counts bytes and `overlap` what is computed meanwhile.  Where a module says
``is_scheduled=true`` the order of lines is the order of execution.  On TPU an asynchronous
collective may be spread over several fusions, which all print the whole collective: one that
starts it, some that move it on beside their own products, and one that waits for its end.  They
share the ``chain_id`` of the collective.
"""

import math
import re
from typing import Any, NamedTuple


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    shape: str
    kind: str  # "fusion", "collective-permute-start", ...
    rest: str  # operands and attributes

    @property
    def operands(self) -> list[str]:
        """The names of the operands."""
        return _NAMES.findall(self.rest.partition(")")[0])

    @property
    def called(self) -> list[str]:
        """The computations that may run in it: a loop's body, all branches, a fusion's inside."""
        if self.kind == "while":
            return re.findall(r"body=%([\w.\-]+)", self.rest)
        if self.kind == "conditional":
            branches = _BRANCHES.search(self.rest)
            names = _NAMES.findall(branches[1]) if branches else []
            return names or re.findall(r"(?:true|false)_computation=%([\w.\-]+)", self.rest)
        return _CALLED.findall(self.rest)[:1]

    @property
    def trip_count(self) -> int | None:
        """How often a loop runs, where the compiler says so."""
        trips = find(r'known_trip_count":\{"n":"(\d+)"', self.rest)
        return None if trips is None else int(trips)


class Computation(NamedTuple):
    """A sequence of instructions, in the order of execution where the program is scheduled."""

    instructions: list[Instruction]

    @property
    def shapes(self) -> dict[str, str]:
        """The shape of each instruction by its name."""
        return {one.name: one.shape for one in self.instructions}

    def chains(self, part: str = "") -> set[str]:
        """Which asynchronous collectives a fusion on TPU has a part of.

        Args:
            part: "Start" or "Done" for fusions that start or end one; by default any.

        Returns:
            The chain ids.
        """
        targets = (find(r'custom_call_target="(\w+)"', one.rest) for one in self.instructions)
        if part and f"AsyncCollective{part}" not in targets:
            return set()
        found = (find(r'chain_id="?(\w+)', one.rest) for one in self.instructions)
        return {chain for chain in found if chain is not None}


class Program(NamedTuple):
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str
    num_devices: int


_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_NAMES = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:to_apply|calls|called_computations)=\{?%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


def read(compiled: Any) -> Program:
    """Reads a compiled program.

    Args:
        compiled: what ``jax.jit(f).lower(...).compile()`` gives, or its text.

    Returns:
        A `Program`.

    Raises:
        ValueError: if there is none in the text.
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    computations: dict[str, Computation] = {}
    entry, current = None, []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = []
            computations[head[2]] = Computation(current)
            entry = head[2] if head[1] else entry
        elif found := _LINE.match(line):
            current.append(Instruction(*found.groups()))
    if entry is None:
        raise ValueError("`compiled` must be a compiled program or its text, got none of them.")
    partitions = int(find(r"num_partitions=(\d+)", text) or 1)
    return Program(computations, entry, partitions * int(find(r"replica_count=(\d+)", text) or 1))


def num_bytes(shape: str) -> int:
    """The size of an array, or of all in a tuple, by its printed shape."""
    total = 0
    for dtype, dimensions in _ARRAY.findall(shape):
        bits = 8 if dtype == "pred" else int(find(r"[a-z]+(\d+)", dtype) or 0)
        total += -(-bits * math.prod(_sizes(dimensions)) // 8)
    return total


def dimensions(shape: str) -> list[int]:
    """The dimensions of an array, the first in a tuple, by its printed shape."""
    array = _ARRAY.search(shape)
    return _sizes(array[2]) if array else []


def find(pattern: str, text: str) -> Any:
    """The first group of the first match, or None."""
    found = re.search(pattern, text)
    return found[1] if found else None


def _sizes(printed: str) -> list[int]:
    return [int(size) for size in printed.split(",") if size]
