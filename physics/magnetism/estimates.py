"""Curie temperatures and magnons without a simulation.  All of these are estimates.

    mean field        kT = J_0 / 3 for vectors, J_0 for Ising; too high
    random phase      kT = 1 / (3 <1 / (J_0 - J_q + 2 K)>_q); good for small K, too high for large K
    fit of Torelli and Olsen   kT = T_Ising tanh^(1/4)[(6 / z) ln(1 + 0.033 K / J)]; against Monte
                      Carlo of the triangular lattice it is 22% too low at K = J / 10

with J_0 the sum of J over all neighbors, z of them in the plane.

References:
    D. Torelli, T. Olsen, "Calculating critical temperatures for ferromagnetic order in
        two-dimensional materials", 2D Materials 6, 015028, 2019.
"""

import numpy as np

from ..interactions.model import SpinModel
from ..lattice import BASIS, IN_PLANE
from ..units import BOHR_MAGNETON, BOLTZMANN

ISING = {  # kT / J of the exact solutions
    "honeycomb": 2 / np.log(2 + np.sqrt(3)),
    "square": 2 / np.log(1 + np.sqrt(2)),
    "triangular": 4 / np.log(3),
}


def mean_field(model: SpinModel) -> float:
    """Mean-field Curie temperature of the strongest layer with its neighbors, K.

    kT = J_0 <z^2>, with the average over a free spin with the anisotropy K: 1/3 without it, and 1
    in the limit of Ising spins.
    """
    exchange = np.max(np.abs(np.asarray(model.exchange)))
    total = model.lattice.coordination * exchange * max(float(model.exchange_anisotropy), 1.0)
    if model.lattice.layers > 1:
        total += 2 * np.max(np.abs(np.asarray(model.interlayer)))
    if model.spin == "ising":
        return float(total / BOLTZMANN)
    axis = max(float(np.max(np.asarray(model.anisotropy))), 0.0)
    kt = total / 3
    z, measure = np.polynomial.legendre.leggauss(96)
    for _ in range(50):  # <z^2> of a free spin with the anisotropy K
        weight = measure * np.exp(axis / kt * (z**2 - 1))
        kt = 0.5 * (kt + total * np.average(z**2, weights=weight))
    return float(kt / BOLTZMANN)


def random_phase(model: SpinModel, points: int = 96) -> float:
    """Curie temperature of one layer in the random phase approximation, K.

    Args:
        model: vector spins with an easy axis.
        points: wave vectors along each axis.

    Raises:
        ValueError: without a gap of magnons, where it is zero.
    """
    gap = 2 * float(np.mean(np.asarray(model.anisotropy)))
    scale = float(model.exchange_anisotropy)
    exchange = float(np.mean(np.asarray(model.exchange)))
    gap += model.lattice.coordination * exchange * (scale - 1)
    if gap <= 0:
        raise ValueError("`model` must have an easy axis; without one the estimate is zero.")
    q = (np.arange(points) + 0.5) / points * 2 * np.pi
    phase = np.stack(np.meshgrid(q, q))
    if model.lattice.kind == "honeycomb":
        factor = np.abs(1 + np.exp(1j * phase[0]) + np.exp(1j * phase[1]))
        cost = np.concatenate([3 - factor, 3 + factor])
    elif model.lattice.kind == "square":
        cost = 4 - 2 * np.cos(phase).sum(0)
    else:
        cost = 6 - 2 * np.cos(phase).sum(0) - 2 * np.cos(phase[0] - phase[1])
    return float(1 / (3 * np.mean(1 / (exchange * cost + gap))) / BOLTZMANN)


def torelli_olsen(model: SpinModel) -> float:
    """The fit of Torelli and Olsen for one layer with an easy axis, K."""
    exchange = float(np.mean(np.asarray(model.exchange)))
    ratio = max(float(np.mean(np.asarray(model.anisotropy))), 0.0) / exchange
    lattice = model.lattice
    shape = np.tanh(6 / lattice.coordination * np.log(1 + 0.033 * ratio)) ** 0.25
    return float(ISING[lattice.kind] * exchange * shape / BOLTZMANN)


def magnon_energy(model: SpinModel, wave_vector: np.ndarray) -> np.ndarray:
    """Energy of a magnon of one layer of the triangular or square lattice, meV per unit spin.

    E_q = 2 K + mu B + J sum_d (1 - cos q . d), in classical units: divide by S for spins of
    length S.

    Args:
        model: magnetized along z; the field is that along z.
        wave_vector: ``[..., 2]``, 1 / nm.

    Raises:
        ValueError: for the honeycomb, which has two branches.
    """
    lattice = model.lattice
    if lattice.kind == "honeycomb":
        raise ValueError("`magnon_energy` takes the triangular or square lattice, got honeycomb.")
    steps = lattice.constant * np.array(IN_PLANE[lattice.kind]) @ BASIS[lattice.kind]
    cost = np.sum(1 - np.cos(np.asarray(wave_vector) @ steps.T), -1)
    field = np.asarray(model.field, np.float64)
    along = float(field if field.ndim == 0 else field[2])
    exchange, axis = (float(np.mean(np.asarray(x))) for x in (model.exchange, model.anisotropy))
    return 2 * axis + float(model.moment) * BOHR_MAGNETON * along + exchange * cost
