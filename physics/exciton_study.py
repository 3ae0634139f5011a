"""An exciton over a range of fields, from the numbers of a material to tables.

What ``gossamer exciton`` computes: followed states, maps of absorption and photocurrent over photon
energy and field, and wave functions at three fields.
"""

import csv
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core import whole_file
from .exciton import Basis, Spectrum, absorption, photocurrent, solve_exciton
from .materials import Material
from .optics.spectra import free_step
from .stark import TwoLevels, polarizability, two_level
from .units import scales

FOLLOWED = ("1s", "2p", "2s")
PICTURED = ("1s", "2p", "2s")


class Wave(NamedTuple):
    """One wave function on a square grid."""

    state: str
    field: float  # V/um
    extent: float  # half the side, nm
    values: np.ndarray  # [num_y, num_x]: Re psi, nm^-1


class Study(NamedTuple):
    """Everything that the figures, tables and page show."""

    material: Material
    fields: np.ndarray  # [num_fields], V/um, ascending
    spectrum: Spectrum  # of shape [num_fields]
    photon_energy: np.ndarray  # [num], meV
    absorption: np.ndarray  # [num_fields, num], in units of the step of free pairs
    photocurrent: np.ndarray  # [num_fields, num], likewise
    two_levels: TwoLevels  # each [num_fields]
    polarizability: float  # of 1s, meV / (V/um)^2
    waves: tuple[Wave, ...]
    notes: tuple[str, ...]  # what the solver warned about
    broadening: float  # half width at half maximum, meV
    disorder: float  # standard deviation, meV
    lifetime: float  # ps


def run_study(
    material: Material,
    fields: np.ndarray,
    *,
    broadening: float = 2.0,
    disorder: float = 0.0,
    lifetime: float = 1.0,
    basis: Basis | None = None,
) -> Study:
    """Solves a material over fields; float64 must be on.

    Args:
        material: its parameters.
        fields: ``[num_fields]``, V/um, ascending, from zero or above.
        broadening: homogeneous half width at half maximum, meV.
        disorder: standard deviation of the band gap, meV.
        lifetime: of excitons that the field does not ionize, ps.
        basis: see `Basis`.

    Returns:
        A `Study`.
    """
    fields = np.asarray(fields, np.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spectrum = solve_exciton(material, fields, states=FOLLOWED, basis=basis)
    notes = tuple(str(each.message) for each in caught if each.category is UserWarning)
    energies = _window(material, spectrum)
    lines = {"broadening": broadening, "disorder": disorder}
    absorbed, current = [], []
    for place in range(len(fields)):  # One field at a time keeps [num, num_poles] small.
        one = _at(spectrum, place)
        absorbed.append(absorption(one, energies, **lines))
        current.append(photocurrent(one, energies, lifetime=lifetime, **lines))
    step = float(free_step(material))
    return Study(
        material=material,
        fields=fields,
        spectrum=spectrum,
        photon_energy=energies,
        absorption=np.asarray(jnp.stack(absorbed)) / step,
        photocurrent=np.asarray(jnp.stack(current)) / step,
        two_levels=two_level(material, fields),
        polarizability=float(polarizability(material)),
        waves=tuple(_picture(material, fields, Basis() if basis is None else basis)),
        notes=notes,
        broadening=broadening,
        disorder=disorder,
        lifetime=lifetime,
    )


def write_tables(study: Study, folder: str | os.PathLike[str]) -> None:
    """Writes ``states.csv`` and ``spectra.csv``; units stand in their headers."""
    states, gap = study.spectrum, float(study.material.band_gap)
    header = "field_V_per_um state energy_meV photon_energy_meV width_meV lifetime_ps"
    header += " strength_of_1s weight_s weight_p weight_d convergence_meV continuity"
    path = Path(folder) / "states.csv"
    with whole_file.draft(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header.split())
        for name in states.states:
            state = states[name]
            for place, field in enumerate(study.fields):
                width = max(float(state.width[place]), 0.0)
                life = float(state.lifetime[place]) if width > 1e-3 else np.inf
                values = [
                    state.energy[place],
                    state.energy[place] + gap,
                    width,
                    life,
                    state.oscillator_strength[place],
                    *[*state.character[place], 0.0][:3],  # A small basis has no d.
                    state.convergence[place],
                    state.continuity[place],
                ]
                table.writerow([f"{field:g}", name, *(f"{float(value):.6g}" for value in values)])
    path = Path(folder) / "spectra.csv"
    with whole_file.draft(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["field_V_per_um", "photon_energy_meV", "absorption", "photocurrent"])
        for place, field in enumerate(study.fields):
            rows = zip(
                study.photon_energy, study.absorption[place], study.photocurrent[place], strict=True
            )
            table.writerows([f"{field:g}", *(f"{value:.6g}" for value in row)] for row in rows)


def _window(material: Material, spectrum: Spectrum) -> np.ndarray:
    """Photon energies from below 1s to where the default basis still serves."""
    bottom = float(jnp.min(spectrum["1s"].energy))
    top = 0.1 * float(scales(material).energy)
    low = 1.08 * bottom
    return float(material.band_gap) + np.linspace(low, top, round((top - low) / 0.4) + 1)


def _at(spectrum: Spectrum, place: int) -> Spectrum:
    """The spectrum at one of its fields."""
    return jax.tree.map(lambda leaf: leaf[place], spectrum)


def _picture(material: Material, fields: np.ndarray, basis: Basis) -> Iterator[Wave]:
    """Wave functions at the lowest, a middle and the largest field."""
    length = float(scales(material).length)
    chosen = dict.fromkeys((fields[0], fields[len(fields) // 3], fields[-1]))
    for field in chosen:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The study has told of the same states.
            spectrum = solve_exciton(
                material, float(field), states=PICTURED, basis=basis._replace(rotation=0.2)
            )
        for state in PICTURED:
            extent = (4.0 if state == "1s" else 16.0) * length
            x = np.linspace(-extent, extent, 121)
            psi = spectrum.wavefunction(state, *np.meshgrid(x, x))
            place = np.unravel_index(np.argmax(np.abs(psi)), psi.shape)
            phase = psi[place] / np.abs(psi[place])
            yield Wave(state, float(field), extent, np.asarray(jnp.real(psi / phase)))
