"""Bytes on the wire, read from a compiled program: what one learner sends in one call of it.

The compiler decides what is communicated, so its own text is asked: collectives are found in the
optimized HLO of a program for several devices and counted along the calls from its entry. A loop
counts as often as it runs, of the branches of a conditional one runs, and the start and the end of
an asynchronous collective are one. With M bytes of payload and groups of n devices a device sends,
by the ring algorithms,

    all-reduce 2 (n - 1) / n M      all-gather, reduce-scatter, all-to-all (n - 1) / n M
    collective-permute M            M the whole result of a gather, the whole operand else

Hence gossip on a ring, two permutes, sends no fewer bytes than a ring all-reduce, (n - 1) / n of
2 M: it saves latency, 1 step of messages instead of 2 (n - 1), and the barrier. One-peer graphs
halve the bytes.

References:
    P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        2009, Journal of Parallel and Distributed Computing 69.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import hlo
from .mixture import Topology


class Collective(NamedTuple):
    """A collective in the program."""

    kind: str  # "all-reduce", "collective-permute", ...
    payload: int  # bytes M, see the module
    sent: float  # bytes that a device sends each time, averaged over devices
    times: float  # how often it runs in a call; branches count as equally likely


class Traffic(NamedTuple):
    """What a device sends in one call of a program."""

    mean: float  # bytes, branches equally likely
    most: float  # bytes, in the branches that send most
    collectives: tuple[Collective, ...]


def measure(compiled: Any) -> Traffic:
    """Counts the bytes that one device sends in one call of a compiled program.

    Args:
        compiled: what ``jax.jit(f).lower(...).compile()`` gives, or its text.

    Returns:
        A `Traffic`; all zero for a program of one device, such as learners under `vmap`.

    Raises:
        ValueError: if a loop with collectives has a number of trips that is not known when
            compiling.

    Example:
        >>> step = learners.spread(train_step, 8, engine="shard_map")
        >>> measure(step.lower(state, batch).compile()).mean
    """
    program = hlo.read(compiled)
    found = _count(program, program.entry)
    collectives = tuple(one for one in found.collectives if one.payload)
    return found._replace(collectives=collectives)


def predict(topology: Topology, num_bytes: float) -> float:
    """What a learner sends in one step of gossip as `gossip.mix` compiles it, on average.

    Args:
        topology: who averages with whom.
        num_bytes: size of one learner's parameters.

    Returns:
        Bytes: one array for each exchange with others; with uniform weights over all, where
        arrays are gathered, n - 1 of them.
    """
    n = topology.num_learners
    exchanges = [
        sum(i != source for exchange in mixing for i, source in enumerate(exchange.sources))
        for mixing in topology.mixings
    ]
    return num_bytes * sum(exchanges) / len(exchanges) / n


_GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[\d+,(\d+)\])")
_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-broadcast",
    "collective-permute",
)


def _count(program: hlo.Program, name: str) -> Traffic:
    computation = program.computations[name]
    shapes = computation.shapes
    parts = [
        part
        for instruction in computation.instructions
        for part in count_instruction(program, instruction, shapes)
    ]
    return _sum(parts)


def count_instruction(
    program: hlo.Program, instruction: hlo.Instruction, shapes: dict[str, str]
) -> Iterator[Traffic]:
    """The traffic of one instruction with all that it calls, none or one `Traffic`.

    Args:
        program: the compiled program.
        instruction: an instruction of it.
        shapes: the shapes of the computation that it stands in.
    """
    kind, called = instruction.kind, instruction.called
    if kind == "while":
        body = _count(program, called[0])
        if body.most:
            if instruction.trip_count is None:
                raise ValueError(
                    "`compiled` must have loops of known length around collectives, but "
                    f"{instruction.name} has none; use jax.lax.scan or a fori_loop of fixed bounds."
                )
            yield _scale(body, instruction.trip_count)
    elif kind == "conditional":
        found = [_count(program, name) for name in called]
        likely = _sum([_scale(branch, 1 / len(found)) for branch in found])
        yield likely._replace(most=max(branch.most for branch in found))
    elif kind.removesuffix("-start") in _KINDS:
        yield _measure_collective(instruction, shapes, program.num_devices)
    elif called:
        # Reductions and most fusions hold no collectives, but calls and asynchronous wrappers do.
        # Of the fusions that one collective is spread over, the one that starts it counts.
        inside = program.computations[called[0]]
        if not inside.chains() or inside.chains("Start"):
            yield _count(program, called[0])


def _measure_collective(instruction: hlo.Instruction, shapes, num_devices: int) -> Traffic:
    kind = instruction.kind.removesuffix("-start")
    payload = sum(hlo.num_bytes(shapes[name]) for name in instruction.operands)
    groups = _GROUPS.search(instruction.rest)
    size = num_devices
    if groups:
        size = int(groups[2]) if groups[2] else len(groups[1].split(",")) if groups[1] else size
    if kind == "all-gather":
        payload *= size
    share = (size - 1) / size
    if kind == "collective-permute":
        pairs = re.findall(r"\{(\d+),(\d+)\}", instruction.rest)
        sent = payload * sum(source != target for source, target in pairs) / num_devices
    elif kind == "all-reduce":
        sent = 2 * share * payload
    else:
        sent = share * payload
    return Traffic(sent, sent, (Collective(kind, payload, sent, 1.0),))


def _scale(traffic: Traffic, times: float) -> Traffic:
    collectives = tuple(one._replace(times=one.times * times) for one in traffic.collectives)
    return Traffic(traffic.mean * times, traffic.most * times, collectives)


def _sum(parts: list[Traffic]) -> Traffic:
    return Traffic(
        sum(part.mean for part in parts),
        sum(part.most for part in parts),
        tuple(one for part in parts for one in part.collectives),
    )
