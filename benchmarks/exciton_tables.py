"""The numbers behind docs/excitons.md: series, polarizabilities, dressed states, convergence.

    OPENBLAS_NUM_THREADS=1 python benchmarks/exciton_tables.py

Prints tables in Markdown; `tests/physics` holds the same numbers against references.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.physics.exciton import Basis, photocurrent, solve_exciton
from gossamer.physics.exciton import absorption as absorb
from gossamer.physics.keldysh import struve_difference
from gossamer.physics.materials import MATERIALS, Material, find, stack
from gossamer.physics.optics.dissociation import dissociation_share
from gossamer.physics.optics.spectra import free_step
from gossamer.physics.stark import polarizability
from gossamer.physics.units import HARTREE

SERIES = ("1s", "2s", "3s", "4s", "5s", "2p", "3p", "3d")
TUNGSTEN = find("WSe2/hBN")


def print_row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|")


def print_series() -> None:
    print("\nBinding energies (meV), 2s-2p distance (meV), |psi_1s(0)|^2 (nm^-2), polarizability")
    materials = stack(list(MATERIALS.values()))
    basis = Basis(radial=36, angular=3, rotation=0.0)
    spectra = jax.vmap(lambda one: solve_exciton(one, states=SERIES, steps=1, basis=basis))(
        materials
    )
    alphas = jax.vmap(lambda one: polarizability(one, basis=basis))(materials)
    print_row("set", *SERIES, "2s-2p", "density", "alpha, eV (m/V)^2")
    for place, name in enumerate(MATERIALS):
        energies = spectra.energies[place]
        print_row(
            name,
            *(f"{-float(energy):.3f}" for energy in energies),
            f"{float(energies[1] - energies[5]):.3f}",
            f"{float(spectra.ground_density[place]):.4f}",
            f"{float(alphas[place]) * 1e-15:.4g}",
        )


def print_dressed() -> None:
    fields = np.arange(7.0)
    spectrum = solve_exciton(TUNGSTEN, fields)
    print("\nWSe2/hBN in a field: E, Gamma (meV), strength over 1s")
    for place, field in enumerate(fields):
        cells = [f"{field:g}"]
        for name in spectrum.states:
            state = spectrum[name]
            width = max(float(state.width[place]), 0.0)
            cells += [
                f"{float(state.energy[place]):.3f}",
                f"{width:.3f}",
                f"{float(state.oscillator_strength[place]):.4f}",
            ]
        print_row(*cells)
    print("\nPeaks over the step of free pairs, half width 2 meV, life time 1 ps")
    print_row("field", "A 2p", "A 2s", "I 2p", "I 2s", "eta 2p", "eta 2s")
    energy = np.linspace(-100.0, 27.0, 318)
    absorbed, current = (
        compute(spectrum, energy + TUNGSTEN.band_gap) / free_step(TUNGSTEN)
        for compute in (absorb, photocurrent)
    )
    windows = ((energy > -90) & (energy < -45), (energy > -45) & (energy < -22))
    for place, field in enumerate(fields):
        shares = [dissociation_share(spectrum[name].width[place], 1.0) for name in ("2p", "2s")]
        peaks = [
            values[place][window].max() for values in (absorbed, current) for window in windows
        ]
        print_row(f"{field:g}", *(f"{float(value):.2f}" for value in (*peaks, *shares)))


def print_ionization() -> None:
    print("\nIonization of 1s: field, width (meV), shift (meV), life time (fs)")
    for name, fields in (
        ("WSe2/hBN", (15.0, 20.0, 25.0, 30.0, 40.0, 50.0)),
        ("MoS2/hBN", (30.0, 40.0, 60.0, 80.0, 100.0)),
        ("MoS2/vacuum", (60.0, 80.0, 100.0, 120.0, 150.0, 200.0)),
    ):
        basis = Basis(radial=32, rotation=0.45)
        spectrum = solve_exciton(find(name), fields, states=("1s",), steps=1, basis=basis)
        state = spectrum["1s"]
        for place, field in enumerate(fields):
            print_row(
                name,
                f"{field:g}",
                f"{float(state.width[place]):.3f}",
                f"{float(state.energy[place] - spectrum.ground_energy[place]):.3f}",
                f"{1e3 * float(state.lifetime[place]):.0f}",
            )


def print_hydrogen() -> None:
    print("\nTwo-dimensional hydrogen: field, E, Gamma (E*)")
    forces = np.array([0.25, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0])
    bare, atomic = Material(1.0, 0.0, 1.0), 514220.675  # V/um
    basis = Basis(radial=24, angular=16, decay=4.0)
    spectrum = solve_exciton(bare, forces * atomic, states=("1s",), steps=1, basis=basis)
    for force, energy in zip(forces, spectrum.energies[:, 0] / HARTREE, strict=True):
        print_row(f"{force:g}", f"{float(energy.real):.9f}", f"{-2 * float(energy.imag):.6e}")
    print("\nH0 - Y0:", *(f"{float(struve_difference(z)):.14f}" for z in (0.01, 0.3, 2.0, 20.0)))


def print_convergence() -> None:
    print("\nConvergence of WSe2/hBN at 3 V/um, against 40 x 16 functions: errors, meV or strength")
    print_row("radial", "angular", "1s", "2p", "Gamma 2p", "2s", "S of 1s", "S of 2p")
    best = solve_exciton(TUNGSTEN, 3.0, basis=Basis(radial=40, angular=16, decay=1.25))
    for radial, angular in ((12, 12), (16, 12), (20, 12), (24, 12), (28, 12), (28, 6), (28, 8)):
        one = solve_exciton(TUNGSTEN, 3.0, basis=Basis(radial, angular, decay=1.25))
        errors = jnp.abs(one.energies - best.energies)
        width = jnp.abs(one["2p"].width - best["2p"].width)
        strengths = jnp.abs(one.amplitudes**2 - best.amplitudes**2) / best.ground_density
        values = (errors[0], errors[1], width, errors[2], *strengths[:2])
        print_row(radial, angular, *(f"{float(value):.1e}" for value in values))


def main():
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Small bases are the point of the last table.
        print_series()
        print_dressed()
        print_ionization()
        print_hydrogen()
        print_convergence()


if __name__ == "__main__":
    main()
