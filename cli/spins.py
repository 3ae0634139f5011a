"""``gossamer spins``: Curie temperatures, order and hysteresis of a layered magnet."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTION = """Simulate a layered magnet: Curie temperature against layers, order, hysteresis.

It writes curie.csv, order.csv, loops.csv, five PNG figures and spins.html. A stopped run is
continued by the same command, and ends with the same bits. A part that fails, as where Binder
cumulants do not cross, is named at the end and left out.

examples:
  gossamer spins --material VSe2 --layers 1:8
  gossamer spins --material VSe2 --layers 1,2,4 --sizes 12 24 48 --measurements 1000
  gossamer spins --material CrI3 --layers 1 --temperature 20
  gossamer spins --material VSe2 --anisotropy 1.0 --interlayer 3.6
  gossamer spins --list"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to simulate."""

    material: str = "VSe2"
    """Parameter set; see --list."""
    layers: str = "1:8"
    """Numbers of layers, as FIRST:LAST, or as 1,2,4."""
    list_: Annotated[bool, tyro.conf.arg(name="list", help_behavior_hint="")] = False
    """List the parameter sets with their sources, and stop."""
    exchange: float | None = None
    """J in meV, each bond once and unit spins, in place of the set's."""
    anisotropy: float | None = None
    """K of the monolayer in meV; negative for an easy plane."""
    bulk_anisotropy: float | None = None
    """K of the bulk in meV, in the law of surfaces; without one all layers have the monolayer's."""
    interlayer: float | None = None
    """J between layers in meV."""
    moment: float | None = None
    """Bohr magnetons."""
    stacking: str | None = None
    """AA or AB."""
    sizes: tuple[int, ...] = (12, 24)
    """Cells of the lattices whose Binder cumulants cross."""
    measurements: int = 600
    """Of each replica and temperature."""
    replicas: int = 4
    """Independent runs at each temperature."""
    temperature: float = 300.0
    """Of the hysteresis loops, K."""
    amplitude: float | None = None
    """Of the field of the loops, T; by default 1.3 times 2 K / mu."""
    loop_steps: int = 100
    """Sweeps at each field of a loop."""
    seed: int = 0
    """Of all random numbers."""
    run: Path | None = None
    """Folder to write, by default runs/spins-MATERIAL."""


CHANGES = ("exchange", "anisotropy", "bulk_anisotropy", "interlayer", "moment", "stacking")


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer spins", description=DESCRIPTION, args=words)
    from ..physics import spin_materials, spin_study

    if arguments.list_:
        print(_describe(spin_materials.MAGNETS))
        return 0
    magnet = _choose(arguments)
    settings = spin_study.Settings(
        layers=parse_layers(arguments.layers),
        sizes=arguments.sizes,
        measurements=arguments.measurements,
        replicas=arguments.replicas,
        temperature=arguments.temperature,
        amplitude=arguments.amplitude,
        loop_steps=arguments.loop_steps,
        seed=arguments.seed,
    )
    parts = spin_study.list_parts(magnet, settings)

    from ..core import interruption, progress, run_folder
    from ..physics import spin_report

    folder = arguments.run or Path("runs") / f"spins-{arguments.material.replace('/', '-')}"
    config = {"magnet": dataclasses.asdict(magnet), "settings": dataclasses.asdict(settings)}
    folder = run_folder.open_run(folder, config, seed=settings.seed)
    found = spin_study.read_parts(folder)
    failed: dict[str, ValueError] = {}
    with (
        interruption.Interruption() as stop,
        progress.Amount(len(parts), "parts") as amount,
    ):
        for number, (name, compute) in enumerate(parts.items(), start=1):
            if name not in found:
                try:
                    found[name] = spin_study.run_part(name, compute, settings.seed)
                    spin_study.write_part(folder, name, found[name])
                except ValueError as error:
                    failed[name] = error
            amount.report(number, name)
            if stop.received and number < len(parts):
                print(
                    f"{stop.received.name} came: stopped after part {number} of {len(parts)}, "
                    f"saved in {folder}; the same command continues from there.",
                    file=sys.stderr,
                )
                return 128 + stop.received
    ordered = {name: found[name] for name in parts if name in found}
    spin_study.write_tables(ordered, folder)
    command = shlex.join(["gossamer", "spins", *words])
    print(spin_report.write_figures(magnet, settings, ordered, folder, command))
    for name, error in failed.items():
        print(f"gossamer: {name} failed: {error}", file=sys.stderr)
    return 1 if failed else 0


def parse_layers(text: str) -> tuple[int, ...]:
    """Rising numbers of ``FIRST:LAST``, both included, or of a list such as ``1,2,4``.

    Raises:
        ValueError: if it is neither, or does not rise.
    """
    try:
        numbers = [int(word) for word in text.replace(":", ",").split(",")]
    except ValueError:
        numbers = [0]
    rises = numbers[0] >= 1 and numbers == sorted(set(numbers))
    if rises and ":" not in text:
        return tuple(numbers)
    if rises and len(numbers) == 2:
        return tuple(range(numbers[0], numbers[1] + 1))
    raise ValueError(
        "`--layers` must be FIRST:LAST with 1 <= FIRST < LAST, as 1:8, or rise, as 1,2,4; "
        f"got {text!r}."
    )


def _choose(arguments: Arguments):
    """The set with the user's own numbers in it."""
    from ..physics.spin_materials import find

    magnet = find(arguments.material)
    given = {name: getattr(arguments, name) for name in CHANGES}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return magnet
    source = f"{magnet.source}; changed: {', '.join(changes)}"
    return dataclasses.replace(magnet, **changes, source=source, tag="user")


def _describe(magnets) -> str:
    from ..core.text_table import align

    rows = [["set", "lattice", "J meV", "K meV", "K bulk", "J_perp", "moment", "tag: source"]]
    for name, each in magnets.items():
        numbers = (each.exchange, each.anisotropy, each.bulk_anisotropy, each.interlayer)
        cells = ["" if x is None else f"{x:g}" for x in (*numbers, each.moment)]
        rows.append([name, each.kind, *cells, f"{each.tag}: {each.source}"])
    return align(rows, right=range(2, 7))
