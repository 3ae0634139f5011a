"""Hysteresis: the magnetization while a field goes down and up again.

The coercivity depends on how long the spins may wait for a reversal: it falls with temperature and
rises with the sweep rate, which every loop tells.  Without thermal noise a single domain follows
Stoner and Wohlfarth, with a coercivity of 2 K / mu along the easy axis.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..interactions.model import SpinModel
from ..samplers.sampler import Sampler
from ..samplers.sweeps import metropolis
from .observables import layer_magnetizations


class Loop(NamedTuple):
    """Loops of independent replicas."""

    temperature: float  # K
    field: np.ndarray  # [num], T: from the largest down to its negative and up again
    magnetization: np.ndarray  # [replicas, num], along the field
    layers: np.ndarray  # [num, layers]: mz of each layer, mean of the replicas
    rate: float  # T per step of the sampler
    coercivity: float  # T, mean of the replicas; NaN where the loop does not cross zero
    error: float  # T, its standard error
    remanence: float  # mean magnetization at zero field, coming down


def small_steps(model: SpinModel) -> Sampler:
    """Metropolis with short steps, which crosses barriers as spins do, not by leaps."""
    return metropolis(model) if model.spin == "ising" else metropolis(model, width=0.5)


def hysteresis(
    model: SpinModel,
    temperature: float,
    *,
    key: jax.Array,
    amplitude: float,
    num: int = 41,
    steps: int = 50,
    replicas: int = 4,
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    make: Callable[[SpinModel], Sampler] = small_steps,
) -> Loop:
    """A hysteresis loop at a temperature.

    Args:
        model: its field is replaced.
        temperature: K.
        key: random key.
        amplitude: of the field, T.
        num: fields on the way from +amplitude to -amplitude; as many lead back.
        steps: of the sampler at each field.
        replicas: independent loops.
        direction: of the field.
        make: makes the sampler of a model; `small_steps`, or `llg` with a time step.

    Returns:
        A `Loop`.

    Raises:
        ValueError: for numbers out of range.
    """
    if not amplitude > 0:
        raise ValueError(f"`amplitude` must be positive, in T, got {amplitude}.")
    if num < 3 or steps < 1 or replicas < 1:
        raise ValueError(
            "`num` must be at least 3, `steps` and `replicas` at least 1, got "
            f"{num}, {steps} and {replicas}."
        )
    axis = np.asarray(direction, np.float64)
    if axis.shape != (3,) or not np.linalg.norm(axis) > 0:
        raise ValueError(f"`direction` must be a vector of three numbers, got {direction}.")
    axis = axis / np.linalg.norm(axis)
    down = np.linspace(amplitude, -amplitude, num)
    fields = np.concatenate([down, down[-2::-1]])
    begin, move = jax.random.split(key)
    start = jax.vmap(lambda key: make(model).init(key, temperature, "up"))

    def visit(carry, visitor):
        states = carry
        key, field = visitor
        sampler = make(model.replace(field=field * jnp.asarray(axis, jnp.float32)))

        def sweep(states, key):
            keys = jax.random.split(key, replicas)
            return jax.vmap(sampler.step)(keys, states)[0], None

        states, _ = jax.lax.scan(sweep, states, jax.random.split(key, steps))
        spins = states.spins
        if model.spin == "ising":
            along = spins[:, 0] * axis[2]
        else:
            along = jnp.einsum("a,rabcde->rbcde", jnp.asarray(axis, jnp.float32), spins)
        number = model.lattice.num_sites
        layers = jax.vmap(lambda each: layer_magnetizations(model.lattice, each))(spins[:, -1])
        return states, (jnp.sum(along, (1, 2, 3, 4)) / number, layers.mean(0))

    @jax.jit
    def run(key, states, fields):
        return jax.lax.scan(visit, states, (jax.random.split(key, len(fields)), fields))[1]

    states = start(jax.random.split(begin, replicas))
    along, layers = run(move, states, jnp.asarray(fields, jnp.float32))
    along = np.asarray(along, np.float64).T
    each = np.array([coercivity(fields, one) for one in along])
    known = each[np.isfinite(each)]
    spread = np.std(known, ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
    return Loop(
        temperature=temperature,
        field=fields,
        magnetization=along,
        layers=np.asarray(layers),
        rate=float((down[0] - down[1]) / steps),
        coercivity=float(known.mean()) if len(known) else float("nan"),
        error=float(spread),
        remanence=float(along[:, num // 2].mean()),
    )


def coercivity(fields: np.ndarray, magnetization: np.ndarray) -> float:
    """Half the distance of the fields at which a loop crosses zero, T; NaN if it does not.

    Args:
        fields: ``[num]``, down and up again.
        magnetization: ``[num]``.
    """
    turn = int(np.argmin(fields))
    down = _crossing(fields[: turn + 1], magnetization[: turn + 1])
    up = _crossing(fields[turn:], magnetization[turn:])
    return (up - down) / 2


def _crossing(fields: np.ndarray, values: np.ndarray) -> float:
    """The field at which values first change their sign, between two fields; NaN if they do not."""
    changes = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) <= 0)
    if not len(changes):
        return float("nan")
    at = changes[0]
    step = values[at] - values[at + 1]
    part = values[at] / step if step else 0.5
    return float(fields[at] + part * (fields[at + 1] - fields[at]))
