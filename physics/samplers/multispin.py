"""Multi-spin-coded Ising: one bit per spin, 32 independent replicas in each word.

Bit b of every word belongs to replica b.  With z neighbors a sweep of Metropolis needs for each
spin the number m of neighbors that point as it does, counted by bitwise adders, and one random
number u:

    flip where m < z / 2, or u < exp(-2 J (2 m - z) / kT), or u < 1 / 2 where m = z / 2.

A word of decisions u < p for 32 replicas costs as many random words as u has bits; all thresholds
share them.  The words come from xoshiro128++, seeded at each site and sweep by Threefry, so that
every replica has random numbers of its own.

References:
    D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018,
        arXiv:1805.01407.
    N. Ito, Y. Kanada, "Monte Carlo simulation of the Ising model on multi-spin coding", 1988.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..interactions.halo import look, surround
from ..interactions.model import SpinModel, is_zero
from ..units import BOLTZMANN
from .randomness import rotate, threefry, words
from .sampler import Info, Sampler, check_temperature

REPLICAS = 32
BITS = 24  # of u: probabilities are exact to 6e-8


class PackedState(NamedTuple):
    """32 configurations at one temperature."""

    bits: jax.Array  # [colors, depth, rows, cells] uint32: set where a spin is up
    temperature: jax.Array  # [], K


def multispin_metropolis(model: SpinModel) -> Sampler:
    """Metropolis of 32 replicas at once.

    Args:
        model: Ising spins with one exchange, no field, periodic in the plane; layers must be
            periodic too, and coupled by the same exchange.

    Returns:
        A sampler with `PackedState`; `unpack` gives the spins.  `info.acceptance` is not counted.

    Raises:
        ValueError: if the model has anything else; `metropolis` takes it.
    """
    _check(model)
    lattice = model.lattice

    def init(key: jax.Array, temperature, start: str = "random") -> PackedState:
        check_temperature(temperature)
        if start not in ("random", "up"):
            raise ValueError(f"`start` must be random or up, got {start!r}.")
        bits = jax.random.bits(key, lattice.shape, jnp.uint32)
        if start == "up":
            bits = jnp.full(lattice.shape, np.uint32(0xFFFFFFFF))
        return PackedState(bits, jnp.asarray(temperature, jnp.float32))

    def step(key: jax.Array, state: PackedState) -> tuple[PackedState, Info]:
        seed, bits = words(key), state.bits
        for color, bonds in enumerate(lattice.bonds):
            around = surround(bits, lattice)
            old = bits[color]
            same = [~(old ^ look(around, bond, lattice)) for bond in bonds]
            costs = range(len(bonds) // 2 + 1, len(bonds) + 1)  # m of the flips that cost energy
            thresholds = [_threshold(model, state, 2 * m - len(bonds)) for m in costs]
            draws = _draw(seed, color, old.shape)
            chances = _decide(draws, thresholds)
            count = _count(same)
            flips = _at_most(count, (len(bonds) - 1) // 2)
            if len(bonds) % 2 == 0:
                flips = flips | (_equal(count, len(bonds) // 2) & draws[-1])
            for m, chance in zip(costs, chances, strict=True):
                flips = flips | (_equal(count, m) & chance)
            bits = bits.at[color].set(old ^ flips)
        return state._replace(bits=bits), Info(jnp.full((), jnp.nan))

    return Sampler(init, step, model)


def unpack(bits: jax.Array) -> jax.Array:
    """Spins ``[32, 1, colors, depth, rows, cells]`` of +-1, one configuration a replica."""
    each = (bits[None] >> jnp.arange(REPLICAS, dtype=jnp.uint32)[:, None, None, None, None]) & 1
    return 2.0 * each[:, None].astype(jnp.float32) - 1.0


def magnetization(bits: jax.Array) -> jax.Array:
    """Mean spin of each replica, ``[32]``."""
    planes = jnp.arange(REPLICAS, dtype=jnp.uint32)[:, None]
    ups = jnp.sum((bits.ravel()[None] >> planes) & np.uint32(1), axis=1)
    return 2.0 * ups / bits.size - 1.0


def _threshold(model: SpinModel, state: PackedState, excess: int) -> jax.Array:
    """exp(-2 J excess / kT) as an integer of `BITS` bits."""
    cost = 2 * model.exchange * excess / (BOLTZMANN * state.temperature)
    return jnp.round(jnp.exp(-cost) * 2.0**BITS).astype(jnp.uint32)


def _draw(seed: jax.Array, color: int, shape: tuple[int, ...]) -> list[jax.Array]:
    """`BITS` random words for each site, by xoshiro128++."""
    site = jax.lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape)
    a, b = threefry(seed, site, jnp.full(shape, 2 * color, jnp.uint32))
    c, d = threefry(seed, site, jnp.full(shape, 2 * color + 1, jnp.uint32))
    found = []
    for _ in range(BITS):
        found.append(rotate(a + d, 7) + a)
        shifted = b << np.uint32(9)
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ shifted, rotate(d, 11)
    return found


def _decide(draws: list[jax.Array], thresholds: list[jax.Array]) -> list[jax.Array]:
    """Bits set where u < threshold, from the lowest bit of u to the highest.

    The draws are the complements of the bits of u, which are as random.
    """
    decisions = []
    for threshold in thresholds:
        less = jnp.zeros_like(draws[0])
        for place, draw in enumerate(draws):
            bit = -((threshold >> np.uint32(place)) & np.uint32(1)).astype(jnp.uint32)
            # A set bit of p: less if u has 0 there, or if it was less. Else: only if u has 0 too.
            less = (draw & less) | (bit & (draw | less))
        decisions.append(less)
    return decisions


def _count(planes: list[jax.Array]) -> list[jax.Array]:
    """How many planes have each bit set, in binary digits, the lowest first."""
    digits = [jnp.zeros_like(planes[0])] * len(planes).bit_length()
    for plane in planes:
        carry = plane
        for place in range(len(digits)):
            digits[place], carry = digits[place] ^ carry, digits[place] & carry
    return digits


def _equal(digits: list[jax.Array], number: int) -> jax.Array:
    result = ~jnp.zeros_like(digits[0])
    for place, digit in enumerate(digits):
        result = result & (digit if number >> place & 1 else ~digit)
    return result


def _at_most(digits: list[jax.Array], number: int) -> jax.Array:
    result = jnp.zeros_like(digits[0])
    for each in range(number + 1):
        result = result | _equal(digits, each)
    return result


def _check(model: SpinModel) -> None:
    lattice = model.lattice
    stacked = lattice.layers > 1
    exchange = np.unique(np.asarray(model.exchange, np.float64)) if not _traced(model) else None
    reasons = {
        "Ising spins": model.spin != "ising",
        "no field": not is_zero(model.field),
        "one ferromagnetic exchange": exchange is not None
        and (len(exchange) > 1 or exchange[0] <= 0),
        "isotropic `exchange_anisotropy`": not is_zero(model.exchange_anisotropy - 1),
        "periodic edges": not all(lattice.periodic[: 3 if stacked else 2]),
        "an `interlayer` equal to `exchange`": stacked
        and not is_zero(np.asarray(model.interlayer) - np.asarray(model.exchange)),
    }
    for need, broken in reasons.items():
        if broken:
            raise ValueError(f"`multispin_metropolis` needs {need}; take `metropolis`.")


def _traced(model: SpinModel) -> bool:
    return isinstance(model.exchange, Tracer)
