"""Random words for every site, as a function of a key and the number of the site.

Threefry (Salmon et al. 2011) turns a key and a counter into 64 random bits.  `jax.random` runs it
as a loop over arrays in memory; written out it becomes part of the loop over sites that needs the
bits.  A site draws the same words on one device and on many.

References:
    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011, SC '11.
"""

import jax
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry(
    key: jax.Array, low: jax.Array, high: jax.Array, rounds: int = 20
) -> tuple[jax.Array, jax.Array]:
    """Two random words for each counter.

    Args:
        key: ``[2]`` uint32.
        low: uint32, any shape.
        high: uint32, the same shape.
        rounds: 20, or 13 for the least that passes the tests of the paper.

    Returns:
        Two arrays uint32 of the shape of the counters.
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    low, high = low + schedule[0], high + schedule[1]
    for turn in range(rounds):
        group, place = divmod(turn, 4)
        low = low + high
        high = low ^ rotate(high, _ROTATIONS[group % 2][place])
        if place == 3:
            low = low + schedule[(group + 1) % 3]
            high = high + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return low, high


def rotate(word: jax.Array, by: int) -> jax.Array:
    """Rotates the bits of uint32 words to the left."""
    return (word << np.uint32(by)) | (word >> np.uint32(32 - by))


def words(key: jax.Array) -> jax.Array:
    """A key of `jax.random`, of any kind, as ``[2]`` uint32."""
    return jax.random.bits(key, (2,), jnp.uint32)


def three_uniforms(low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Two random words as numbers in [0, 1): of 24, 20 and 20 bits."""
    third = ((low & np.uint32(0xFF)) << np.uint32(12)) | (high & np.uint32(0xFFF))
    return (
        (low >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24),
        (high >> np.uint32(12)).astype(jnp.float32) * np.float32(2**-20),
        third.astype(jnp.float32) * np.float32(2**-20),
    )


def circle(turns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of 2 pi x for x in [0, 1), to 3e-7, by polynomials of the half angle."""
    x = turns - 0.5
    t = x * x
    sine = x * _polynomial(t, _SINE)
    cosine = _polynomial(t, _COSINE)
    return sine * sine - cosine * cosine, -2 * sine * cosine


# Least squares for sin(pi x) / x and cos(pi x) in t = x^2 up to 1 / 4.
_SINE = (3.1415926263, -5.1677094942, 2.5500717491, -0.5982756196, 0.0776567116)
_COSINE = (1.0, -4.9348021186, 4.0587088393, -1.3352100232, 0.2349332837, -0.0243961144)


def _polynomial(t: jax.Array, coefficients: tuple[float, ...]) -> jax.Array:
    total = jnp.full_like(t, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * t + np.float32(coefficient)
    return total
