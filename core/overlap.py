"""What is computed while a message is on its way, read from a scheduled program.

Between the start and the end of an asynchronous collective the compiler schedules computations that
do not need its result.  For each collective of a program this counts the bytes that a device sends,
the operations in between, and their floating-point operations: those of matrix products and
convolutions, each multiplication and addition one, in fusions too, in loops as often as they run.

    AWC, x_i <- sum_j W_ij x_j + u_i:    messages need the old weights only, so that all products of
                                         the gradient may lie in between
    ATC, x_i <- sum_j W_ij (x_j + u_j):  messages need the gradient, so that none can

A schedule says what may overlap; how much time that hides, only the machine tells.  The schedules
of XLA for TPU are had without a TPU, by compiling ahead of time (`jax.experimental.topologies`)
where libtpu is installed; on CPU collectives are synchronous, and nothing overlaps.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import hlo, traffic


class Flight(NamedTuple):
    """A collective and what is scheduled between its start and its end."""

    kind: str  # "all-reduce", "collective-permute", ...
    sent: float  # bytes that a device sends each time, see `traffic`
    times: float  # how often it runs in a call; branches count as equally likely
    operations: int  # fusions, products, loops and conditionals in between; 0 where synchronous
    flops: float  # of the products in between


class Overlap(NamedTuple):
    """The collectives of one call of a program."""

    flights: tuple[Flight, ...]
    flops: float  # of all products of a call

    @property
    def sent(self) -> float:
        """Bytes that a device sends in one call."""
        return sum(flight.times * flight.sent for flight in self.flights)

    @property
    def share(self) -> float:
        """While a byte is on its way, the part of the call's FLOPs that is scheduled; on average.

        One if all products lie between start and end of all bytes, 0 if none does for any.
        """
        total = sum(flight.times * flight.sent * flight.flops for flight in self.flights)
        return total / (self.sent * self.flops) if total else 0.0


def measure(compiled: Any) -> Overlap:
    """Finds what is scheduled between start and end of each collective.

    Args:
        compiled: what ``jax.jit(f).lower(...).compile()`` gives, or its text.

    Returns:
        An `Overlap`; no flights for a program of one device.

    Raises:
        ValueError: if the program is not scheduled, or the length of a loop around products or
            collectives is in doubt.

    Example:
        >>> devices = topologies.get_topology_desc("v5e:2x4", "tpu").devices
        >>> step = learners.spread(train_step, 8, engine="shard_map", devices=devices)
        >>> measure(step.lower(state, batch).compile()).share
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    if "is_scheduled=true" not in text:
        raise ValueError(
            "`compiled` must be scheduled, but its text does not say is_scheduled=true."
        )
    program = hlo.read(text)

    @functools.cache
    def flops(name: str) -> float:
        return sum(_count_flops(program, name, flops))

    flights = tuple(
        flight for flight in _find_flights(program, program.entry, flops) if flight.sent
    )
    return Overlap(flights, flops(program.entry))


_COMPUTATIONS = ("fusion", "dot", "convolution", "while", "conditional", "call")
_SPACINGS = ("stride", "lhs_dilate", "rhs_dilate")
Flops = Callable[[str], float]  # of a computation, by its name


def _find_flights(program: hlo.Program, name: str, flops: Flops) -> Iterator[Flight]:
    computation = program.computations[name]
    instructions, shapes = computation.instructions, computation.shapes
    costs, ends = _count_flops(program, name, flops), _find_ends(program, instructions)
    for start, instruction in enumerate(instructions):
        if instruction.kind in ("while", "conditional", "call"):
            for inner in instruction.called:
                times = _times(program, instruction)
                for flight in _find_flights(program, inner, flops):
                    yield flight._replace(times=times * flight.times)
            continue
        keys = {instruction.name} | _chains(program, instruction, "Start")
        end = next((ends[key] for key in keys if key in ends), start + 1)
        between = slice(start + 1, end)
        for found in traffic.count_instruction(program, instruction, shapes):
            operations = sum(_computes(program, one) for one in instructions[between])
            for one in found.collectives:
                yield Flight(one.kind, one.sent, one.times, operations, sum(costs[between]))


def _find_ends(program: hlo.Program, instructions: list[hlo.Instruction]) -> dict[str, int]:
    """Where collectives end, by the name of what started them or their chain of fusions."""
    ends = {}
    for position, one in enumerate(instructions):
        started = one.operands[:1] if one.kind.endswith("-done") else []
        for key in (*started, *_chains(program, one, "Done")):
            ends[key] = position
    return ends


def _chains(program: hlo.Program, instruction: hlo.Instruction, part: str) -> set[str]:
    if instruction.kind != "fusion":
        return set()
    return program.computations[instruction.called[0]].chains(part)


def _computes(program: hlo.Program, instruction: hlo.Instruction) -> bool:
    if _chains(program, instruction, "Start") or _chains(program, instruction, "Done"):
        return False
    return instruction.kind in _COMPUTATIONS


def _count_flops(program: hlo.Program, name: str, flops: Flops) -> list[float]:
    """FLOPs of each instruction of a computation."""
    computation = program.computations[name]
    shapes = computation.shapes

    def count(instruction):
        if instruction.kind == "dot":
            return _count_dot(instruction, shapes)
        if instruction.kind == "convolution":
            return _count_convolution(instruction, shapes)
        inside = sum(flops(inner) for inner in instruction.called)
        return inside and inside * _times(program, instruction)

    return [count(instruction) for instruction in computation.instructions]


def _times(program: hlo.Program, instruction: hlo.Instruction) -> float:
    """How often each computation that an instruction calls runs."""
    if instruction.kind == "conditional":
        return 1.0 / len(instruction.called)
    if instruction.kind != "while" or instruction.trip_count is not None:
        return instruction.trip_count or 1.0
    # XLA for TPU does not print the count. The loops of JAX go on while a counter is below a bound,
    # and those of `jax.lax.scan` count from 0.
    condition = program.computations[hlo.find(r"condition=%([\w.\-]+)", instruction.rest)]
    constants = {one.name: one.rest for one in condition.instructions if one.kind == "constant"}
    last = condition.instructions[-1]
    bounds = [constants[name] for name in last.operands if name in constants]
    if last.kind != "compare" or "direction=LT" not in last.rest or len(bounds) != 1:
        raise ValueError(
            f"`compiled` must have loops of known length, but {instruction.name} has none; use "
            "jax.lax.scan."
        )
    return float(bounds[0].partition(")")[0])


def _count_dot(instruction: hlo.Instruction, shapes: dict[str, str]) -> float:
    left = hlo.dimensions(shapes[instruction.operands[0]])
    contracted = hlo.find(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.rest) or ""
    inner = math.prod(left[int(axis)] for axis in contracted.split(",") if axis)
    return 2.0 * math.prod(hlo.dimensions(instruction.shape)) * inner


def _count_convolution(instruction: hlo.Instruction, shapes: dict[str, str]) -> float:
    """Counts positions where the window meets the input.

    XLA for TPU writes matrix products as convolutions, batches of them as windows that meet the
    input, dilated, at one position only.
    """
    labels = hlo.find(r"dim_labels=(\S+?)(?:,|$)", instruction.rest)
    left, right, out = re.split("_|->", labels)
    lefts, rights = (hlo.dimensions(shapes[name]) for name in instruction.operands[:2])
    outs = hlo.dimensions(instruction.shape)
    window = hlo.find(r"window=\{([^}]*)\}", instruction.rest) or ""
    windows = re.findall(r"(\w+)=(\S+)", window)
    meetings = 1
    for axis in (label for label in out if label.isdigit()):
        options = {"stride": "1", "pad": "0_0", "lhs_dilate": "1", "rhs_dilate": "1"}
        options |= {name: each.split("x")[int(axis)] for name, each in windows}
        stride, dilated, spread = (int(options[name]) for name in _SPACINGS)
        before = int(options["pad"].partition("_")[0])
        positions = [
            place * stride + offset * spread - before
            for place in range(outs[out.index(axis)])
            for offset in range(rights[right.index(axis)])
        ]
        size = lefts[left.index(axis)]
        meetings *= sum(p % dilated == 0 and 0 <= p // dilated < size for p in positions)
    features = outs[out.index("b")] * outs[out.index("f")] * rights[right.index("i")]
    return 2.0 * features * meetings
