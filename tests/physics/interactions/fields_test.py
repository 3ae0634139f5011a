"""Energies against sums over pairs, fields against derivatives of the energy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.dipolar import from_grid, to_grid
from gossamer.physics.interactions.fields import energy, fields
from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import BASIS, Lattice
from gossamer.physics.samplers.sampler import make_init
from gossamer.physics.units import BOHR_MAGNETON, DIPOLE

SIZES = {"triangular": (3, 3), "square": (4, 4), "honeycomb": (3, 3)}
FILM = {
    "exchange": [1.0, 1.3, 0.8],
    "anisotropy": [0.3, -0.2, 0.5],
    "exchange_anisotropy": 0.7,
    "interlayer": [0.4, -0.3],
    "moment": 2.0,
    "field": [3.0, -1.0, 2.0],
    "dmi": 0.25,
}


def sum_pairs(model, spins):
    """The energy by distances of all pairs of sites, without a lattice."""
    lattice = model.lattice
    present = np.broadcast_to(lattice.occupied[:, :, None, None], lattice.shape).ravel()
    spins = np.asarray(spins, np.float64).reshape(3, -1)[:, present]
    places = lattice.positions.reshape(3, -1)[:, present]
    layer = lattice.indices[2].ravel()[present]
    near = {"triangular": 1.0, "square": 1.0, "honeycomb": 1 / np.sqrt(3)}[lattice.kind]
    beside = {"triangular": 1 / np.sqrt(3), "square": np.sqrt(0.5), "honeycomb": 0.0}
    over = beside[lattice.kind] if lattice.stacking == "AB" else 0.0
    periods = np.array(lattice.size)[:, None] * BASIS[lattice.kind]
    total = -np.sum(np.asarray(model.anisotropy)[layer] * spins[2] ** 2)
    total -= model.moment * BOHR_MAGNETON * np.sum(np.asarray(model.field) @ spins)
    for one in range(len(layer)):
        for other in range(one):
            for m in (-1, 0, 1):
                for n in (-1, 0, 1):
                    step = places[:, other] - places[:, one]
                    step[:2] += m * periods[0] + n * periods[1]
                    a, b = spins[:, one], spins[:, other]
                    low, high = sorted((layer[one], layer[other]))
                    flat = np.hypot(step[0], step[1])
                    if low == high and abs(flat - near) < 1e-6:
                        scale = np.array([1, 1, model.exchange_anisotropy])
                        total -= model.exchange[low] * np.sum(scale * a * b)
                        d = np.cross([0, 0, 1], step / flat)
                        total += model.dmi * d @ np.cross(a, b)
                    elif high == low + 1 and abs(flat - over) < 1e-6:
                        total -= model.interlayer[low] * a @ b
    return total


@pytest.mark.parametrize("kind", BASIS)
@pytest.mark.parametrize("stacking", ["AA", "AB"])
def test_energy_is_the_sum_over_pairs(key, kind, stacking):
    model = SpinModel(Lattice(kind, SIZES[kind], 3, stacking, constant=1.0), **FILM)
    spins = make_init(model)(key, 1.0).spins
    found = jax.jit(lambda spins: energy(model, spins))(spins)
    np.testing.assert_allclose(found, sum_pairs(model, spins), rtol=3e-6)


def test_field_is_the_derivative(key):
    model = SpinModel(Lattice("triangular", (3, 6), 2, constant=1.0), dmi=0.3, interlayer=0.2)
    spins = make_init(model)(key, 1.0).spins
    slope = jax.jit(jax.grad(lambda spins: energy(model, spins)))(spins)
    field = jax.jit(lambda spins: fields(model, spins))(spins)
    np.testing.assert_allclose(field, -slope, atol=1e-5)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("kind", BASIS)
def test_dipoles_against_sums_over_pairs(key, kind, periodic):
    edges = (periodic, periodic, False)
    lattice = Lattice(kind, SIZES[kind], 2, "AB", edges, constant=0.4)
    plain = SpinModel(lattice, exchange=0.0, moment=3.0)
    spins = make_init(plain)(key, 1.0).spins
    found = jax.jit(energy)(dataclasses.replace(plain, dipolar=True), spins)
    places, flat = lattice.positions.reshape(3, -1), np.asarray(spins).reshape(3, -1)
    layer = lattice.indices[2].ravel()
    shifts = [np.zeros(2)]
    if periodic:
        periods = 0.4 * lattice.size[0] * BASIS[kind]
        shifts = [m * periods[0] + n * periods[1] for m in (-1, 0, 1) for n in (-1, 0, 1)]
    total = 0.0
    for one in range(len(layer)):
        for other in range(one):
            if layer[one] == layer[other]:
                step = (places[:, other] - places[:, one])[:2]
                images = [np.append(step + shift, 0.0) for shift in shifts]
                far = min(map(np.linalg.norm, images))
                nearest = [r for r in images if np.linalg.norm(r) < far + 1e-9]
                a, b = flat[:, one], flat[:, other]
                total += a @ b / far**3
                total -= 3 * np.mean([(a @ r) * (b @ r) for r in nearest]) / far**5
    np.testing.assert_allclose(found, DIPOLE * 9 * total, rtol=1e-4, atol=1e-6)


def test_grids(key):
    lattice = Lattice("honeycomb", (4, 5), 3)
    values = jax.random.normal(key, lattice.shape)
    values = jnp.where(lattice.occupied[:, :, None, None], values, 0)
    grid = to_grid(lattice, values)
    assert grid.shape == (3, 2, 5, 4)
    np.testing.assert_array_equal(from_grid(lattice, grid), values)
