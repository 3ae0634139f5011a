"""The grammar of all samplers: `init` makes a state, `step` is one sweep of it.

    state = sampler.init(key, temperature)
    state, info = sampler.step(key, state)

`step` is a pure function: it may be jitted, scanned, and mapped by `jax.vmap` over states of many
temperatures and replicas.  `chain` takes one step of each of several samplers, such as a heat bath
and four over-relaxations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..interactions.fields import occupancy
from ..interactions.model import SpinModel
from ..units import BOLTZMANN
from .randomness import circle


class State(NamedTuple):
    """A configuration and its temperature."""

    spins: jax.Array  # [components, colors, depth, rows, cells], unit vectors; Ising: +-1
    temperature: jax.Array  # [], K


class Info(NamedTuple):
    """What a step tells."""

    acceptance: jax.Array  # []: part of the proposals that were taken, 1 where all are


class Sampler(NamedTuple):
    """A pair of pure functions, and what they sample."""

    init: Callable[..., Any]  # (key, temperature, start="random") -> state
    step: Callable[[jax.Array, Any], tuple[Any, Info]]  # (key, state) -> (state, info)
    model: SpinModel
    ergodic: bool = True  # whether it reaches every state by itself


def make_init(model: SpinModel) -> Callable[..., State]:
    """``init(key, temperature, start)`` for a model; `start` is random, up or plane."""

    def init(key: jax.Array, temperature: Any, start: str = "random") -> State:
        check_temperature(temperature)
        if start not in ("random", "up", "plane"):
            raise ValueError(f"`start` must be random, up or plane, got {start!r}.")
        shape = model.lattice.shape
        if model.spin == "ising":
            spins = jnp.ones((1, *shape), jnp.float32)
            if start != "up":
                spins = jax.random.rademacher(key, (1, *shape), jnp.float32)
        elif start == "random":
            height, turns = jax.random.uniform(key, (2, *shape))
            spins = point(2 * height - 1, turns)
        else:
            spins = jnp.zeros((3, *shape)).at[2 if start == "up" else 0].set(1.0)
        mask = occupancy(model)
        spins = spins if mask is None else spins * mask[None]
        return State(spins, jnp.asarray(temperature, jnp.float32))

    return init


def point(height: jax.Array, turns: jax.Array) -> jax.Array:
    """Unit vectors ``[3, ...]`` of a z in [-1, 1] and an angle in turns in [0, 1)."""
    radius = jnp.sqrt(jnp.maximum(1 - height * height, 0.0))
    cosine, sine = circle(turns)
    return jnp.stack([radius * cosine, radius * sine, height])


def inverse_temperature(state: State) -> jax.Array:
    """1 / k T, 1 / meV."""
    return 1.0 / (BOLTZMANN * state.temperature)


def check_temperature(temperature: Any) -> None:
    """Refuses temperatures of zero and below.

    Raises:
        ValueError: if one is not positive and finite.
    """
    if isinstance(temperature, Tracer):
        return
    values = np.asarray(temperature, np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(
            f"`temperature` must be positive and finite, in K, got {temperature}; for zero "
            "temperature take a small one, or `llg` with `temperature=1e-6` and damping."
        )


def check_local(model: SpinModel, name: str) -> None:
    """Refuses models in which spins of one color see each other.

    Raises:
        ValueError: for dipoles.
    """
    if model.dipolar:
        raise ValueError(
            f"`{name}` updates the spins of a color at once, but dipoles of one color see each "
            "other; take `llg` for a model with `dipolar`."
        )


def require_ergodic(sampler: Sampler) -> None:
    """Refuses samplers that do not reach every state.

    Raises:
        ValueError: with the remedy.
    """
    if not sampler.ergodic:
        raise ValueError(
            "`sampler` does not reach every state of the model by itself (over-relaxation keeps "
            "the energy, reflecting clusters keep |Sz|); put it into "
            "`chain(heat_bath(model), ...)`."
        )


def chain(*samplers: Sampler) -> Sampler:
    """One step of each, in order.

    Args:
        samplers: of the same model.

    Returns:
        A sampler; its `info` is that of the first one.  It is ergodic if one of them is.

    Raises:
        ValueError: if there is none.
    """
    if not samplers:
        raise ValueError("`samplers` must hold at least one sampler, got none.")

    def step(key: jax.Array, state: Any) -> tuple[Any, Info]:
        infos = []
        for place, sampler in enumerate(samplers):
            state, info = sampler.step(jax.random.fold_in(key, place), state)
            infos.append(info)
        return state, infos[0]

    ergodic = any(sampler.ergodic for sampler in samplers)
    return Sampler(samplers[0].init, step, samplers[0].model, ergodic)


def repeat(sampler: Sampler, times: int) -> Sampler:
    """`times` steps as one, in a compiled loop.

    Raises:
        ValueError: if `times` is below 1.
    """
    if times < 1:
        raise ValueError(f"`times` must be at least 1, got {times}.")

    def step(key: jax.Array, state: Any) -> tuple[Any, Info]:
        def once(carry, each):
            return sampler.step(each, carry)

        state, infos = jax.lax.scan(once, state, jax.random.split(key, times))
        return state, jax.tree.map(jnp.mean, infos)

    return sampler._replace(step=step)
