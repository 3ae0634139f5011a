"""Spin updates per nanosecond, against mcising, peapods, spirit, and loops compiled by numba.

    pip install numba mcising peapods spirit h5py
    taskset -c 1 python benchmarks/spins.py

One core, one lattice at a time, contenders in turns; medians of processor time, which other work on
the machine disturbs less than the time of the clock.  An update is one visit of one spin.
Ising: Metropolis, at 1.1 times the critical temperature.  Heisenberg: triangular lattice with
K = J / 10 at kT = J, by heat bath and Metropolis.  The floor is what memory allows: bytes of spins
read and written once for each color, over the bandwidth of a copy measured here.  Missing peers are
left out.
"""

import contextlib
import ctypes
import os
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
from turns import alternate

from gossamer.physics.magnetism.estimates import ISING
from gossamer.physics.spins import (
    Lattice,
    SpinModel,
    heat_bath,
    llg,
    metropolis,
    multispin_metropolis,
    over_relaxation,
    repeat,
)
from gossamer.physics.units import BOHR_MAGNETON, BOLTZMANN, GYROMAGNETIC

TURNS = 5
UNIT = BOHR_MAGNETON / GYROMAGNETIC  # ps meV


def ours(sampler, kt: float, sweeps: int) -> Callable[[], object]:
    """A call that goes on from the state of the one before."""
    step = jax.jit(repeat(sampler, sweeps).step)
    states = [sampler.init(jax.random.key(0), kt / BOLTZMANN)]

    def run():
        states[0], _ = step(jax.random.key(1), states[0])
        return states[0]

    return run


def by_mcising(kind: str, size: int, kt: float, sweeps: int) -> Callable[[], object]:
    from mcising import IsingSimulation  # pyright: ignore[reportMissingImports]

    simulation = IsingSimulation(size, 1.0, 0.0, 0.0, 0.0, 1, "metropolis", kind)
    return lambda: simulation.sweep(sweeps, temperature=kt)


def by_peapods(kind: str, size: int, kt: float, sweeps: int) -> Callable[[], object]:
    from peapods import Ising  # pyright: ignore[reportMissingImports]

    geometry = {"geometry": "triangular"} if kind == "triangular" else {}
    model = Ising((size, size), temperatures=np.array([kt]), **geometry)
    return lambda: model.sample(sweeps, warmup_ratio=0.0, sequential=True)


def ising_by_numba(kind: str, size: int, kt: float, sweeps: int) -> Callable[[], object]:
    """Typewriter Metropolis with a table of probabilities."""
    import numba  # pyright: ignore[reportMissingImports]

    triangular = kind == "triangular"

    @numba.njit(fastmath=True)
    def run(spins, table, sweeps):
        size = spins.shape[0]
        for _ in range(sweeps):
            for i in range(size):
                up, down = (i + 1) % size, (i - 1) % size
                for j in range(size):
                    right, left = (j + 1) % size, (j - 1) % size
                    total = spins[up, j] + spins[down, j] + spins[i, right] + spins[i, left]
                    if triangular:
                        total += spins[up, left] + spins[down, right]
                    cost = spins[i, j] * total
                    if cost <= 0 or np.random.random() < table[cost]:
                        spins[i, j] = -spins[i, j]

    spins = np.ones((size, size), np.int8)
    table = np.exp(-2 * np.arange(7) / kt)
    return lambda: run(spins, table, sweeps)


def heisenberg_by_numba(rule: str, size: int, kt: float, sweeps: int) -> Callable[[], object]:
    """Typewriter sweeps of the triangular lattice, single precision."""
    import numba  # pyright: ignore[reportMissingImports]

    thermal = rule == "heat bath"
    axis = np.float32(0.1 / kt)
    beta = np.float32(1 / kt)

    @numba.njit(fastmath=True)
    def run(spins, sweeps):
        size = spins.shape[0]
        for _ in range(sweeps):
            for i in range(size):
                up, down = (i + 1) % size, (i - 1) % size
                for j in range(size):
                    right, left = (j + 1) % size, (j - 1) % size
                    h = np.zeros(3, np.float32)
                    for c in range(3):
                        h[c] = beta * (
                            spins[up, j, c] + spins[down, j, c] + spins[i, right, c]
                            + spins[i, left, c] + spins[up, left, c] + spins[down, right, c]
                        )  # fmt: skip
                    turn = np.float32(2 * np.pi) * np.float32(np.random.random())
                    chance, height = np.random.random(), np.float32(np.random.random())
                    old = spins[i, j]
                    if thermal:
                        strength = np.sqrt(h[0] ** 2 + h[1] ** 2 + h[2] ** 2) + np.float32(1e-6)
                        x, y, z = h[0] / strength, h[1] / strength, h[2] / strength
                        a = 1 + np.log(1 - height * (1 - np.exp(-2 * strength))) / strength
                    else:
                        x, y, z = np.float32(0), np.float32(0), np.float32(1)
                        a = 2 * height - 1
                    r = np.sqrt(max(1 - a * a, np.float32(0)))
                    p, q = r * np.cos(turn), r * np.sin(turn)
                    s = np.float32(-1.0 if z < 0 else 1.0)
                    w = -1 / (s + z)
                    nx = p * (1 + s * x * x * w) + q * x * y * w + a * x
                    ny = p * s * x * y * w + q * (s + y * y * w) + a * y
                    nz = a * z - p * s * x - q * y
                    gain = axis * (nz * nz - old[2] ** 2)
                    if not thermal:
                        gain += (nx - old[0]) * h[0] + (ny - old[1]) * h[1] + (nz - old[2]) * h[2]
                    if chance < np.exp(gain):
                        spins[i, j, 0], spins[i, j, 1], spins[i, j, 2] = nx, ny, nz

    spins = np.zeros((size, size, 3), np.float32)
    spins[..., 2] = 1
    return lambda: run(spins, sweeps)


@contextlib.contextmanager
def spirit_state(size: int, kt: float):
    """A triangular lattice in Spirit with J = 1 meV and K = 0.1 meV, at one temperature."""
    from spirit import state  # pyright: ignore[reportMissingImports]
    from spirit.parameters import llg as parameters  # pyright: ignore[reportMissingImports]
    from spirit.parameters import mc  # pyright: ignore[reportMissingImports]

    lines = [
        "output_file_tag", "bravais_lattice hex2d60", f"n_basis_cells {size} {size} 1",
        "boundary_conditions 1 1 0", "mu_s 1.0", "external_field_magnitude 0",
        "anisotropy_magnitude 0.1", "anisotropy_normal 0 0 1", "n_shells_exchange 1", "jij 1.0",
        "n_shells_dmi 0", "dij", "ddi_method none", "llg_damping 0.5", "llg_n_iterations 1000000",
        "mc_n_iterations 1000000", "log_to_file 0", "log_to_console 0",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "input.cfg")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        pointer = state.setup(path, True)
        mc.set_temperature(pointer, kt / BOLTZMANN)
        parameters.set_temperature(pointer, kt / BOLTZMANN)
        yield pointer
        state.delete(pointer)


def by_spirit(pointer, method: str, sweeps: int) -> Callable[[], object]:
    from spirit import simulation  # pyright: ignore[reportMissingImports]

    kind = simulation.METHOD_MC if method == "mc" else simulation.METHOD_LLG
    options = {} if method == "mc" else {"solver_type": simulation.SOLVER_HEUN}

    def run():
        simulation.start(pointer, kind, n_iterations=sweeps, n_iterations_log=sweeps, **options)

    return run


def copy_bandwidth() -> float:
    """Bytes read and written in a second by a large copy."""
    source = np.zeros(1 << 26, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        ctypes.memmove(target.ctypes.data, source.ctypes.data, source.nbytes)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def report(title: str, contenders: dict[str, tuple[Callable, float]], floor: float = 0.0) -> None:
    """Medians of updates per nanosecond; the second of a pair is the number of updates."""
    print(title, flush=True)
    runs = {name: run for name, (run, _) in contenders.items()}
    times = alternate(runs, TURNS, clock=time.process_time)
    rates = {name: contenders[name][1] / np.median(times[name]) / 1e9 for name in contenders}
    fastest = max((rate for name, rate in rates.items() if "gossamer" not in name), default=0.0)
    for name, rate in rates.items():
        line = f"  {name:34}{rate:9.4f} per ns"
        if "gossamer" in name and fastest:
            line += f"   {rate / fastest:6.2f} x the fastest peer"
        print(line, flush=True)
    if floor:
        first = next(iter(rates))
        print(f"  {first}: {floor / rates[first]:.1f} times the time of memory traffic")


def try_add(contenders: dict, name: str, make: Callable[[], Callable], updates: float) -> None:
    try:
        contenders[name] = (make(), updates)
    except ImportError as error:
        print(f"  {name} is left out: {error}")


def compare_ising(kind: str, size: int, bandwidth: float) -> None:
    kt, spins = 1.1 * ISING[kind], size * size
    model = SpinModel(Lattice(kind, (size, size)), spin="ising")  # pyright: ignore
    packed, single = max(8, 6_000_000 // spins), max(4, 2_000_000 // spins)
    contenders: dict = {
        "gossamer, 32 replicas in bits": (
            ours(multispin_metropolis(model), kt, packed), 32 * packed * spins),
        "gossamer, metropolis": (ours(metropolis(model), kt, single), single * spins),
    }  # fmt: skip
    for name, make in (("mcising", by_mcising), ("peapods", by_peapods), ("numba", ising_by_numba)):
        sweeps = max(4, (4_000_000 if name != "peapods" else 1_000_000) // spins)
        try_add(contenders, name, lambda m=make, n=sweeps: m(kind, size, kt, n), sweeps * spins)
    colors = model.lattice.num_sublattices
    bytes_each = (4 * colors + 4) / 32  # each color reads all words, and writes its own
    report(f"Ising, {kind} {size} x {size}, Metropolis", contenders, bandwidth / bytes_each / 1e9)


def compare_heisenberg(size: int, bandwidth: float) -> None:
    spins, kt = size * size, 1.0
    model = SpinModel(Lattice("triangular", (size, size)), anisotropy=0.1)
    sweeps = max(3, 600_000 // spins)
    contenders: dict = {
        "gossamer, heat bath": (ours(heat_bath(model), kt, sweeps), sweeps * spins),
        "gossamer, Metropolis": (ours(metropolis(model), kt, sweeps), sweeps * spins),
        "gossamer, over-relaxation": (ours(over_relaxation(model), kt, sweeps), sweeps * spins),
        "gossamer, LLG by Heun": (
            ours(llg(model, time_step=0.01 * UNIT, damping=0.5), kt, sweeps), sweeps * spins),
    }  # fmt: skip
    for rule in ("heat bath", "Metropolis"):
        try_add(
            contenders, f"numba, {rule}",
            lambda r=rule: heisenberg_by_numba(r, size, kt, sweeps), sweeps * spins,
        )  # fmt: skip
    with contextlib.ExitStack() as stack:
        try:
            pointer = stack.enter_context(spirit_state(size, kt))
            few = max(2, 100_000 // spins)
            contenders["spirit, Metropolis"] = (by_spirit(pointer, "mc", few), few * spins)
            contenders["spirit, LLG by Heun"] = (by_spirit(pointer, "llg", few), few * spins)
        except ImportError as error:
            print(f"  spirit is left out: {error}")
        bytes_each = 12 * 3 + 12  # each of three colors reads all spins, and writes its own
        report(f"Heisenberg, triangular {size} x {size}", contenders, bandwidth / bytes_each / 1e9)


def main() -> None:
    bandwidth = copy_bandwidth()
    print(f"copy: {bandwidth / 1e9:.1f} GB/s")
    for kind in ("square", "triangular"):
        for size in (96, 384):
            compare_ising(kind, size, bandwidth)
    for size in (96, 384):
        compare_heisenberg(size, bandwidth)


if __name__ == "__main__":
    main()
