"""What tests of speech share: noise, and a batch of sequences."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """``(seconds, seed) -> [samples]``: noise of 8 kHz that swells and ebbs."""

    def make(seconds, seed=0):
        generator = np.random.default_rng(seed)
        samples = generator.normal(scale=0.1, size=int(8000 * seconds))
        envelope = np.abs(np.sin(np.arange(len(samples)) / 900))
        return (samples * envelope).astype(np.float32)

    return make


def normal(key, *shape):
    """Drawn in a row: draws of four dimensions take ten times longer to compile."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def paddings_of(lengths, num_frames):
    return (np.arange(num_frames)[None] >= np.array(lengths)[:, None]).astype(np.float32)


@pytest.fixture
def batch(key):
    """Inputs [4, 7, 5] of an LSTM, their paddings [4, 7] and their lengths."""
    lengths = [7, 1, 4, 0]
    inputs = normal(key, 4, 7, 5)
    return inputs, jnp.asarray(paddings_of(lengths, 7)), lengths
