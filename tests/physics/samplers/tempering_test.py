"""Replicas trade temperatures and keep the distribution of each."""

import jax
import numpy as np
import pytest

from gossamer.physics.interactions.fields import energy
from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.samplers.sampler import chain
from gossamer.physics.samplers.sweeps import heat_bath, over_relaxation
from gossamer.physics.samplers.tempering import in_order, tempering


def test_swaps_keep_averages(key):
    model = SpinModel(Lattice("triangular", (3, 3)), anisotropy=0.3)
    temperatures = [8.0, 10.0, 12.0, 14.0]
    plain, swapped = heat_bath(model), tempering(heat_bath(model))

    @jax.jit
    def run(key):
        def both(states, key):
            alone, tempered = states
            alone, _ = jax.vmap(plain.step)(jax.random.split(key, 4), alone)
            tempered, info = swapped.step(key, tempered)
            measure = jax.vmap(lambda spins: energy(model, spins))
            found = (measure(alone.spins), measure(in_order(tempered).spins), info.acceptance)
            return (alone, tempered), (found, tempered.order)

        states = (
            jax.vmap(plain.init)(jax.random.split(key, 4), np.array(temperatures, np.float32)),
            swapped.init(key, temperatures),
        )
        return jax.lax.scan(both, states, jax.random.split(key, 6000))

    (_, tempered), ((alone, found, acceptance), order) = run(key)
    np.testing.assert_allclose(in_order(tempered).temperature, temperatures)
    # Energies of 9 spins spread by about 3 meV, correlated over about 2 steps: 0.08 meV of mean.
    np.testing.assert_allclose(np.mean(alone, 0), np.mean(found, 0), atol=0.35)
    assert 0.5 < float(acceptance.mean()) < 1
    assert len({tuple(row) for row in np.asarray(order)}) == 24  # every order was visited


def test_bad_temperatures(key):
    model = SpinModel(Lattice("triangular", (3, 3)))
    for wrong in ([1.0], [2.0, 1.0], 3.0):
        with pytest.raises(ValueError, match="at least two rising numbers"):
            tempering(heat_bath(model)).init(key, wrong)
    with pytest.raises(ValueError, match="does not reach every state"):
        tempering(over_relaxation(model))
    assert tempering(chain(over_relaxation(model), heat_bath(model))).ergodic
