"""Sweeps color by color: a rule says what becomes of a spin in its field.

    metropolis        a new direction, taken with probability min(1, exp(-dE / kT))
    heat_bath         a direction from the Boltzmann distribution in the field of the neighbors; the
                      anisotropy accepts or refuses it
    over_relaxation   a mirror image around the field, of the same exchange energy; not ergodic

References:
    M. Creutz, "Overrelaxation and Monte Carlo simulation", Physical Review D 36, 515, 1987.
    Y. Miyatake et al., "The implementation of the heat bath algorithms in the Monte Carlo
        simulations of classical Heisenberg spin systems", Journal of Physics C 19, 2539, 1986.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..interactions.fields import local_field
from ..interactions.halo import surround
from ..interactions.model import SpinModel
from .randomness import circle, three_uniforms, threefry, words
from .sampler import (
    Info,
    Sampler,
    State,
    check_local,
    inverse_temperature,
    make_init,
    point,
)

# (uniforms, spins [components, ...], h / kT [components, ...], K / kT [depth, 1, 1])
#   -> (proposal [components, ...], taken [...])
Rule = Callable[..., tuple[jax.Array, jax.Array]]


def metropolis(
    model: SpinModel, *, width: float | None = None, axis_name: str | None = None
) -> Sampler:
    """Metropolis: proposes one new direction for each spin in a sweep.

    Args:
        model: what to sample.
        width: how far a proposal goes: a vector of this length in a random direction is added and
            the sum normalized.  None proposes any direction.  Ising spins flip.
        axis_name: mesh axis over which rows are spread, see `sharding`.

    Raises:
        ValueError: if `width` is not positive, or the model has dipoles.
    """
    if width is not None and not width > 0:
        raise ValueError(f"`width` must be positive, got {width}.")
    if model.spin == "ising":
        return _sweep(model, _flip, "metropolis", axis_name)

    def move(uniforms, spins, field, anisotropy):
        height, turns, chance = uniforms
        new = point(2 * height - 1, turns)
        if width is not None:
            new = spins + width * new
            new = new / jnp.sqrt(_dot(new, new))[None]
        gain = _dot(new - spins, field) + anisotropy * (new[2] ** 2 - spins[2] ** 2)
        return new, chance < jnp.exp(gain)

    return _sweep(model, move, "metropolis", axis_name)


def heat_bath(model: SpinModel, *, axis_name: str | None = None) -> Sampler:
    """Heat bath: draws each spin anew in the field of its neighbors.

    Args:
        model: what to sample.
        axis_name: mesh axis over which rows are spread, see `sharding`.

    Raises:
        ValueError: if the model has dipoles.

    Example:
        >>> sampler = heat_bath(SpinModel(Lattice(), exchange=36.1, anisotropy=3.6))
        >>> state = sampler.init(jax.random.key(0), temperature=300.0)
        >>> state, info = sampler.step(jax.random.key(1), state)
    """
    rule = _thermal_flip if model.spin == "ising" else _thermal_direction
    return _sweep(model, rule, "heat_bath", axis_name)


def over_relaxation(model: SpinModel, *, axis_name: str | None = None) -> Sampler:
    """Mirrors each spin at the field of its neighbors; not ergodic, so `chain` it.

    Args:
        model: vector spins.
        axis_name: mesh axis over which rows are spread, see `sharding`.

    Raises:
        ValueError: for Ising spins, which have no mirror image, and for dipoles.
    """
    if model.spin == "ising":
        raise ValueError("`over_relaxation` needs vector spins; take `heat_bath` or `wolff`.")

    def mirror(uniforms, spins, field, anisotropy):
        square = jnp.maximum(_dot(field, field), 1e-20)
        new = (2 * _dot(field, spins) / square)[None] * field - spins
        new = new / jnp.sqrt(_dot(new, new))[None]  # Rounding would add up.
        gain = anisotropy * (new[2] ** 2 - spins[2] ** 2)
        return new, uniforms[2] < jnp.exp(gain)

    return _sweep(model, mirror, "over_relaxation", axis_name)._replace(ergodic=False)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Scalar products over the first axis, written out: a reduction would not vectorize."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _flip(uniforms, spins, field, anisotropy):
    """A flip that costs nothing is taken half of the time.

    Were it always taken, a whole color in no field would flip back and forth for ever; the
    triangular lattice of 3 x 3 sites then does not reach all of its states.
    """
    del anisotropy
    chance = jnp.where(field[0] == 0, 0.5, jnp.exp(-2 * spins[0] * field[0]))
    return -spins, uniforms[0] < chance


def _thermal_flip(uniforms, spins, field, anisotropy):
    del anisotropy
    up = uniforms[0][None] * (1 + jnp.exp(-2 * field)) < 1
    return jnp.where(up, 1.0, -1.0), jnp.ones_like(spins[0], bool)


def _thermal_direction(uniforms, spins, field, anisotropy):
    """Around h the cosine c has the density exp(h c); the frame is that of Duff et al. 2017."""
    height, turns, chance = uniforms
    x, y, z = field
    strength = jnp.sqrt(x * x + y * y + z * z) + 1e-6
    scale = 1 / strength
    x, y, z = x * scale, y * scale, z * scale
    along = 1 + jnp.log(1 - height * (1 - jnp.exp(-2 * strength))) * scale
    along = jnp.where(strength < 1e-2, 1 - 2 * height, jnp.maximum(along, -1.0))
    across = jnp.sqrt(jnp.maximum(1 - along * along, 0.0))
    cosine, sine = circle(turns)
    a, b = across * cosine, across * sine
    sign = jnp.where(z < 0, -1.0, 1.0)
    q = -1 / (sign + z)
    mixed = x * y * q
    new = jnp.stack(
        [
            a * (1 + sign * x * x * q) + b * mixed + along * x,
            a * sign * mixed + b * (sign + y * y * q) + along * y,
            along * z - a * sign * x - b * y,
        ]
    )
    return new, chance < jnp.exp(anisotropy * (new[2] ** 2 - spins[2] ** 2))


def _sweep(model: SpinModel, rule: Rule, name: str, axis_name: str | None) -> Sampler:
    """A sampler that applies a rule to one color after the other."""
    check_local(model, name)
    lattice = model.lattice

    def step(key: jax.Array, state: State) -> tuple[State, Info]:
        seed = words(key)
        spins, beta = state.spins, inverse_temperature(state)
        taken = jnp.zeros(())
        for color in range(lattice.shape[0]):
            shape = spins.shape[2:]
            uniforms = three_uniforms(*threefry(seed, *_counters(model, color, shape, axis_name)))
            # Left to itself, XLA copies edges inside the loop over sites, a quarter slower.
            surrounded = jax.lax.optimization_barrier(surround(spins, lattice, axis_name))
            field = beta * local_field(model, surrounded, color, axis_name)
            anisotropy = beta * model.by_depth(model.anisotropy, color)
            old = spins[:, color]
            new, accepted = rule(uniforms, old, field, anisotropy)
            occupied = lattice.occupied[color][:, None, None]
            if not occupied.all():
                accepted = accepted & occupied
            spins = spins.at[:, color].set(jnp.where(accepted[None], new, old))
            taken += jnp.sum(accepted, dtype=jnp.float32)
        if axis_name is not None:
            taken = jax.lax.psum(taken, axis_name)
        return state._replace(spins=spins), Info(taken / lattice.num_sites)

    return Sampler(make_init(model), step, model)


def _counters(model: SpinModel, color: int, shape, axis_name: str | None):
    """The number of each site of a color on the whole lattice, and the color."""
    depth, row, cell = (jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(3))
    if axis_name is not None:
        row = row + (jax.lax.axis_index(axis_name) * shape[1]).astype(jnp.uint32)
    _, _, num_rows, num_cells = model.lattice.shape
    site = (depth * np.uint32(num_rows) + row) * np.uint32(num_cells) + cell
    return site, jnp.full(shape, color, jnp.uint32)
