"""Random words against those of jax, and what is made of them."""

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.physics.samplers.randomness import circle, three_uniforms, threefry, words


def test_known_answers():
    """The answers that Salmon et al. publish for 20 rounds."""
    for key, counter, answer in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        low, high = (jnp.full(1, each, jnp.uint32) for each in counter)
        found = threefry(jnp.asarray(key, jnp.uint32), low, high)
        assert tuple(int(each[0]) for each in found) == answer


def test_uniforms_and_the_circle(key):
    count = jnp.arange(200_000, dtype=jnp.uint32)
    draw = jax.jit(lambda key: three_uniforms(*threefry(words(key), count, count * 0)))
    for uniform in draw(key):
        uniform = np.asarray(uniform, np.float64)
        assert 0 <= uniform.min() <= uniform.max() < 1
        # Standard errors are 6.5e-4 and 4e-4.
        assert abs(uniform.mean() - 0.5) < 4 * 6.5e-4
        assert abs(np.mean(uniform**2) - 1 / 3) < 4 * 6.7e-4
    turns = np.linspace(0, 1, 1001)
    cosine, sine = circle(jnp.asarray(turns, jnp.float32))
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), atol=1e-6)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=1e-6)
