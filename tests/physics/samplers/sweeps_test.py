"""Samplers against exact enumeration, closed forms, and each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.fields import energy
from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.errors import estimate
from gossamer.physics.samplers import runs
from gossamer.physics.samplers.clusters import swendsen_wang, wolff
from gossamer.physics.samplers.dynamics import llg
from gossamer.physics.samplers.sampler import chain, repeat
from gossamer.physics.samplers.sweeps import heat_bath, metropolis, over_relaxation
from gossamer.physics.units import BOHR_MAGNETON, BOLTZMANN

TINY = {"triangular": (3, 3), "square": (4, 4), "honeycomb": (3, 2)}


def enumerate_ising(model, kt):
    """<E> and <|m|> per spin over all configurations."""
    lattice = model.lattice
    bits = np.array(list(itertools.product((-1, 1), repeat=lattice.num_sites)), np.float32)
    spins = jnp.asarray(bits.reshape(-1, 1, *lattice.shape))
    energies = np.asarray(jax.jit(jax.vmap(lambda x: energy(model, x)))(spins), np.float64)
    weights = np.exp(-(energies - energies.min()) / kt)
    weights /= weights.sum()
    m = np.abs(bits.mean(1))
    return weights @ energies / lattice.num_sites, weights @ m


def sample(sampler, kt, measurements=500, sweeps=1, replicas=12, key=0, how="random"):
    """Series after 60 measurements that do not count."""
    key = jax.random.key(key)
    states = runs.start(sampler, key, kt / BOLTZMANN, replicas, how)
    series = runs.advance(sampler, measurements=60 + measurements, sweeps=sweeps)(key, states)[1]
    return jax.tree.map(lambda leaf: np.asarray(leaf[0, :, 60:]), series)


def agree(series, exact, sigmas=4.0):
    found = estimate(series)
    assert found.error < 0.05 * max(abs(exact), 0.2)
    assert abs(found.value - exact) < sigmas * found.error


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("make", [metropolis, heat_bath, wolff, swendsen_wang])
def test_ising_against_enumeration(make, kind):
    model = SpinModel(Lattice(kind, TINY[kind]), spin="ising")
    kt = {"triangular": 4.0, "square": 2.5, "honeycomb": 1.6}[kind]
    exact_energy, exact_order = enumerate_ising(model, kt)
    series = sample(make(model), kt)
    agree(series.energy, exact_energy)
    agree(np.abs(series.magnetization[..., 2]), exact_order)


@pytest.mark.parametrize("make", [metropolis, heat_bath])
def test_layers_in_a_field_against_enumeration(make):
    lattice = Lattice("honeycomb", (2, 2), 2, "AB", (False, True, False))
    model = SpinModel(
        lattice, exchange=[1.0, 0.6], interlayer=-0.5, field=4.0, moment=1.5, spin="ising"
    )
    exact_energy, exact_order = enumerate_ising(model, 1.2)
    series = sample(make(model), 1.2)
    agree(series.energy, exact_energy)
    agree(np.abs(series.magnetization[..., 2]), exact_order)


@pytest.mark.parametrize("make", [metropolis, lambda m: metropolis(m, width=0.8), heat_bath])
def test_free_spins_have_the_distribution_of_boltzmann(make):
    """The cosine to a field along z with an easy axis has the density exp((h z + K z^2) / kT)."""
    kt, field = 1.0, 10.0
    anisotropy, lattice = 0.8, Lattice("triangular", (3, 3))
    model = SpinModel(lattice, exchange=0.0, anisotropy=anisotropy, field=field, moment=1.7)
    z = np.linspace(-1, 1, 20001)
    weight = np.exp((1.7 * BOHR_MAGNETON * field * z + anisotropy * z**2) / kt)
    series = sample(make(model), kt)
    agree(series.magnetization[..., 2], np.average(z, weights=weight))
    agree(series.energy, -np.average(
        1.7 * BOHR_MAGNETON * field * z + anisotropy * z**2, weights=weight))  # fmt: skip


def test_a_paramagnet_follows_langevin():
    kt, field = 0.4, np.array([6.0, -3.0, 2.0])
    model = SpinModel(Lattice("square", (4, 4)), exchange=0.0, field=field)
    strength = BOHR_MAGNETON * np.linalg.norm(field) / kt
    expected = 1 / np.tanh(strength) - 1 / strength
    series = sample(heat_bath(model), kt)
    agree(series.magnetization @ field / np.linalg.norm(field), expected)


MAGNETS = {
    "axis": ({"anisotropy": 0.4, "exchange_anisotropy": 1.2}, 1.1),
    "plane": ({"anisotropy": -0.5, "dmi": 0.3, "field": [2.0, 0.0, 3.0]}, 0.8),
    "film": ({"anisotropy": [0.2, 0.6], "interlayer": 0.3}, 1.3),
}


@pytest.mark.parametrize(
    "name",
    ["axis", *(pytest.param(name, marks=pytest.mark.slow) for name in ("plane", "film"))],
)
def test_samplers_of_vectors_agree(name):
    """Metropolis with any direction, the plainest, against the others, on nine or 18 spins."""
    terms, kt = MAGNETS[name]
    model = SpinModel(Lattice("triangular", (3, 3), 2 if name == "film" else 1), **terms)
    plain = sample(metropolis(model), kt, sweeps=2)
    others = [chain(heat_bath(model), over_relaxation(model))]
    if name != "plane":
        others.append(chain(wolff(model), metropolis(model, width=1.0)))
    for other in others:
        found = sample(other, kt, key=3)
        for read in (
            lambda x: x.energy,
            lambda x: np.linalg.norm(x.magnetization, axis=-1),
            lambda x: x.magnetization[..., 2] ** 2,
        ):
            a, b = estimate(read(plain)), estimate(read(found))
            assert abs(a.value - b.value) < 4.5 * np.hypot(a.error, b.error)
            assert a.error < 0.03


def test_over_relaxation_keeps_the_energy(key):
    model = SpinModel(Lattice("honeycomb", (4, 4), 3), exchange_anisotropy=0.5, interlayer=0.3)
    sampler = over_relaxation(model)
    state = jax.jit(lambda key: sampler.init(key, 10.0))(key)
    new, info = jax.jit(sampler.step)(key, state)
    measure = jax.jit(energy)
    before, after = measure(model, state.spins), measure(model, new.spins)
    np.testing.assert_allclose(after, before, atol=1e-5)  # J, of 4 J a spin
    assert info.acceptance == 1
    assert jnp.abs(new.spins - state.spins).max() > 0.5
    np.testing.assert_allclose(
        jnp.sum(new.spins**2, 0)[jnp.sum(state.spins**2, 0) > 0.5], 1, atol=1e-5
    )
    assert (new.spins[:, ~model.lattice.occupied] == 0).all()


def test_cold_spins_stay_and_long_steps_are_refused():
    model = SpinModel(Lattice("triangular", (3, 3)), anisotropy=0.2)
    series = sample(heat_bath(model), 1e-4, measurements=10, how="up")
    np.testing.assert_allclose(series.energy, -3.2, atol=1e-3)
    for make in (
        lambda: metropolis(model, width=0.0),
        lambda: wolff(model, clusters=0),
        lambda: repeat(heat_bath(model), 0),
        lambda: chain(),
    ):
        with pytest.raises(ValueError, match="must"):
            make()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda m: heat_bath(m.replace(dipolar=True)), "dipoles of one color see each other; take"),
        (lambda m: wolff(m.replace(field=1.0)), "without `field` and `dmi`.*take `heat_bath`"),
        (lambda m: wolff(m, axis="any"), "needs isotropic exchange"),
        (lambda m: over_relaxation(m.replace(spin="ising")), "needs vector spins"),
        (lambda m: llg(m.replace(spin="ising")), "no precession"),
        (lambda m: runs.start(over_relaxation(m), jax.random.key(0), 3.0), "does not reach every"),
        (lambda m: runs.start(wolff(m), jax.random.key(0), 3.0), r"put it into `chain\(heat_bath"),
        (lambda m: heat_bath(m).init(jax.random.key(0), 0.0), "`temperature` must be positive"),
        (lambda m: heat_bath(m).init(jax.random.key(0), 1.0, "down"), "`start` must be random"),
    ],
)
def test_what_does_not_fit_is_refused(make, match):
    model = SpinModel(Lattice("triangular", (3, 3)), anisotropy=0.1)
    with pytest.raises(ValueError, match=match):
        make(model)
