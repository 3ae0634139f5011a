"""Stochastic Landau-Lifshitz-Gilbert dynamics, by the method of Heun.

    dS/dt = - gamma / (1 + alpha^2) [S x B + alpha S x (S x B)],     B = - dH / d(mu S) + b,
    <b_i b_j> = 2 alpha kT / (gamma mu dt) delta_ij                  in each step,

in the sense of Stratonovich, to which the predictor and corrector of Heun converges.  Spins are
normalized after each step.  Averages are off by a term linear in the time step: extrapolate, or
take it small enough.  Unlike the samplers by color it takes dipoles.

References:
    J. L. Garcia-Palacios, F. J. Lazaro, "Langevin-dynamics study of the dynamical properties of
        small magnetic particles", Physical Review B 58, 14937, 1998.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..interactions.fields import anisotropies, fields
from ..interactions.model import SpinModel
from ..units import BOHR_MAGNETON, BOLTZMANN, GYROMAGNETIC
from .randomness import circle, threefry, words
from .sampler import Info, Sampler, State, make_init


def llg(model: SpinModel, *, time_step: float = 1e-3, damping: Any = 0.1) -> Sampler:
    """Landau-Lifshitz-Gilbert dynamics at the temperature of the state.

    Args:
        model: vector spins.
        time_step: ps.
        damping: alpha, of Gilbert.

    Returns:
        A sampler whose step is one time step.

    Raises:
        ValueError: for Ising spins, which have no dynamics, or numbers out of range.
    """
    if model.spin == "ising":
        raise ValueError("`llg` needs vector spins; Ising spins have no precession.")
    if not time_step > 0:
        raise ValueError(f"`time_step` must be positive, in ps, got {time_step}.")
    if not isinstance(damping, Tracer) and not damping >= 0:
        raise ValueError(f"`damping` must be at least 0, got {damping}.")
    moment = model.moment * BOHR_MAGNETON

    def field(spins: jax.Array) -> jax.Array:
        total = fields(model, spins)
        return total.at[2].add(2 * anisotropies(model) * spins[2]) / moment

    def slope(spins: jax.Array, field: jax.Array) -> jax.Array:
        torque = _cross(spins, field)
        return -GYROMAGNETIC / (1 + damping**2) * (torque + damping * _cross(spins, torque))

    def step(key: jax.Array, state: State) -> tuple[State, Info]:
        spins = state.spins
        size = jnp.sqrt(
            2 * damping * BOLTZMANN * state.temperature / (GYROMAGNETIC * moment * time_step)
        )
        noise = size * _normal(key, spins.shape)
        first = slope(spins, field(spins) + noise)
        guess = spins + time_step * first
        second = slope(guess, field(guess) + noise)
        new = spins + 0.5 * time_step * (first + second)
        length = jnp.sqrt(jnp.sum(new * new, 0))
        return state._replace(spins=new / jnp.where(length > 0, length, 1.0)[None]), Info(
            jnp.ones(())
        )

    return Sampler(make_init(model), step, model)


def _cross(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal numbers ``[3, ...]``, by the transform of Box and Muller."""
    number = int(np.prod(shape[1:]))
    site = jax.lax.iota(jnp.uint32, number).reshape(shape[1:])
    seed = words(key)
    draws = [threefry(seed, site, jnp.full_like(site, turn)) for turn in range(2)]
    values = []
    for low, high in draws:
        uniform = ((low >> np.uint32(8)).astype(jnp.float32) + 0.5) * np.float32(2**-24)
        cosine, sine = circle((high >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24))
        radius = jnp.sqrt(-2 * jnp.log(uniform))
        values += [radius * cosine, radius * sine]
    return jnp.stack(values[:3])
