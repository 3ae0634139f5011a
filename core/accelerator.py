"""How long a network takes on an accelerator: an analytic model, operation by operation.

A matrix product that runs several times, one run after the other, takes

    max(MACs / (peak * utilization), bytes / bandwidth, bytes on chip / on-chip bandwidth)
    + element-wise operations / vector rate + runs * overhead

The peak is that of the wider operand, and bytes are weights, inputs and results. Weights come from
memory once where all products that alternate, a `Stage`, keep theirs on chip, else anew in each
run; every run reads them on chip. The second line stays as it is when operands become narrower:
by Amdahl's law it limits what 4 bits can win.

A model, not a measurement: it leaves out energy, contention, and whatever a compiler does badly or
cleverly, such as keeping a part of the weights that do not fit.

References:
    Williams, Waterman, Patterson, Roofline: an insightful visual performance model for multicore
    architectures, 2009.
    Agrawal et al., A 7nm 4-core AI chip with 25.6TFLOPS hybrid FP8 training, 102.4TOPS INT4
    inference and workload-aware throttling, ISSCC 2021.
    Venkataramani et al., RaPiD: AI accelerator for ultra-low precision training and inference,
    ISCA 2021.
    Fasoli et al., Accelerating inference and language model fusion of recurrent neural network
    transducers via end-to-end 4-bit quantization, 2022, arXiv:2206.07882.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .audit import Audit
from .paths import named_leaves
from .quantized import FLOAT


@dataclass(frozen=True)
class Accelerator:
    """What a machine does at best, and which share of that it reaches."""

    peaks: Mapping[int, float]
    """Multiply-accumulates per second by bits of the wider operand. Widths that are not there take
    the next wider one, tensors in float the widest."""
    bandwidth: float
    """Bytes per second from and to memory."""
    on_chip_bytes: float
    """What holds weights from run to run. Inputs and results pass by."""
    on_chip_bandwidth: float
    """Bytes per second from there to where they are multiplied."""
    vector_rate: float
    """Element-wise operations per second: sums, functions, roundings."""
    scalar_rate: float
    """Operations per second of what works one by one, such as a search."""
    overhead: float = 0.0
    """Seconds to start a run and to wait for its end."""
    utilization: float = 1.0
    """Share of the peak that a product reaches while neither memory holds it up."""
    packed: bool = True
    """Whether codes lie in memory in their own bits; else in those they are multiplied in."""

    def __post_init__(self):
        if not self.peaks:
            raise ValueError("`peaks` must give the rate of at least one width, got none.")
        positive = {f"peaks[{bits}]": peak for bits, peak in self.peaks.items()}
        names = "bandwidth", "on_chip_bandwidth", "vector_rate", "scalar_rate"
        for name, value in (positive | {name: getattr(self, name) for name in names}).items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        for name in ("on_chip_bytes", "overhead"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}.")
        if not 0 < self.utilization <= 1:
            raise ValueError(
                f"`utilization` must be above 0 and at most 1, got {self.utilization}."
            )

    def width(self, bits: int) -> int:
        """In how many bits operands of so many are multiplied."""
        return min((width for width in self.peaks if width >= bits), default=max(self.peaks))


_EPYC = Accelerator(
    peaks={32: 103e9, 8: 412e9},  # measured; four times that, as the instructions promise
    bandwidth=29e9,  # measured: a row of float32 times 67 MB of weights
    on_chip_bytes=32 * 2**20,  # the last cache
    on_chip_bandwidth=75e9,  # measured: the same with 13 MB
    vector_rate=12e9,  # measured: the gates of an LSTM at 15 operations a cell
    scalar_rate=1e9,  # an assumption
    overhead=1e-6,  # an assumption
)

PRESETS = {
    # Like the published chip of four cores, RaPiD.
    "rapid": Accelerator(
        # Published: 102.4 TOPS in INT4, 25.6 TFLOPS in floating point of 8 bits, whose rate codes
        # of 8 bits get here. FP16 at half of that is an assumption.
        peaks={4: 51.2e12, 8: 12.8e12, 16: 6.4e12},
        bandwidth=200e9,  # not published, an assumption
        on_chip_bytes=8 * 2**20,  # 2 MiB a core, an assumption
        # Assumptions: eight half cores at 1.6 GHz, each with 128 bytes and 16 elements a cycle.
        on_chip_bandwidth=1.64e12,
        vector_rate=205e9,
        scalar_rate=1e9,  # an assumption: one operation a nanosecond
        overhead=0.5e-6,  # an assumption: 800 cycles
        # Published: at batch 1 the best network gets 13.5 of 16.5 TOPS/W.
        utilization=0.82,
    ),
    # Two virtual cores of an AMD EPYC (family 25, model 17, AVX-512), measured beside other jobs
    # with jax 0.10.2, with kernels that multiply packed codes in 8 bits, which are not measured.
    "cpu": _EPYC,
    # The same with XLA as `core.quantized` uses it: whole numbers in float32, widened once.
    "cpu_xla": replace(_EPYC, peaks={32: _EPYC.peaks[32]}, packed=False),
}


class Operation(NamedTuple):
    """A product with a weight, all its runs together; or, without one, other work."""

    name: str
    macs: float = 0.0
    weights: float = 0.0  # elements, counted once
    inputs: float = 0.0  # elements, in `input_bits`
    results: float = 0.0  # elements written, and states read and written, in float
    runs: float = 1.0  # one after the other, each reads all of the weights
    weight_bits: int = FLOAT
    input_bits: int = FLOAT
    elementwise: float = 0.0  # operations on the vector units
    scalar: float = 0.0  # operations one by one

    def scaled(self, rows: float, runs: float = 1.0) -> "Operation":
        """The same for `rows` times as many rows, `runs` times over."""
        number = rows * runs
        return self._replace(
            macs=self.macs * number,
            inputs=self.inputs * number,
            results=self.results * number,
            runs=self.runs * runs,
            elementwise=self.elementwise * number,
            scalar=self.scalar * number,
        )


class Stage(NamedTuple):
    """Operations that alternate, so that between its runs each needs its place on chip."""

    name: str
    operations: tuple[Operation, ...]


class Latency(NamedTuple):
    """Seconds by what bounds them, analytic."""

    compute_bound: float = 0.0  # products whose arithmetic takes longer than their bytes
    memory_bound: float = 0.0  # products whose bytes take longer
    not_accelerated: float = 0.0  # element-wise and scalar operations, overhead

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


def operations(audit: Audit, params: Any) -> tuple[Operation, ...]:
    """The matrix products of an audit, without anything element-wise.

    A product that meets its weight part by part, such as one direction after the other, or part of
    the inputs after part, has run once when it has met all of it. Lookups are left out: they move
    a row for each symbol.

    Args:
        audit: of products ``[..., in] x [..., in, out]``, the weight on the right.
        params: the parameters, in whose shapes weights count whole; arrays or shapes.

    Returns:
        An operation for each weight, and for each product without a mark, in order.

    Raises:
        ValueError: if a product lies in a loop of unknown length.
    """
    shapes = {name: tuple(leaf.shape) for name, leaf in named_leaves(params)}
    found: dict[Any, Operation] = {}
    for product in audit.products:
        if product.kind == "lookup":
            continue
        if product.open_ended:
            raise ValueError(
                f"`audit` must know how often each product runs, but {product.name} lies in a "
                "loop of unknown length; audit its body."
            )
        inputs, weights = map(math.prod, product.shapes)
        shape = shapes.get(product.name, product.shapes[1])
        key = product.name if product.name in shapes else product  # without a mark: on its own
        same = found.get(key, Operation(product.name, runs=0.0))
        found[key] = same._replace(
            macs=same.macs + product.macs,
            weights=math.prod(shape),
            inputs=same.inputs + inputs * product.count,
            results=same.results + product.macs / shape[-2],
            runs=same.runs + product.count * weights / math.prod(shape),
            weight_bits=product.weight_bits,
            input_bits=product.activation_bits,
        )
    return tuple(found.values())


def latency(accelerator: Accelerator, stages: Iterable[Stage]) -> Latency:
    """The seconds of stages that follow one another, by an analytic model.

    Args:
        accelerator: the machine.
        stages: the work.

    Returns:
        Seconds, split by what bounds them.

    Raises:
        ValueError: if an operation counts something negative.

    Example:
        >>> machine = PRESETS["rapid"]
        >>> product = Operation("recurrent", macs=100 * 2**22, weights=2**22, runs=100)
        >>> in_float = latency(machine, [Stage("layer", (product,))])
        >>> codes = product._replace(weight_bits=4, input_bits=4)
        >>> in_float.total / latency(machine, [Stage("layer", (codes,))]).total
    """
    found = [seconds for _, seconds in breakdown(accelerator, stages)]
    return Latency(*map(sum, zip(*found, strict=True)))


def breakdown(accelerator: Accelerator, stages: Iterable[Stage]) -> Iterator[tuple[str, Latency]]:
    """The seconds of each operation by its name; see `latency`."""
    for stage in stages:
        weights = sum(_weight_bytes(accelerator, operation) for operation in stage.operations)
        fits = weights <= accelerator.on_chip_bytes
        for operation in stage.operations:
            yield operation.name, _seconds(accelerator, operation, fits)


def real_time_factor(
    accelerator: Accelerator, stages: Iterable[Stage], audio_seconds: float
) -> float:
    """Seconds of work for each second of audio, analytic; above 1 a machine falls behind.

    Args:
        accelerator: the machine.
        stages: the work that the audio takes.
        audio_seconds: how long the audio is.

    Raises:
        ValueError: if `audio_seconds` is not positive.
    """
    if not audio_seconds > 0:
        raise ValueError(f"`audio_seconds` must be positive, got {audio_seconds}.")
    return latency(accelerator, stages).total / audio_seconds


def _seconds(accelerator: Accelerator, operation: Operation, fits: bool) -> Latency:
    for name, number in zip(operation._fields[1:], operation[1:], strict=True):
        if not number >= 0:
            raise ValueError(f"`{name}` of {operation.name} must be at least 0, got {number}.")
    rest = (
        operation.elementwise / accelerator.vector_rate
        + operation.scalar / accelerator.scalar_rate
        + operation.runs * accelerator.overhead
    )
    width = accelerator.width(max(operation.weight_bits, operation.input_bits))
    compute = operation.macs / (accelerator.peaks[width] * accelerator.utilization)
    weights = _weight_bytes(accelerator, operation)
    input_bits = _bits_in_memory(accelerator, operation, operation.input_bits)
    passing = (operation.inputs * input_bits + operation.results * max(accelerator.peaks)) / 8
    memory = max(
        (weights * (min(operation.runs, 1) if fits else operation.runs) + passing)
        / accelerator.bandwidth,
        (weights * operation.runs + passing) / accelerator.on_chip_bandwidth,
    )
    if compute >= memory:
        return Latency(compute, 0.0, rest)
    return Latency(0.0, memory, rest)


def _weight_bytes(accelerator: Accelerator, operation: Operation) -> float:
    return operation.weights * _bits_in_memory(accelerator, operation, operation.weight_bits) / 8


def _bits_in_memory(accelerator: Accelerator, operation: Operation, bits: int) -> int:
    if accelerator.packed:
        return min(bits, max(accelerator.peaks))
    return accelerator.width(max(operation.weight_bits, operation.input_bits))
