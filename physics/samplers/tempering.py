"""Parallel tempering: replicas at several temperatures that trade places.

After a step of all replicas, neighbors in temperature swap with probability

    min(1, exp((1/kT_i - 1/kT_j)(E_i - E_j))),

pairs (0, 1), (2, 3), ... and (1, 2), (3, 4), ... in turn.  States stay where they are; temperatures
move.  `order` tells which replica has which temperature.

References:
    K. Hukushima, K. Nemoto, "Exchange Monte Carlo method and application to spin glass
        simulations", Journal of the Physical Society of Japan 65, 1604, 1996.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interactions.fields import energy
from ..units import BOLTZMANN
from .sampler import Info, Sampler, State, check_temperature, require_ergodic


class TemperedState(NamedTuple):
    """Replicas and their temperatures."""

    replicas: State  # leaves [num_temperatures, ...]
    order: jax.Array  # [num_temperatures] int32: the replica at each temperature, from cold to hot
    turn: jax.Array  # [] int32: which pairs swap next


def tempering(sampler: Sampler) -> Sampler:
    """Runs a sampler at many temperatures with swaps.

    Args:
        sampler: of one configuration.

    Returns:
        A sampler whose `init` takes rising temperatures ``[num_temperatures]`` and makes a
        `TemperedState`; `info.acceptance` is the part of the swaps that were taken.

    Raises:
        ValueError: if the sampler is not ergodic.
    """
    require_ergodic(sampler)

    def init(key: jax.Array, temperature, start: str = "random") -> TemperedState:
        check_temperature(temperature)
        temperatures = np.asarray(temperature, np.float32)
        if temperatures.ndim != 1 or (np.diff(temperatures) <= 0).any() or len(temperatures) < 2:
            raise ValueError(
                "`temperature` of tempering must be at least two rising numbers, got "
                f"{temperature}."
            )
        keys = jax.random.split(key, len(temperatures))
        replicas = jax.vmap(lambda key, each: sampler.init(key, each, start))(
            keys, jnp.asarray(temperatures)
        )
        order = jnp.arange(len(temperatures), dtype=jnp.int32)
        return TemperedState(replicas, order, jnp.zeros((), jnp.int32))

    def step(key: jax.Array, state: TemperedState) -> tuple[TemperedState, Info]:
        moves, swaps = jax.random.split(key)
        num = len(state.order)
        replicas, _ = jax.vmap(sampler.step)(jax.random.split(moves, num), state.replicas)
        energies = jax.vmap(lambda spins: energy(sampler.model, spins))(replicas.spins)
        ladder = jnp.sort(replicas.temperature)
        cold, beta = energies[state.order], 1 / (BOLTZMANN * ladder)
        gain = (beta[:-1] - beta[1:]) * (cold[:-1] - cold[1:])
        paired = jnp.arange(num - 1) % 2 == state.turn % 2
        taken = paired & (jnp.log(jax.random.uniform(swaps, (num - 1,))) < gain)
        place = jnp.arange(num)
        place = place + jnp.append(taken, False) - jnp.insert(taken, 0, False)
        order = state.order[place]
        temperature = jnp.zeros_like(ladder).at[order].set(ladder)
        state = TemperedState(replicas._replace(temperature=temperature), order, state.turn + 1)
        return state, Info(jnp.sum(taken) / jnp.maximum(jnp.sum(paired), 1))

    return Sampler(init, step, sampler.model)


def in_order(state: TemperedState) -> State:
    """The replicas from the coldest to the hottest."""
    return jax.tree.map(lambda leaf: leaf[state.order], state.replicas)
