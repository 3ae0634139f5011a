"""One bit per spin: bit operations against counting, replicas against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.errors import estimate
from gossamer.physics.samplers import multispin
from gossamer.physics.samplers.sampler import repeat
from gossamer.physics.units import BOLTZMANN

TINY = {"triangular": (3, 3), "square": (4, 4), "honeycomb": (3, 2)}
KT = {"triangular": 4.0, "square": 2.5, "honeycomb": 1.6}


def test_counting_neighbors():
    planes = [jnp.asarray([sum(1 << b for b in range(32) if b >> p & 1)], jnp.uint32)
              for p in range(5)]  # fmt: skip
    digits = multispin._count(planes)
    for number in range(6):
        expected = [b for b in range(32) if bin(b).count("1") == number]
        equal = int(multispin._equal(digits, number)[0])
        assert [b for b in range(32) if equal >> b & 1] == expected
        most = int(multispin._at_most(digits, number)[0])
        assert bin(most).count("1") == sum(bin(b).count("1") <= number for b in range(32))


def test_decisions_compare_numbers():
    generator = np.random.default_rng(0)
    draws = [
        jnp.asarray(generator.integers(0, 2**32, 50, np.uint32)) for _ in range(multispin.BITS)
    ]
    numbers = sum(
        (((~np.asarray(draw)[:, None] >> np.arange(32, dtype=np.uint32)) & 1).astype(np.int64))
        << place
        for place, draw in enumerate(draws)
    )
    threshold = round(0.3 * 2**multispin.BITS)
    (found,) = multispin._decide(draws, [jnp.uint32(threshold)])
    bits = (np.asarray(found)[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    np.testing.assert_array_equal(bits, numbers < threshold)


@pytest.mark.parametrize("kind", TINY)
def test_replicas_against_enumeration(kind):
    lattice = Lattice(kind, TINY[kind])
    model = SpinModel(lattice, spin="ising")
    configurations = np.array(list(itertools.product((-1, 1), repeat=lattice.num_sites)))
    pairs = 0.0
    grid = configurations.reshape(-1, *lattice.shape)
    for color, bonds in enumerate(lattice.bonds):
        for bond in bonds:
            there = np.roll(grid[:, bond.color], [-shift for shift in bond.offset], (1, 2, 3))
            pairs = pairs + 0.5 * (grid[:, color] * there).sum((1, 2, 3))
    assert lattice.twists[1] % lattice.shape[3] == 0  # so that a roll is all
    weights = np.exp(pairs / KT[kind])
    exact = np.average(np.abs(configurations.mean(1)), weights=weights)
    sampler = multispin.multispin_metropolis(model)
    state = sampler.init(jax.random.key(0), KT[kind] / BOLTZMANN)

    @jax.jit
    def run(key, state):
        def measure(state, key):
            state, _ = repeat(sampler, 2).step(key, state)
            return state, multispin.magnetization(state.bits)

        return jax.lax.scan(measure, state, jax.random.split(key, 700))[1]

    series = np.abs(np.asarray(run(jax.random.key(1), state))[50:].T)
    found = estimate(series)
    assert found.error < 0.01
    assert abs(found.value - exact) < 4 * found.error


def test_replicas_are_independent_and_unpacked(key):
    model = SpinModel(Lattice("square", (8, 8)), spin="ising")
    sampler = multispin.multispin_metropolis(model)
    state = sampler.init(key, 3.0 / BOLTZMANN, "up")
    state, _ = jax.jit(repeat(sampler, 20).step)(key, state)
    spins = np.asarray(multispin.unpack(state.bits))
    assert spins.shape == (32, 1, *model.lattice.shape)
    np.testing.assert_allclose(
        spins.mean((1, 2, 3, 4, 5)), multispin.magnetization(state.bits), atol=1e-6
    )
    correlation = np.corrcoef(spins.reshape(32, -1))
    # 496 pairs of 64 spins each: no pair is more alike than chance allows by 6 deviations.
    assert np.abs(correlation[np.triu_indices(32, 1)]).max() < 0.95


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ({"field": 1.0}, "no field"),
        ({"spin": "vector"}, "Ising spins"),
        ({"exchange": -1.0}, "one ferromagnetic exchange"),
        ({"lattice": Lattice("square", (4, 4), periodic=(True, False, False))}, "periodic edges"),
    ],
)
def test_what_it_needs(change, need):
    model = SpinModel(Lattice("square", (4, 4)), spin="ising").replace(**change)
    with pytest.raises(ValueError, match=f"needs {need}; take `metropolis`"):
        multispin.multispin_metropolis(model)
