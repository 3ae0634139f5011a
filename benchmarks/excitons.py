"""Excitons: accuracy, time at 100 fields, a fit, and throughput, against grid solvers.

    pip install qmsolve progressbar2 h5py
    OPENBLAS_NUM_THREADS=1 python benchmarks/excitons.py

WSe2 in hBN. Peers are scipy's eigsh on a Cartesian grid (`physics.grid_solvers`) and qmsolve 2.0,
which also calls eigsh; the size of a grid is what its accuracy costs. Times are medians and hold no
compilation, which is told apart. Without qmsolve its rows are left out.
"""

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.physics.exciton import Basis, solve_exciton
from gossamer.physics.fitting import Line, fit_material
from gossamer.physics.grid_solvers import cartesian_levels, struve_potential
from gossamer.physics.materials import Material, find
from gossamer.physics.units import BOHR, HARTREE

TUNGSTEN = find("WSe2/hBN")
EXACT = -161.4493  # meV, 1s without a field
SMALL = Basis(radial=12, angular=2, rotation=0.0)


def clock(run: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of a call whose arrays are waited for."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def solve_by_qmsolve(num: int, extent: float = 24.0) -> float:
    """Energy of 1s in meV on a square of `extent` nm."""
    from qmsolve import Hamiltonian, SingleParticle  # pyright: ignore[reportMissingImports]

    def potential(particle):
        r = np.hypot(particle.x, particle.y) * BOHR
        return struve_potential(r, TUNGSTEN) / HARTREE

    with contextlib.redirect_stdout(io.StringIO()):
        pair = SingleParticle(m=TUNGSTEN.reduced_mass)
        matrix = Hamiltonian(pair, potential, num, extent / BOHR, spatial_ndim=2)
        states = matrix.solve(max_states=1)
    return float(states.energies[0]) * 1e3  # It gives eV.


def compare_accuracy() -> None:
    print("1s without a field: error and seconds")

    def ours(basis):
        return lambda: solve_exciton(TUNGSTEN, states=("1s",), steps=1, basis=basis).energies

    for name, basis in (
        ("12 radial functions", SMALL),
        ("28 radial functions", SMALL._replace(radial=28)),
    ):
        error = float(ours(basis)()[0].real) - EXACT
        print(f"  gossamer, {name:24}{error:9.4f} meV {clock(ours(basis), 9):9.4f} s")
    for spacing in (0.375, 0.1875, 0.09375):
        energy = cartesian_levels(TUNGSTEN, spacing=spacing, extent=12.0)[0]
        seconds = clock(lambda h=spacing: cartesian_levels(TUNGSTEN, spacing=h, extent=12.0))
        print(f"  eigsh, spacing {spacing:7g} nm{energy - EXACT:20.4f} meV {seconds:9.4f} s")
    try:
        for num in (64, 128, 256):
            energy = solve_by_qmsolve(num)
            seconds = clock(lambda n=num: solve_by_qmsolve(n))
            label = f"  qmsolve, spacing {24 / num:7g} nm"
            print(f"{label}{energy - EXACT:18.4f} meV {seconds:9.4f} s")
    except ImportError:
        print("  qmsolve is not installed")


def time_fields() -> None:
    fields = np.linspace(0.0, 6.0, 100)

    def ours():
        return solve_exciton(TUNGSTEN, fields, steps=1).energies

    def grid():
        return cartesian_levels(TUNGSTEN, 0.1, spacing=0.1875, extent=20.0)

    start = time.perf_counter()
    jax.block_until_ready(ours())
    first = time.perf_counter() - start
    runs = [(clock(ours, 1), clock(grid, 1)) for _ in range(3)]  # by turns
    seconds, one_field = np.median(runs, axis=0)
    print("100 fields from 0 to 6 V/um: energies, widths and strengths of all states")
    print(f"  gossamer {seconds:.2f} s, first call {first:.2f} s")
    print(
        f"  eigsh, one energy without width, spacing 0.19 nm (0.5 meV): {100 * one_field:.1f} s "
        f"for 100 fields, ratio {100 * one_field / seconds:.1f}"
    )


def time_fit() -> None:
    fields = (0.0, 1.0, 2.0)
    spectrum = solve_exciton(TUNGSTEN, fields, steps=1)
    lines = [
        Line(state, float(energy) + TUNGSTEN.band_gap, field, 0.1)
        for state in spectrum.states
        for field, energy in zip(fields, spectrum[state].energy, strict=True)
    ]
    guess = Material(0.22, 4.0, 4.2, band_gap=1894.0, p_shift=0.5)
    free = ("band_gap", "reduced_mass", "dielectric", "screening_length", "p_shift")
    start = time.perf_counter()
    fit = fit_material(guess, lines, free, steps=1)
    seconds = time.perf_counter() - start
    print(f"fit of 5 parameters to 9 lines: {seconds:.1f} s with compilation,")
    print(f"  {fit.evaluations} evaluations, residuals to {np.abs(fit.residuals).max():.1e} meV")
    print(f"  mass {fit.material.reduced_mass:.5f}, kappa {fit.material.dielectric:.4f}, ", end="")
    print(f"r0 {fit.material.screening_length:.4f} nm, gap {fit.material.band_gap:.3f} meV")


def time_batch(num: int = 1000) -> None:
    mass, screening = 1 + 0.1 * np.random.default_rng(0).normal(size=(2, num))
    many = jax.tree.map(lambda number: np.full(num, number), TUNGSTEN)
    many = dataclasses.replace(
        many,
        reduced_mass=many.reduced_mass * mass,
        screening_length=many.screening_length * screening,
    )
    states = ("1s", "2s", "3s", "2p", "3p")

    @jax.jit
    def series(materials):
        return jax.vmap(
            lambda one: solve_exciton(one, states=states, steps=1, basis=SMALL._replace(radial=28))
        )(materials).energies

    jax.block_until_ready(series(many))
    seconds = clock(lambda: series(many))
    print(f"Rydberg series under vmap: {num * len(states) / seconds:.0f} energies per second")


def main():
    with jax.enable_x64(True):
        compare_accuracy()
        time_fields()
        time_fit()
        time_batch()
        print(f"jax {jax.__version__}, {jnp.zeros(()).device}")


if __name__ == "__main__":
    main()
