"""Runs of a sampler over temperatures and replicas at once, and what they measure."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..magnetism.observables import Snapshot, snapshot
from .sampler import Sampler, require_ergodic


def start(
    sampler: Sampler, key: jax.Array, temperatures: Any, replicas: int = 1, how: str = "random"
) -> Any:
    """States at temperatures ``[num]`` with independent replicas.

    Returns:
        A state with leaves ``[num, replicas, ...]``.

    Raises:
        ValueError: if the sampler is not ergodic, or a temperature is not positive.
    """
    require_ergodic(sampler)
    temperatures = jnp.atleast_1d(jnp.asarray(temperatures, jnp.float32))
    sampler.init(key, temperatures[0], how)  # complains where an argument is wrong
    keys = jax.random.split(key, (len(temperatures), replicas))
    by_replica = jax.vmap(lambda key, each: sampler.init(key, each, how), (0, None))
    return jax.jit(jax.vmap(by_replica))(keys, temperatures)


def advance(
    sampler: Sampler, *, measurements: int, sweeps: int = 1
) -> Callable[[jax.Array, Any], tuple[Any, Snapshot]]:
    """A jitted function that continues states and measures them.

    Args:
        sampler: of one configuration.
        measurements: how many.
        sweeps: steps between two of them.

    Returns:
        ``(key, states) -> (states, series)`` for states ``[num, replicas, ...]`` of `start`; the
        leaves of the `Snapshot` have the shape ``[num, replicas, measurements, ...]``.
    """

    def one(key: jax.Array, state: Any) -> tuple[Any, Snapshot]:
        def measure(state: Any, key: jax.Array):
            state, _ = jax.lax.scan(
                lambda carry, each: sampler.step(each, carry), state, jax.random.split(key, sweeps)
            )
            return state, snapshot(sampler.model, state.spins)

        return jax.lax.scan(measure, state, jax.random.split(key, measurements))

    @functools.partial(jax.jit, donate_argnums=1)
    def run(key: jax.Array, states: Any) -> tuple[Any, Snapshot]:
        shape = states.temperature.shape
        return jax.vmap(jax.vmap(one))(jax.random.split(key, shape), states)

    return run
