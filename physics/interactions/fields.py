"""Local fields and energies of spins.

The field of a spin holds what is linear in it, h = - dH_linear / dS in meV: exchange, interfacial
Dzyaloshinskii-Moriya interaction and the external field, so that its energy is - S . h - K Sz^2.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .dipolar import dipolar_field
from .halo import exists, look, surround
from .model import SpinModel, is_zero


def local_field(
    model: SpinModel, surrounded: jax.Array, color: int, axis_name: str | None = None
) -> jax.Array:
    """H of all spins of a color, without dipoles.

    Args:
        model: the couplings.
        surrounded: spins with their surroundings, see `halo.surround`.
        color: which spins.
        axis_name: see `halo.surround`.

    Returns:
        ``[components, depth, rows, cells]``, meV.
    """
    rows = surrounded.shape[-2] - 2
    totals: dict[object, jax.Array] = {}
    twist = 0.0
    chiral = model.spin == "vector" and not is_zero(model.dmi)
    for bond in model.lattice.bonds[color]:
        spins = look(surrounded, bond, model.lattice)
        kept = exists(color, bond, model.lattice, axis_name, rows)
        if kept is not None:
            spins = jnp.where(kept[None], spins, 0.0)
        key = bond.direction[2] if bond.across else "plane"
        totals[key] = totals[key] + spins if key in totals else spins
        if chiral and not bond.across:  # (z x r) x S = r Sz - z (r . S)
            x, y, _ = bond.direction
            along = x * spins[0] + y * spins[1]
            twist += jnp.stack([x * spins[2], y * spins[2], -along])
    exchange = model.by_depth(model.exchange, color)[None]
    scale = jnp.ones(model.components).at[-1].set(model.exchange_anisotropy)
    field = exchange * scale[:, None, None, None] * totals["plane"]
    for up in (1.0, -1.0):
        if up in totals:
            field += model.gap_by_depth(color, up > 0)[None] * totals[up]
    if chiral:
        field += model.dmi * twist
    return field + model.zeeman()[:, None, None, None]


def fields(model: SpinModel, spins: jax.Array, axis_name: str | None = None) -> jax.Array:
    """H of all spins, with dipoles, ``[components, colors, depth, rows, cells]``, meV."""
    surrounded = surround(spins, model.lattice, axis_name)
    colors = range(model.lattice.shape[0])
    field = jnp.stack([local_field(model, surrounded, color, axis_name) for color in colors], 1)
    if model.dipolar:
        field += dipolar_field(model, spins)
    return field


def energy(model: SpinModel, spins: jax.Array) -> jax.Array:
    """The energy of spins, meV.

    Args:
        model: the couplings.
        spins: ``[components, colors, depth, rows, cells]``.
    """
    zeeman = model.zeeman()[:, None, None, None, None]
    pairs = fields(model, spins) - zeeman
    total = -jnp.sum(spins * (0.5 * pairs + zeeman))
    if model.spin == "vector":
        total -= jnp.sum(anisotropies(model) * spins[2] ** 2)
    return total


def anisotropies(model: SpinModel) -> jax.Array:
    """K of each color and depth, ``[colors, depth, 1, 1]``, meV."""
    return jnp.stack(
        [model.by_depth(model.anisotropy, color) for color in range(model.lattice.shape[0])]
    )


def occupancy(model: SpinModel) -> np.ndarray | None:
    """Ones and zeros ``[colors, depth, 1, 1]`` where a layer of storage is empty, else None."""
    occupied = model.lattice.occupied
    return None if occupied.all() else occupied[:, :, None, None].astype(np.float32)
