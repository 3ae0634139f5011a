"""The absorption from the motion of the pair that light makes.

    A(w) = (1/pi) Re int_0^inf exp(i (w + i eta) t) C(t) dt,    C(t) = <d|exp(-i H t)|d>,

with |d> = psi(0): the chance amplitude that the pair still sits where it was made.  Field
ionization is seen as the decay of C, excitons as its beats.

Time runs by the Cayley form (1 + i H dt / 2)^-1 (1 - i H dt / 2), which is stable for every step
and moves an energy E by E^3 dt^2 / 12.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Motion(NamedTuple):
    """C(t) at equal steps from t = 0."""

    times: jax.Array  # [num_steps]
    overlaps: jax.Array  # [num_steps]: C, complex


def propagate(matrix: jax.Array, source: jax.Array, step: float, num_steps: int) -> Motion:
    """Moves the state that light makes.

    Args:
        matrix: ``[size, size]``, real and symmetric, so unrotated: what a rotated matrix does to
            states in a field grows with time before it falls.  Energies count from where precision
            matters most.
        source: ``[size]``, |d>.
        step: dt, in units of hbar over the unit of `matrix`.
        num_steps: number of C(t).

    Returns:
        A `Motion`.
    """
    half = 0.5j * step * matrix
    one = jnp.eye(len(source))
    cayley = jnp.linalg.solve(one + half, one - half)
    start = source.astype(cayley.dtype)

    def move(state, _):
        return cayley @ state, source @ state

    _, overlaps = jax.lax.scan(move, start, length=num_steps)
    return Motion(step * jnp.arange(num_steps), overlaps)


def transform(motion: Motion, energy: jax.Array, broadening: float) -> jax.Array:
    """A(w) from C(t), with Lorentzian broadening, by the trapezoid rule.

    Args:
        motion: long against 1 / broadening.
        energy: w, ``[num]``.
        broadening: eta, half width at half maximum.

    Returns:
        ``[num]``.
    """
    step = motion.times[1] - motion.times[0]
    damped = motion.overlaps * jnp.exp(-broadening * motion.times)
    damped = damped.at[0].multiply(0.5)
    phases = jnp.exp(1j * energy[:, None] * motion.times[None, :])
    return step * jnp.real(phases @ damped) / np.pi
