"""What a configuration shows, and averages of it over a run.

With energies E and magnetizations m = sum S / N of N spins:

    specific heat    (<E^2> - <E>^2) / (N k T^2)
    susceptibility   N mu_B mu (<m^2> - <|m|>^2) / kT      of the ordered component
    Binder cumulant  U = 1 - <m^4> / (3 <m^2>^2)           of Sz; for n components
                     U = 1 - n <m^4> / ((n + 2) <m^2>^2)   so that disorder gives 0
    correlation      xi = sqrt(S(0) / S(q) - 1) / (2 sin(|q| a / 2)), q the smallest wave vector
    helicity         Y = <e> - <(sum of currents)^2> / (N kT)

The helicity modulus is the stiffness against a twist of the xy components along x; at a transition
of Kosterlitz and Thouless it jumps to 2 kT / pi.

References:
    K. Binder, "Finite size scaling analysis of Ising model block distribution functions",
        Zeitschrift fuer Physik B 43, 119, 1981.
    F. Cooper, B. Freedman, D. Preston, "Solving phi^4 field theory with Monte Carlo",
        Nuclear Physics B 210, 210, 1982.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interactions.fields import energy
from ..interactions.halo import exists, look, surround
from ..interactions.model import SpinModel
from ..lattice import Lattice
from ..units import BOHR_MAGNETON, BOLTZMANN
from .errors import Estimate, estimate, jackknife


class Snapshot(NamedTuple):
    """One configuration in numbers; a run stacks them along leading axes."""

    energy: jax.Array  # [], meV per spin
    magnetization: jax.Array  # [3], per spin
    layers: jax.Array  # [layers], mz of each layer
    structure: jax.Array  # [2]: |sum S exp(i q r)|^2 / N of Sz and of Sx, Sy; smallest q along x
    stiffness: jax.Array  # [], meV per spin: first part of the helicity modulus
    current: jax.Array  # [], meV: sum of the currents of the second part


class Averages(NamedTuple):
    """Averages over one run, each with its standard error."""

    temperature: float  # K
    energy: Estimate  # meV per spin
    magnetization: Estimate  # <|m|> of the ordered component
    susceptibility: Estimate  # per spin, 1 / T
    specific_heat: Estimate  # k per spin
    binder: Estimate
    correlation_length: Estimate  # nm, above the Curie temperature
    helicity: Estimate  # meV, of a plane
    autocorrelation_time: float  # of |m|, in measurements


def snapshot(model: SpinModel, spins: jax.Array) -> Snapshot:
    """Measures a configuration ``[components, colors, depth, rows, cells]``."""
    lattice = model.lattice
    number = lattice.num_sites
    if model.spin == "ising":
        vector = jnp.concatenate([jnp.zeros((2, *spins.shape[1:])), spins])
    else:
        vector = spins
    wave = jnp.asarray(_wave(lattice), jnp.float32)  # [2, ...]
    modes = jnp.einsum("acdrk,pcdrk->ap", vector, wave)
    power = jnp.sum(modes**2, 1) / number
    stiffness, current = (jnp.zeros(()), jnp.zeros(()))
    if model.spin == "vector":
        stiffness, current = _twist(model, spins)
    return Snapshot(
        energy=energy(model, spins) / number,
        magnetization=jnp.sum(vector, (1, 2, 3, 4)) / number,
        layers=layer_magnetizations(lattice, spins[-1]),
        structure=jnp.stack([power[2], power[0] + power[1]]),
        stiffness=stiffness / number,
        current=current,
    )


def layer_magnetizations(lattice: Lattice, values: jax.Array) -> jax.Array:
    """Means of ``[colors, depth, rows, cells]`` over each layer, ``[layers]``."""
    sums = jnp.sum(values, (2, 3)).ravel()
    member = lattice.layer_index.ravel()[None] == np.arange(lattice.layers)[:, None]
    return member.astype(np.float32) @ sums * (lattice.layers / lattice.num_sites)


def average(
    model: SpinModel, series: Snapshot, temperature: float, *, component: str | None = None
) -> Averages:
    """Averages a run.

    Args:
        model: what was sampled.
        series: snapshots stacked as ``[num_measurements]``, or as ``[replicas, num_measurements]``
            of independent runs.
        temperature: K.
        component: what orders: "z", "plane", or "all"; by default "z" for Ising and for an easy
            axis, "plane" for an easy plane, and "all" for isotropic spins.

    Returns:
        `Averages`; errors are those of blocks longer than the autocorrelation time.
    """
    component = ordered_component(model) if component is None else component
    kept = {"z": (2,), "plane": (0, 1), "all": (0, 1, 2)}[component]
    numbers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), series)
    squares = np.sum(numbers.magnetization[..., kept] ** 2, -1)
    m, e = np.sqrt(squares), numbers.energy
    kt, number = BOLTZMANN * temperature, model.lattice.num_sites
    n = len(kept)
    moment = BOHR_MAGNETON * float(model.moment)
    power = numbers.structure @ {"z": [1, 0], "plane": [0, 1], "all": [1, 1]}[component]
    sharpness = 2 * np.sin(_smallest_wave_vector(model.lattice) * model.lattice.constant / 2)
    offset = e - e.mean()
    stiff, current = numbers.stiffness, numbers.current**2 / (number * kt)

    def binder(means):
        return 1 - n * means[1] / ((n + 2) * means[0] ** 2)

    def length(means):
        ratio = np.maximum(number * means[0] / np.maximum(means[1], 1e-30) - 1, 0)
        return model.lattice.constant * np.sqrt(ratio) / sharpness

    def variance(means):
        return means[0] - means[1] ** 2

    return Averages(
        temperature=temperature,
        energy=estimate(e),
        magnetization=estimate(m),
        susceptibility=jackknife(lambda x: number * moment / kt * variance(x), squares, m),
        specific_heat=jackknife(lambda x: number / kt**2 * variance(x), offset**2, offset),
        binder=jackknife(binder, squares, squares**2),
        correlation_length=jackknife(length, squares, power),
        helicity=jackknife(lambda x: x[0] - x[1], stiff, current),
        autocorrelation_time=estimate(m).autocorrelation_time,
    )


def ordered_component(model: SpinModel) -> str:
    """What orders at low temperature: "z", "plane" or "all"."""
    if model.spin == "ising":
        return "z"
    axis = float(np.mean(np.asarray(model.anisotropy)))
    axis += (
        model.lattice.coordination
        / 2
        * float(np.mean(np.asarray(model.exchange)) * (float(model.exchange_anisotropy) - 1))
    )
    return "z" if axis > 0 else "plane" if axis < 0 else "all"


def _smallest_wave_vector(lattice: Lattice) -> float:
    """Its length along x, 1 / nm; along a1* of a sheared cell."""
    return 2 * np.pi / (lattice.size[0] * lattice.constant)


def _wave(lattice: Lattice) -> np.ndarray:
    """Cosine and sine of 2 pi i / L at each site, ``[2, colors, depth, rows, cells]``."""
    phase = 2 * np.pi * lattice.indices[0] / lattice.size[0]
    present = lattice.occupied[:, :, None, None]
    return np.stack([np.cos(phase), np.sin(phase)]) * present


def _twist(model: SpinModel, spins: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over bonds of J x^2 (S . S')_xy and of J x (S x S')_z, meV; x in lattice constants."""
    lattice = model.lattice
    surrounded = surround(spins, lattice)
    length = 1 / np.sqrt(3) if lattice.kind == "honeycomb" else 1.0
    first, second = [], []
    for color, bonds in enumerate(lattice.bonds):
        straight, slanted = jnp.zeros(()), jnp.zeros(())  # sums of x^2 S' and of x S'
        for bond in bonds:
            if bond.across:
                continue
            there = look(surrounded, bond, lattice)[:2]
            kept = exists(color, bond, lattice, None, lattice.size[1])
            there = there if kept is None else jnp.where(kept[None], there, 0.0)
            x = bond.direction[0] * length
            straight += x * x * there
            slanted += x * there
        exchange = model.by_depth(model.exchange, color)[None]
        here = 0.5 * exchange * spins[:2, color]  # a half: each bond comes at both ends
        first.append(here[0] * straight[0] + here[1] * straight[1])
        second.append(here[0] * slanted[1] - here[1] * slanted[0])
    return jnp.sum(jnp.stack(first)), jnp.sum(jnp.stack(second))
