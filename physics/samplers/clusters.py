"""Clusters of spins that are reflected together, for what moves slowly near a transition.

Reflecting a spin at the plane across an axis r, S -> S - 2 (S . r) r, keeps the energy if a whole
cluster is reflected whose bonds were set with probability

    p = 1 - exp(-2 J_r (S_i . r)(S_j . r) / kT)         where the exponent is negative, else 0.

`wolff` reflects a fixed number of clusters, each that of a random spin (growing clusters until
enough spins were reflected would be biased); `swendsen_wang` reflects each cluster with probability
one half.  Clusters are found by handing on the smallest site number along the set bonds, and to the
site that labels a site, which then hands it to all that it labels (hooking and shortcutting, as in
FastSV): near a transition of 48 x 48 sites 8 rounds do, where neighbors alone took 50.

References:
    U. Wolff, "Collective Monte Carlo updating for spin systems", Physical Review Letters 62, 361,
        1989.
    R. H. Swendsen, J.-S. Wang, "Nonuniversal critical dynamics in Monte Carlo simulations",
        Physical Review Letters 58, 86, 1987.
    Y. Zhang, A. Azad, Z. Hu, "FastSV: a distributed-memory connected component algorithm with fast
        convergence", SIAM Conference on Parallel Processing for Scientific Computing, 2020.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ..interactions.halo import exists, look, surround
from ..interactions.model import SpinModel, is_zero
from ..lattice import Bond, Lattice
from .randomness import threefry, words
from .sampler import Info, Sampler, State, check_local, inverse_temperature, make_init

Axis = Literal["z", "plane", "any"]


def wolff(model: SpinModel, *, clusters: int = 1, axis: Axis = "z") -> Sampler:
    """Wolff: reflects the cluster of a random spin, a fixed number of times in a step.

    Args:
        model: without field, Dzyaloshinskii-Moriya interaction and dipoles, which a reflection
            would change.
        clusters: number of them in a step.
        axis: "z"; "plane" for a random axis in the plane; "any" for a random one, of isotropic
            exchange without anisotropy.

    Returns:
        A sampler; `info.acceptance` is the part of the spins that was reflected.  Ergodic for Ising
        spins, and for isotropic ones with axis "any"; else `chain` it with a heat bath.

    Raises:
        ValueError: if the model does not allow the reflection, or `clusters` is below 1.
    """
    if clusters < 1:
        raise ValueError(f"`clusters` must be at least 1, got {clusters}.")
    sampler = _reflecting(model, axis, "wolff")

    def step(key: jax.Array, state: State) -> tuple[State, Info]:
        def one(carry, each):
            draw, place = jax.random.split(each)
            labels, mirrored = sampler(draw, carry)
            sites = np.flatnonzero(_occupied(model))
            chosen = jnp.asarray(sites)[jax.random.randint(place, (), 0, len(sites))]
            inside = labels == labels.ravel()[chosen]
            return _reflect(model, carry, mirrored, inside)

        state, infos = jax.lax.scan(one, state, jax.random.split(key, clusters))
        return state, jax.tree.map(jnp.sum, infos)

    return Sampler(make_init(model), step, model, _ergodic(model, axis))


def swendsen_wang(model: SpinModel, *, axis: Axis = "z") -> Sampler:
    """Swendsen and Wang: reflects every cluster with probability one half.

    Args:
        model: see `wolff`.
        axis: see `wolff`.

    Raises:
        ValueError: if the model does not allow the reflection.
    """
    sampler = _reflecting(model, axis, "swendsen_wang")

    def step(key: jax.Array, state: State) -> tuple[State, Info]:
        draw, flips = jax.random.split(key)
        labels, mirrored = sampler(draw, state)
        seed = words(flips)
        bits, _ = threefry(seed, labels.astype(jnp.uint32), jnp.zeros_like(labels, jnp.uint32))
        return _reflect(model, state, mirrored, (bits >> np.uint32(31)) == 1)

    return Sampler(make_init(model), step, model, _ergodic(model, axis))


def _reflecting(model: SpinModel, axis: Axis, name: str):
    """``(key, state) -> (labels, mirrored spins)`` for a model that allows it."""
    _check(model, axis, name)
    neighbor_ids = _neighbor_ids(model.lattice)

    def draw(key: jax.Array, state: State) -> tuple[jax.Array, jax.Array]:
        turn, bonds = jax.random.split(key)
        direction = _direction(turn, model, axis)
        along = jnp.tensordot(direction, state.spins, 1)  # S . r
        mirrored = state.spins - 2 * direction[:, None, None, None, None] * along[None]
        set_bonds = _set_bonds(model, axis, words(bonds), along, state, neighbor_ids)
        return label_clusters(model.lattice, set_bonds), mirrored

    return draw


def _set_bonds(model, axis, seed, along, state, neighbor_ids) -> list[list[jax.Array]]:
    """For each color and bond, whether it is set; the same from both of its ends."""
    lattice = model.lattice
    around = surround(along, lattice)
    ids = _ids(lattice)
    ends, pulls = [], []
    for color, bonds in enumerate(lattice.bonds):
        for bond, there in zip(bonds, neighbor_ids[color], strict=True):
            ends.append((np.minimum(ids[color], there), np.maximum(ids[color], there)))
            pull = _coupling(model, axis, color, bond) * along[color] * look(around, bond, lattice)
            kept = exists(color, bond, lattice, None, lattice.size[1])
            pulls.append(pull if kept is None else jnp.where(kept, pull, 0.0))
    # All bonds in one array: one kernel to compile instead of one for each.
    low, high = np.stack(ends, 1)
    bits, _ = threefry(seed, jnp.asarray(low), jnp.asarray(high))
    uniform = (bits >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24)
    pull = 2 * inverse_temperature(state) * jnp.stack(pulls)
    are_set = iter(uniform < -jnp.expm1(-jnp.maximum(pull, 0.0)))
    return [[next(are_set) for _ in bonds] for bonds in lattice.bonds]


def label_clusters(lattice: Lattice, set_bonds: list[list[jax.Array]]) -> jax.Array:
    """The smallest site number in the cluster of each site.

    Args:
        lattice: the lattice.
        set_bonds: for each color and each of `lattice.bonds` of that color, booleans
            ``[depth, rows, cells]`` whether the bond is set, the same from both of its ends.

    Returns:
        Labels ``[colors, depth, rows, cells]`` int32, in the order of storage.
    """
    start = jnp.asarray(_ids(lattice).astype(np.int32))
    last = np.int32(start.size)

    def spread(labels: jax.Array) -> jax.Array:
        around = surround(labels, lattice)
        rows = []
        for color, bonds in enumerate(lattice.bonds):
            best = labels[color]
            for bond, is_set in zip(bonds, set_bonds[color], strict=True):
                best = jnp.minimum(best, jnp.where(is_set, look(around, bond, lattice), last))
            rows.append(best)
        best = jnp.stack(rows).ravel()
        best = best.at[labels.ravel()].min(best)  # The site that labels it learns of it, ...
        return best[best].reshape(labels.shape)  # ... and so do all that this site labels.

    def grow(carry):
        labels, _ = carry
        new = spread(labels)
        return new, jnp.any(new != labels)

    return jax.lax.while_loop(lambda carry: carry[1], grow, (start, jnp.asarray(True)))[0]


def _reflect(model, state, mirrored, inside) -> tuple[State, Info]:
    spins = jnp.where(inside[None], mirrored, state.spins)
    part = jnp.sum(inside & jnp.asarray(_occupied(model)), dtype=jnp.float32)
    return state._replace(spins=spins), Info(part / model.lattice.num_sites)


def _direction(key: jax.Array, model: SpinModel, axis: Axis) -> jax.Array:
    if axis == "z":
        return jnp.zeros(model.components).at[-1].set(1.0)
    if axis == "plane":
        angle = 2 * np.pi * jax.random.uniform(key)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros(())])
    vector = jax.random.normal(key, (3,))
    return vector / jnp.linalg.norm(vector)


def _coupling(model: SpinModel, axis: Axis, color: int, bond: Bond) -> jax.Array:
    if bond.across:
        return model.gap_by_depth(color, bond.direction[2] > 0)
    scale = model.exchange_anisotropy if axis == "z" else 1.0
    return model.by_depth(model.exchange, color) * scale


def _ids(lattice: Lattice) -> np.ndarray:
    """The number of each site in storage."""
    return np.arange(np.prod(lattice.shape), dtype=np.uint32).reshape(lattice.shape)


def _neighbor_ids(lattice: Lattice) -> list[list[np.ndarray]]:
    with jax.ensure_compile_time_eval():
        around = surround(jnp.asarray(_ids(lattice).astype(np.int32)), lattice)
        return [
            [np.asarray(look(around, bond, lattice)).astype(np.uint32) for bond in bonds]
            for bonds in lattice.bonds
        ]


def _occupied(model: SpinModel) -> np.ndarray:
    return np.broadcast_to(model.lattice.occupied[:, :, None, None], model.lattice.shape)


def _ergodic(model: SpinModel, axis: Axis) -> bool:
    return model.spin == "ising" or axis == "any"


def _check(model: SpinModel, axis: Axis, name: str) -> None:
    check_local(model, name)
    if axis not in ("z", "plane", "any"):
        raise ValueError(f"`axis` must be z, plane or any, got {axis!r}.")
    if model.spin == "ising" and axis != "z":
        raise ValueError(f"`axis` of Ising spins must be z, got {axis!r}.")
    if not (is_zero(model.field) and is_zero(model.dmi)):
        raise ValueError(
            f"`{name}` needs a model without `field` and `dmi`, whose energy a reflection changes; "
            "take `heat_bath`."
        )
    isotropic = is_zero(model.anisotropy) and is_zero(model.exchange_anisotropy - 1)
    if axis == "any" and not isotropic:
        raise ValueError(
            f"`{name}` with axis 'any' needs isotropic exchange and no `anisotropy`; take 'z', or "
            "'plane' for an easy plane."
        )
