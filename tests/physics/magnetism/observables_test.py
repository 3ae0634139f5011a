"""Observables of configurations whose values are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import BASIS, Lattice
from gossamer.physics.magnetism.observables import average, ordered_component, snapshot


def spiral(lattice):
    """Spins in the plane that turn once along a1."""
    angle = 2 * np.pi * lattice.indices[0] / lattice.size[0]
    spins = np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    return jnp.asarray(spins * lattice.occupied[:, :, None, None], jnp.float32), angle


@pytest.mark.parametrize("kind", BASIS)
def test_order_and_waves(kind):
    model = SpinModel(Lattice(kind, (6, 6), 3, constant=1.0), exchange=2.0)
    up = jnp.zeros((3, *model.lattice.shape)).at[2].set(1.0)
    up = up * model.lattice.occupied[None, :, :, None, None]
    found = jax.jit(snapshot)(model, up)
    np.testing.assert_allclose(found.magnetization, [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(found.layers, 1, rtol=1e-6)
    np.testing.assert_allclose(found.energy, -2.0 * model.lattice.coordination / 2, rtol=1e-6)
    np.testing.assert_allclose(found.structure, 0, atol=1e-6)
    assert found.stiffness == found.current == 0
    turned = jax.jit(snapshot)(model, spiral(model.lattice)[0])
    np.testing.assert_allclose(turned.magnetization, 0, atol=1e-6)
    np.testing.assert_allclose(turned.structure[1], model.lattice.num_sites / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", ["triangular", "square"])
def test_stiffness_of_order(kind):
    """At T = 0 the stiffness is J sum x^2 / 2 over neighbors: 3 J / 2 and J of one spin."""
    model = SpinModel(Lattice(kind, (6, 6)), exchange=2.0, anisotropy=-1.0)
    flat = jnp.zeros((3, *model.lattice.shape)).at[0].set(1.0)
    found = jax.jit(snapshot)(model, flat)
    expected = {"triangular": 3.0, "square": 2.0}[kind]
    np.testing.assert_allclose(found.stiffness, expected, rtol=1e-6)
    np.testing.assert_allclose(found.current, 0, atol=1e-5)


def test_averages_of_made_up_runs():
    """Normal magnetizations have U = 0, and the variances that went in come out."""
    model = SpinModel(Lattice("square", (8, 8)), anisotropy=0.2, moment=2.0)
    generator = np.random.default_rng(0)
    up = jnp.zeros((3, *model.lattice.shape)).at[2].set(1.0)
    one = jax.tree.map(np.asarray, jax.jit(snapshot)(model, up))
    series = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (8, 4000, *leaf.shape)), one)
    noise = generator.normal(size=(8, 4000, 3)) * 0.1
    series = series._replace(
        magnetization=noise, energy=generator.normal(size=(8, 4000)) * 0.3 - 1.0
    )
    found = average(model, series, 10.0)
    assert abs(found.binder.value) < 4 * found.binder.error < 0.1
    kt = 0.8617333262
    assert found.specific_heat.value == pytest.approx(64 * 0.09 / kt**2, rel=0.05)
    variance = 0.01 * (1 - 2 / np.pi)
    moment = 2 * 0.05788381806
    assert found.susceptibility.value == pytest.approx(64 * moment / kt * variance, rel=0.05)
    assert found.magnetization.value == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.02)
    ordered = series._replace(magnetization=np.full((8, 4000, 3), 0.5))
    assert average(model, ordered, 10.0).binder.value == pytest.approx(2 / 3)


def test_what_orders():
    lattice = Lattice("square", (4, 4))
    assert ordered_component(SpinModel(lattice, spin="ising")) == "z"
    assert ordered_component(SpinModel(lattice, anisotropy=0.1)) == "z"
    assert ordered_component(SpinModel(lattice, anisotropy=-0.1)) == "plane"
    assert ordered_component(SpinModel(lattice, exchange_anisotropy=0.9)) == "plane"
    assert ordered_component(SpinModel(lattice)) == "all"
