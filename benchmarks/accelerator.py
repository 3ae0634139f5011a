"""The recognizer of arXiv:2206.07882 on an accelerator, by the model of `core.accelerator`.

    python benchmarks/accelerator.py --figure accelerator.png
    python benchmarks/accelerator.py --operations
    python benchmarks/accelerator.py --machine cpu

Transducer and language models have the sizes that are remembered of the paper (see `PRESETS` of
both modules) and 46 labels; bits are those of an audit under the policies ``int4_paper`` and
``int8``. Prints what bounds the time, the real-time factor against the beam width, and how both
figures of the paper's abstract, 3.4 times FP16 and a real-time factor of 0.06, move with each
assumption. Nothing here is measured.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gossamer.core import text_table
from gossamer.core.accelerator import (
    PRESETS,
    Accelerator,
    Latency,
    Stage,
    breakdown,
    latency,
    real_time_factor,
)
from gossamer.speech import (
    language_model,
    language_model_config,
    transducer,
    transducer_config,
)
from gossamer.speech.names import PolicyName
from gossamer.speech.operations import Parts, Scenario, encoder_stages, search_parts, search_stage
from gossamer.speech.policies import named_policy

LABELS = 46
PUBLISHED_SPEEDUP, PUBLISHED_FACTOR = 3.4, 0.06  # abstract of arXiv:2206.07882
BEAMS = (1, 4, 8, 16, 32, 64, 128)
UNITS = {1: "", 1e-6: " us", 1e6: " M/s", 1e9: " G/s", 2**20: " MiB"}
HINGES = {  # by the name of an assumption, the unit and other values
    "bandwidth": (1e9, (25, 50, 100, 400, 800)),
    "on_chip_bytes": (2**20, (4, 16, 32, 128)),
    "on_chip_bandwidth": (1e9, (400, 6400)),
    "utilization": (1, (0.2, 0.42)),
    "overhead": (1e-6, (0, 5)),
    "vector_rate": (1e9, (20,)),
    "scalar_rate": (1e6, (10, 100, 10000)),
    "beam": (1, (1, 4, 64, 256)),
    "growing": (1, (0.1, 1)),
    "labels_per_second": (1, (20,)),
    "seconds": (1, (2, 20)),
}
COLORS = {"FP16": "#b3541e", "INT4": "#17647a"}


class Network(NamedTuple):
    """A recognizer in some bits."""

    model: transducer.Transducer
    plain: Parts
    fused: Parts  # with the density ratio

    def search(self, scenario: Scenario, *, fuses: bool = True) -> Stage:
        """The search, with or without density ratio."""
        return search_stage(self.fused if fuses else self.plain, scenario)

    def stages(self, scenario: Scenario) -> tuple[Stage, ...]:
        """Encoder and search with density ratio."""
        return *encoder_stages(self.model, scenario), self.search(scenario)


def build(name: PolicyName | None) -> Network:
    policy = named_policy(name)
    model = transducer.Transducer(transducer_config.PRESETS["paper"], LABELS, policy)
    models = {
        name: language_model.LanguageModel(language_model_config.PRESETS[name], LABELS, policy)
        for name in ("external", "source")
    }
    return Network(model, search_parts(model), search_parts(model, models))


def main():
    parser = argparse.ArgumentParser(description="A recognizer on an accelerator, analytic.")
    parser.add_argument("--machine", choices=PRESETS, default="rapid")
    parser.add_argument("--operations", action="store_true", help="list every operation")
    parser.add_argument("--figure", type=Path, help="real-time factors and their split, a PNG")
    options = parser.parse_args()
    machine, is_cpu = PRESETS[options.machine], options.machine.startswith("cpu")
    scenario = Scenario(block=0.5 if is_cpu else 0.0)  # `beam_search` or those that there are
    networks = {
        f"{'float' if is_cpu else 'FP'}{max(machine.peaks)}": build(None),
        "INT8": build("int8"),
        "INT4": build("int4_paper"),
    }
    print(f"Analytic model of {options.machine!r}, nothing is measured. It assumes")
    for assumption in (*vars(machine).items(), *vars(scenario).items()):
        print("  {} = {}".format(*assumption))
    print()
    show(split(machine, networks, scenario))
    show(factors(machine, networks, scenario))
    if options.operations:
        show(list_operations(machine, networks, scenario))
    if not is_cpu:
        show(hinges(machine, networks, scenario))
        print(explain(machine, networks, scenario))
    if options.figure:
        draw(options.figure, machine, networks, scenario)


def show(rows: Iterator[tuple[str, ...]]) -> None:
    table = list(rows)
    print(text_table.align(table, right=range(1, len(table[0]))), end="\n\n")


def split(machine: Accelerator, networks: dict[str, Network], scenario: Scenario):
    """What bounds the time of each part."""
    yield "ms for 1 s of audio", "compute", "memory", "not accelerated", "all", "speedup"
    for part in ("encoder", "search", "search, density ratio", "all, density ratio"):
        totals = []
        for name, network in networks.items():
            found = latency(machine, part_stages(network, part, scenario))
            totals.append(found.total)
            milliseconds = [1e3 * x / scenario.seconds for x in (*found, found.total)]
            cells = (f"{x:.2f}" for x in milliseconds)
            yield f"{part}, {name}", *cells, f"{totals[0] / found.total:.2f}"


def part_stages(network: Network, part: str, scenario: Scenario) -> tuple[Stage, ...]:
    return {
        "encoder": lambda: encoder_stages(network.model, scenario),
        "search": lambda: (network.search(scenario, fuses=False),),
        "search, density ratio": lambda: (network.search(scenario),),
        "all, density ratio": lambda: network.stages(scenario),
    }[part]()


def factors(machine: Accelerator, networks: dict[str, Network], scenario: Scenario):
    """Real-time factors of the search against the width of the beam."""
    yield "real-time factor of the search", *(f"beam {beam}" for beam in BEAMS)
    for fuses in (False, True):
        rows = {
            name: [
                real_time_factor(
                    machine,
                    [network.search(replace(scenario, beam=beam), fuses=fuses)],
                    scenario.seconds,
                )
                for beam in BEAMS
            ]
            for name, network in networks.items()
        }
        first = next(iter(rows.values()))
        suffix = ", density ratio" if fuses else ""
        for name, row in rows.items():
            yield f"{name}{suffix}", *(f"{x:.5f}" for x in row)
        for name, row in list(rows.items())[1:]:
            ratios = (f"{x / y:.2f}" for x, y in zip(first, row, strict=True))
            yield f"speedup by {name}{suffix}", *ratios


def list_operations(machine: Accelerator, networks: dict[str, Network], scenario: Scenario):
    """What every operation takes, by network."""
    yield (
        "microseconds for 1 s of audio",
        *(f"{name}, {column}" for name in networks for column in ("compute", "memory", "rest")),
    )
    found = [list(breakdown(machine, network.stages(scenario))) for network in networks.values()]
    for cells in zip(*found, strict=True):
        times = (f"{1e6 * x / scenario.seconds:.1f}" for _, seconds in cells for x in seconds)
        yield cells[0][0], *times


def hinges(machine: Accelerator, networks: dict[str, Network], scenario: Scenario):
    """How speedup and real-time factor move, one assumption at a time."""
    yield "everything, density ratio", "INT4 over FP16", "real-time factor, INT4"
    numbers = figures(machine, networks, scenario)
    yield "as it is", *(f"{x:.3g}" for x in numbers)
    for name, (unit, values) in HINGES.items():
        for value in values:
            changed: dict[str, Any] = {name: value * unit}
            if hasattr(machine, name):
                numbers = figures(replace(machine, **changed), networks, scenario)
            else:
                numbers = figures(machine, networks, replace(scenario, **changed))
            yield f"{name} {value:g}{UNITS[unit]}", *(f"{x:.3g}" for x in numbers)


def figures(
    machine: Accelerator, networks: dict[str, Network], scenario: Scenario
) -> tuple[float, float]:
    """Speedup of INT4 over FP16, and its real-time factor: encoder and search, density ratio."""
    slow, fast = (
        real_time_factor(machine, networks[name].stages(scenario), scenario.seconds)
        for name in ("FP16", "INT4")
    )
    return slow / fast, fast


def explain(machine: Accelerator, networks: dict[str, Network], scenario: Scenario) -> str:
    """Which bandwidth would give the published real-time factor, and what both figures need."""
    stages = {name: networks[name].stages(scenario) for name in ("FP16", "INT4")}

    def factor(name: str, bandwidth: float, scalar_rate: float) -> float:
        changed = replace(machine, bandwidth=bandwidth, scalar_rate=scalar_rate)
        return real_time_factor(changed, stages[name], scenario.seconds)

    def bandwidth(scalar_rate: float) -> float:
        return where(lambda x: factor("INT4", x, scalar_rate), PUBLISHED_FACTOR, 1e9, 1e13)

    def slowdown(scalar_rate: float) -> float:
        return -factor("FP16", bandwidth(scalar_rate), scalar_rate)

    alone = bandwidth(machine.scalar_rate)
    speedup = factor("FP16", alone, machine.scalar_rate) / PUBLISHED_FACTOR
    both = where(slowdown, -PUBLISHED_SPEEDUP * PUBLISHED_FACTOR, 1e7, 1e12)
    lines = [
        f"A bandwidth of {alone / 1e9:.1f} GB/s gives the published real-time factor of "
        f"{PUBLISHED_FACTOR} and a speedup of {speedup:.2f}.",
        f"{bandwidth(both) / 1e9:.1f} GB/s and a search of {both / 1e6:.0f} million operations per "
        f"second give it with the published speedup of {PUBLISHED_SPEEDUP}.",
    ]
    for speed in (4, 8):
        share = (1 - 1 / PUBLISHED_SPEEDUP) / (1 - 1 / speed)
        lines.append(
            f"By Amdahl's law {PUBLISHED_SPEEDUP} needs {share:.1%} of the FP16 time where INT4 is "
            f"{speed} times as fast."
        )
    return "\n".join(lines)


def where(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a falling function meets a target, by bisection of the logarithm."""
    if not function(low) >= target >= function(high):
        raise ValueError(f"`target` {target} is not met between {low:g} and {high:g}.")
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if function(middle) > target else (low, middle)
    return low


def draw(
    path: Path, machine: Accelerator, networks: dict[str, Network], scenario: Scenario
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    beams = [2**n for n in range(10)]
    shown = {name: network for name, network in networks.items() if name != "INT8"}
    for (name, network), color in zip(shown.items(), COLORS.values(), strict=True):
        encoder = latency(machine, encoder_stages(network.model, scenario)).total
        for fuses, style in ((True, "-"), (False, "--")):
            searches = [network.search(replace(scenario, beam=n), fuses=fuses) for n in beams]
            values = [
                (encoder + latency(machine, [search]).total) / scenario.seconds
                for search in searches
            ]
            label = f"{name}, {'density ratio' if fuses else 'no language model'}"
            left.plot(beams, values, style, color=color, linewidth=1.5, label=label)
    left.set_xscale("log", base=2)
    left.set_yscale("log")
    left.set_xticks(beams, labels=map(str, beams))
    left.set_xlabel("beam width")
    left.set_title("Real-time factor (analytic)", loc="left")
    left.legend(frameon=False, fontsize=8)
    left.grid(color="#dddddd", linewidth=0.8)

    kinds = dict(zip(Latency._fields, ("#17647a", "#b3541e", "#999999"), strict=True))
    bars = {
        f"{part}\n{name}": latency(machine, part_stages(network, part, scenario))
        for part in ("encoder", "search", "search, density ratio")
        for name, network in shown.items()
    }
    start = [0.0] * len(bars)
    for field, color in kinds.items():
        shares = [getattr(found, field) / found.total for found in bars.values()]
        right.bar(range(len(bars)), shares, bottom=start, color=color, label=_words(field))
        start = [a + b for a, b in zip(start, shares, strict=True)]
    right.set_xticks(range(len(bars)), labels=[name.split("\n")[1] for name in bars], fontsize=8)
    for place, name in ((0.5, "encoder"), (2.5, "search"), (4.5, "and density ratio")):
        right.text(place, -0.1, name, ha="center", va="top", fontsize=8)
    right.set_title(f"Share of the time, beam {scenario.beam} (analytic)", loc="left")
    right.legend(
        frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _words(field: str) -> str:
    return field.replace("_", " ")


if __name__ == "__main__":
    main()
