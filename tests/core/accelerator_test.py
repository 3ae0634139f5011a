"""The model of an accelerator against counts by hand, Amdahl's law, and its own limits."""

import math
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import pytest

from gossamer.core import accelerator, machine
from gossamer.core.accelerator import (
    PRESETS,
    Accelerator,
    Latency,
    Operation,
    Stage,
    breakdown,
    latency,
    operations,
    real_time_factor,
)
from gossamer.core.audit import audit
from gossamer.core.quantization import Policy
from gossamer.core.quantized import Quantized, matmul, select, take

MACHINE = Accelerator(
    peaks={4: 8e12, 16: 1e12},
    bandwidth=100e9,
    on_chip_bytes=1e6,
    on_chip_bandwidth=1e12,
    vector_rate=1e9,
    scalar_rate=1e6,
    overhead=1e-6,
    utilization=0.5,
)
# 1000 rows at once, and one row after the other, each times 1000 x 1000 weights.
DENSE = Operation("dense", macs=1e9, weights=1e6, inputs=1e6, results=1e6)
RECURRENT = Operation("recurrent", macs=50e6, weights=1e6, inputs=50e3, results=50e3, runs=50)
INT4 = {"weight_bits": 4, "input_bits": 4}
CLOSE = pytest.approx


def alone(operation, machine=MACHINE):
    return latency(machine, [Stage("alone", (operation,))])


def test_a_dense_product_is_bound_by_its_arithmetic():
    assert alone(DENSE) == CLOSE((1e9 / 0.5e12, 0, 1e-6))
    assert alone(DENSE._replace(**INT4)) == CLOSE((1e9 / 4e12, 0, 1e-6))


def test_a_recurrent_product_is_bound_by_weights_that_do_not_fit():
    # 2 MB in each run, 50 times, and 2 bytes for each input and result.
    assert alone(RECURRENT) == CLOSE((0, (50 * 2e6 + 200e3) / 100e9, 50e-6))


def test_weights_that_fit_on_chip_are_read_once():
    # Half a byte for weights and inputs, 2 bytes for results; from the chip in each run.
    narrow, passing = RECURRENT._replace(**INT4), 25e3 + 100e3
    assert alone(narrow) == CLOSE((0, (50 * 0.5e6 + passing) / 1e12, 50e-6))
    fast = replace(MACHINE, on_chip_bandwidth=math.inf)
    assert alone(narrow, fast) == CLOSE((50e6 / 4e12, 0, 50e-6))
    idle = replace(fast, peaks={4: 1e15, 16: 1e15})
    assert alone(narrow, idle).memory_bound == CLOSE((0.5e6 + passing) / 100e9)
    assert alone(narrow, replace(idle, on_chip_bytes=0.5e6 - 1)).memory_bound == CLOSE(
        (50 * 0.5e6 + passing) / 100e9
    )


def test_weights_of_a_stage_fit_together_or_not_at_all():
    narrow = RECURRENT._replace(**INT4)

    def seconds(number):
        return [found for _, found in breakdown(MACHINE, [Stage("loop", (narrow,) * number)])]

    assert seconds(2) == [alone(narrow)] * 2  # 1 MB fits
    for found in seconds(3):
        assert found.memory_bound == CLOSE((50 * 0.5e6 + 125e3) / 100e9)


def test_other_work_is_not_accelerated():
    assert alone(Operation("search", scalar=1000.0, runs=0)) == (0, 0, 1e-3)
    assert alone(Operation("gates", elementwise=1e6, runs=3)) == CLOSE((0, 0, 1e-3 + 3e-6))
    assert alone(DENSE._replace(elementwise=1e6)) == CLOSE((2e-3, 0, 1e-3 + 1e-6))


def test_stages_add_up():
    stages = [Stage("dense", (DENSE,)), Stage("loop", (RECURRENT, Operation("rest", scalar=5.0)))]
    found = latency(MACHINE, stages)
    parts = [alone(DENSE), alone(RECURRENT), alone(Operation("rest", scalar=5.0))]
    assert found == CLOSE(tuple(map(sum, zip(*parts, strict=True))))
    assert found.total == CLOSE(sum(found))
    assert [name for name, _ in breakdown(MACHINE, stages)] == ["dense", "recurrent", "rest"]
    assert real_time_factor(MACHINE, stages, 4.0) == CLOSE(found.total / 4)
    assert latency(MACHINE, []) == Latency()


@pytest.mark.parametrize(
    ("product", "bound", "times", "percent"),
    [
        (Operation("dense", macs=1e12), "compute_bound", 8, 80.7),
        (Operation("loop", weights=1e9, runs=9), "memory_bound", 4, 94.1),
    ],
)
def test_amdahls_law_for_the_speedup_of_arxiv_2206_07882(product, bound, times, percent):
    """Both ways to 3.4 times: a share of 80.7% eight times as fast, or of 94.1% four times."""
    share = (1 - 1 / 3.4) / (1 - 1 / times)
    assert round(100 * share, 1) == percent
    machine = replace(MACHINE, overhead=0.0)
    seconds = alone(product, machine).total
    rest = Operation("rest", scalar=machine.scalar_rate * seconds * (1 - share) / share)
    in_float = latency(machine, [Stage("all", (product, rest))])
    narrow = latency(machine, [Stage("all", (product._replace(**INT4), rest))])
    assert getattr(in_float, bound) / in_float.total == CLOSE(share)
    assert getattr(in_float, bound) / getattr(narrow, bound) == CLOSE(times)
    assert in_float.not_accelerated == narrow.not_accelerated
    assert in_float.total / narrow.total == CLOSE(3.4)


def test_widths():
    assert [MACHINE.width(bits) for bits in (2, 4, 5, 8, 16, 32)] == [4, 4, 16, 16, 16, 16]
    bytes_alone = replace(MACHINE, peaks={4: 1e20, 16: 1e20}, on_chip_bandwidth=math.inf)
    weights = Operation("weights", weights=1e9, weight_bits=4, input_bits=8)
    assert alone(weights, bytes_alone).memory_bound == CLOSE(0.5e9 / 100e9)
    widened = replace(bytes_alone, packed=False)
    assert alone(weights, widened).memory_bound == CLOSE(2e9 / 100e9)
    assert alone(weights._replace(**INT4), widened).memory_bound == CLOSE(0.5e9 / 100e9)


def test_many_rows_approach_the_peak():
    ideal = replace(MACHINE, utilization=1.0, overhead=0.0)
    many = Operation("many", macs=1e18, weights=1e6, inputs=1e15, results=1e12, **INT4)
    assert alone(many, ideal).total == CLOSE(1e18 / 8e12)


def test_scaled():
    twice = RECURRENT._replace(elementwise=7.0, scalar=3.0).scaled(2, runs=10)
    assert twice == RECURRENT._replace(
        macs=1e9, inputs=1e6, results=1e6, runs=500, elementwise=140.0, scalar=60.0
    )


COUNTS = st.floats(0, 1e12)
OPERATIONS = st.builds(
    Operation,
    name=st.just("any"),
    macs=COUNTS,
    weights=st.floats(0, 1e8),
    inputs=COUNTS,
    results=COUNTS,
    runs=st.floats(0, 1e4),
    weight_bits=st.sampled_from([2, 3, 4, 8, 16, 32]),
    input_bits=st.sampled_from([2, 3, 4, 8, 16, 32]),
    elementwise=COUNTS,
    scalar=COUNTS,
)
RATES = (
    "bandwidth",
    "on_chip_bytes",
    "on_chip_bandwidth",
    "vector_rate",
    "scalar_rate",
    "utilization",
)


@pytest.mark.parametrize("preset", PRESETS)
@hypothesis.given(st.lists(OPERATIONS, min_size=1, max_size=3), st.floats(1, 1e3))
def test_more_work_takes_longer_and_a_better_machine_does_not(preset, work, factor):
    machine, stages = PRESETS[preset], [Stage("any", tuple(work))]
    total = latency(machine, stages).total

    def at_most(one, other):
        return one <= other * (1 + 1e-12)

    for name in RATES:
        better = getattr(machine, name) * factor
        changed = replace(machine, **{name: min(better, 1.0) if name == "utilization" else better})
        assert at_most(latency(changed, stages).total, total)
    faster = {bits: peak * factor for bits, peak in machine.peaks.items()}
    assert at_most(latency(replace(machine, peaks=faster), stages).total, total)
    for name in ("macs", "weights", "inputs", "results", "runs", "elementwise", "scalar"):
        first = work[0]._replace(**{name: getattr(work[0], name) * factor})
        assert at_most(total, latency(machine, [Stage("any", (first, *work[1:]))]).total)
    for bits in (2, 4, 8):
        first = work[0]
        narrow = first._replace(
            weight_bits=min(bits, first.weight_bits), input_bits=min(bits, first.input_bits)
        )
        assert at_most(latency(machine, [Stage("any", (narrow, *work[1:]))]).total, total)


def test_presets():
    rapid = PRESETS["rapid"]
    assert 2 * rapid.peaks[4] == 102.4e12  # operations in INT4, as published
    assert 2 * rapid.peaks[8] == 25.6e12
    assert rapid.peaks[4] / rapid.peaks[16] == 8
    narrow = RECURRENT._replace(**INT4)
    assert alone(narrow, PRESETS["cpu"]).total < alone(RECURRENT, PRESETS["cpu"]).total
    assert alone(narrow, PRESETS["cpu_xla"]) == alone(RECURRENT, PRESETS["cpu_xla"])


def codes(*shape, scale=(), bits=4):
    return Quantized(jnp.ones(shape), jnp.ones(scale), bits, 2 ** (bits - 1) - 1)


def test_operations_of_an_audit():
    """Weights count whole, whether they are met at once, in part after part, or many times."""
    weights = {
        "kernel": codes(2, 3, 5),  # of two directions
        "recurrent": codes(2, 5, 5),
        "output": codes(10, 4),
        "long": codes(2000, 6, bits=8),  # summed in two slices
        "table": codes(9, 3),
    }

    def network(weights):
        rows = take(weights["table"], jnp.zeros(7, jnp.int32), name="table")
        for direction in range(2):
            matmul(rows, select(weights["kernel"], direction), name="kernel")

        def step(hidden, _):
            matmul(hidden, weights["recurrent"], name="recurrent")
            return hidden, None

        jax.lax.scan(step, codes(2, 1, 5), None, length=7)
        grouped = matmul(codes(1, 10, scale=(2,)), weights["output"], name="output")
        matmul(codes(1, 2000, bits=8), weights["long"], name="long")
        return grouped @ jnp.ones((4, 6)) @ jnp.ones((6, 8))

    params = {name: jnp.zeros(weight.shape) for name, weight in weights.items()}
    found = audit(network, weights, policy=Policy(), params=params)
    assert operations(found, params) == (
        Operation("kernel", macs=210, weights=30, inputs=42, results=70, runs=1, **INT4),
        Operation("recurrent", macs=350, weights=50, inputs=70, results=70, runs=7, **INT4),
        Operation("output", macs=40, weights=40, inputs=10, results=4, runs=1, **INT4),
        Operation("long", 12000, 12000, 2000, results=6, runs=1, weight_bits=8, input_bits=8),
        Operation("", macs=24, weights=24, inputs=4, results=6, runs=1),
        Operation("", macs=48, weights=48, inputs=6, results=8, runs=1),
    )


def test_loops_of_unknown_length_are_refused():
    def halve(x):
        return jax.lax.while_loop(lambda x: jnp.sum(x) > 1, lambda x: x @ jnp.ones((5, 5)), x)

    found = audit(halve, jnp.ones((3, 5)), policy=Policy(), params=())
    with pytest.raises(ValueError, match="`audit` must know how often each product runs"):
        operations(found, ())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"peaks": {}}, "`peaks` must give the rate of at least one width"),
        ({"peaks": {4: 0.0}}, r"`peaks\[4\]` must be positive, got 0.0"),
        ({"bandwidth": math.nan}, "`bandwidth` must be positive, got nan"),
        ({"on_chip_bandwidth": 0}, "`on_chip_bandwidth` must be positive, got 0"),
        ({"vector_rate": -1.0}, "`vector_rate` must be positive, got -1.0"),
        ({"scalar_rate": 0.0}, "`scalar_rate` must be positive"),
        ({"on_chip_bytes": -1}, "`on_chip_bytes` must be at least 0, got -1"),
        ({"overhead": -1e-6}, "`overhead` must be at least 0, got -1e-06"),
        ({"utilization": 0.0}, "`utilization` must be above 0 and at most 1, got 0.0"),
        ({"utilization": 1.5}, "`utilization` must be above 0 and at most 1, got 1.5"),
    ],
)
def test_impossible_machines_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(MACHINE, **changes)


def test_impossible_work_is_refused():
    with pytest.raises(ValueError, match="`macs` of dense must be at least 0, got -1"):
        alone(DENSE._replace(macs=-1.0))
    with pytest.raises(ValueError, match="`audio_seconds` must be positive, got 0"):
        real_time_factor(MACHINE, [], 0.0)


def test_promised_names():
    assert machine.latency is accelerator.latency
    assert machine.real_time_factor is accelerator.real_time_factor
