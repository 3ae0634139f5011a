"""Landau-Lifshitz-Gilbert: Larmor precession, switching, and the Monte Carlo average as dt -> 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.errors import estimate
from gossamer.physics.samplers import runs
from gossamer.physics.samplers.dynamics import llg
from gossamer.physics.samplers.sampler import State, repeat
from gossamer.physics.samplers.sweeps import heat_bath
from gossamer.physics.units import BOHR_MAGNETON, BOLTZMANN, GYROMAGNETIC

TINY = Lattice("triangular", (3, 3))


def along_x():
    return jnp.zeros((3, *TINY.shape)).at[0].set(1.0)


def precess(time_step, num, damping=0.2, field=20.0):
    """The last spin, with its exact place."""
    sampler = llg(SpinModel(TINY, exchange=0.0, field=field), time_step=time_step, damping=damping)
    state = State(along_x(), jnp.zeros(()))
    state, _ = jax.jit(repeat(sampler, num).step)(jax.random.key(0), state)
    phase = GYROMAGNETIC * field * time_step * num / (1 + damping**2)
    z = np.tanh(damping * phase)
    exact = np.array([np.cos(phase) / np.cosh(damping * phase),
                      np.sin(phase) / np.cosh(damping * phase), z])  # fmt: skip
    return np.asarray(state.spins[:, 0, 0, 0, 0]), exact


def test_larmor_precession_to_second_order(float64):
    errors = []
    for num in (200, 400):
        found, exact = precess(1.0 / num, num)
        errors.append(np.abs(found - exact).max())
    assert 3.7 < errors[0] / errors[1] < 4.3
    found, exact = precess(5e-5, 20000)
    np.testing.assert_allclose(found, exact, atol=1e-6)


@pytest.mark.usefixtures("optimized_code")
def test_steps_extrapolate_to_monte_carlo():
    """Energies are off by a term linear in the time step; two steps take it away."""
    model = SpinModel(TINY, anisotropy=0.3)
    kt, replicas = 0.9, 64
    unit = BOHR_MAGNETON / GYROMAGNETIC  # ps meV: a time step in units of mu / (gamma J)

    def mean(sampler, sweeps, measurements):
        states = runs.start(sampler, jax.random.key(0), kt / BOLTZMANN, replicas)
        run = runs.advance(sampler, measurements=measurements, sweeps=sweeps)
        states, _ = run(jax.random.key(1), states)
        return estimate(np.asarray(run(jax.random.key(2), states)[1].energy[0]))

    exact = mean(heat_bath(model), 1, 1200)
    coarse = mean(llg(model, time_step=0.04 * unit, damping=0.5), 10, 1200)
    fine = mean(llg(model, time_step=0.02 * unit, damping=0.5), 20, 1200)
    limit = 2 * fine.value - coarse.value
    error = np.sqrt(exact.error**2 + coarse.error**2 + 4 * fine.error**2)
    assert error < 0.012
    assert abs(limit - exact.value) < 4 * error
    assert coarse.value < fine.value  # Steps that are too long look colder.


def test_bad_numbers():
    for options in ({"time_step": 0.0}, {"damping": -0.1}):
        with pytest.raises(ValueError, match="must be"):
            llg(SpinModel(TINY), **options)
