"""``gossamer exciton``: an exciton of a monolayer in an in-plane electric field."""

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

DESCRIPTION = """Solve the exciton of a monolayer over in-plane fields: tables, figures, a page.

It writes states.csv, spectra.csv, four PNG figures and exciton.html.

examples:
  gossamer exciton --material WSe2/hBN --field 0:6:0.25
  gossamer exciton --material MoS2/vacuum --field 0:100:5
  gossamer exciton --material WSe2/hBN --dielectric 3.8 --p-shift 2.2 --field 2
  gossamer exciton --list"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to solve."""

    material: str = "WSe2/hBN"
    """Published parameter set; see --list."""
    field: str = "0:6:0.25"
    """Fields in V/um, as START:STOP:STEP or one number."""
    list_: Annotated[bool, tyro.conf.arg(name="list", help_behavior_hint="")] = False
    """List the parameter sets with their sources, and stop."""
    mass: float | None = None
    """Reduced mass in electron masses, in place of the set's."""
    screening_length: float | None = None
    """r0 in nm, in place of the set's."""
    dielectric: float | None = None
    """Mean dielectric constant of the surroundings, in place of the set's."""
    band_gap: float | None = None
    """meV, in place of the set's."""
    p_shift: float = 0.0
    """meV, added to all p states; what Berry curvature does, which the model lacks."""
    broadening: float = 2.0
    """Homogeneous half width at half maximum, meV."""
    temperature: float | None = None
    """K; takes the broadening from phonons instead, with illustrative numbers."""
    disorder: float = 0.0
    """Standard deviation of the band gap, meV."""
    lifetime: float = 1.0
    """Life time of excitons that the field does not ionize, ps; makes the photocurrent."""
    radial: int = 28
    """Radial functions of the basis in each channel."""
    angular: int = 12
    """Channels of angular momentum; more for higher photon energies."""
    output: Path | None = None
    """Folder to write, by default runs/exciton-MATERIAL."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer exciton", description=DESCRIPTION, args=words)
    from ..physics import materials

    if arguments.list_:
        print(_describe(materials.MATERIALS))
        return 0
    material = _choose(arguments)
    fields = parse_fields(arguments.field)
    # SciPy, loaded later, reads it: more threads make eigenproblems of this size slower.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import jax
    from rich.console import Console

    from ..physics import exciton_report, exciton_study
    from ..physics.exciton import Basis
    from ..physics.optics.line_broadening import thermal_broadening

    console = Console(stderr=True)
    folder = arguments.output or Path("runs") / f"exciton-{arguments.material.replace('/', '-')}"
    with jax.enable_x64(True):
        broadening = arguments.broadening
        if arguments.temperature is not None:
            broadening = float(thermal_broadening(arguments.temperature))
        basis = Basis(radial=arguments.radial, angular=arguments.angular).check()
        with console.status(f"Solving {material.name} at {len(fields)} fields ..."):
            study = exciton_study.run_study(
                material,
                fields,
                broadening=broadening,
                disorder=arguments.disorder,
                lifetime=arguments.lifetime,
                basis=basis,
            )
        folder.mkdir(parents=True, exist_ok=True)
        exciton_study.write_tables(study, folder)
        command = shlex.join(["gossamer", "exciton", *words])
        with console.status("Drawing ..."):
            page = exciton_report.write_figures(study, folder, command)
    for note in study.notes:
        console.print(f"note: {note}", highlight=False)
    print(page)
    return 0


def parse_fields(text: str) -> np.ndarray:
    """Fields of ``START:STOP:STEP``, both ends included, or of one number; ascending.

    Raises:
        ValueError: if it is neither, or runs below zero or backwards.
    """
    try:
        numbers = [float(word) for word in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and 0 <= numbers[0] < np.inf:
        return np.array(numbers)
    if len(numbers) == 3:
        start, stop, step = numbers
        if 0 <= start < stop < np.inf and 0 < step <= stop - start:
            return start + step * np.arange(int((stop - start) / step * (1 + 1e-9)) + 1)
    raise ValueError(
        f"`--field` must be one number or START:STOP:STEP with 0 <= START < STOP in V/um, "
        f"as 0:6:0.25; got {text!r}."
    )


def _choose(arguments: Arguments):
    """The published set with the user's own numbers in it."""
    from ..physics.materials import find

    changes = {
        "reduced_mass": arguments.mass,
        "screening_length": arguments.screening_length,
        "dielectric": arguments.dielectric,
        "band_gap": arguments.band_gap,
        "p_shift": arguments.p_shift or None,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    material = find(arguments.material)
    if not changes:
        return material
    source = f"{material.source}; changed: {', '.join(changes)}"
    return dataclasses.replace(material, **changes, source=source, tag="user")


def _describe(sets) -> str:
    lines = [f"{'set':<14}{'mass':>7}{'r0 nm':>8}{'kappa':>7}{'gap meV':>9}  tag: source"]
    for name, each in sets.items():
        gap = f"{each.band_gap:.0f}" if each.band_gap else "-"
        lines.append(
            f"{name:<14}{each.reduced_mass:>7g}{each.screening_length:>8g}{each.dielectric:>7g}"
            f"{gap:>9}  {each.tag}: {each.source}"
        )
    return "\n".join(lines)
