"""Strict numerics for every test, eight CPU devices, and the fixtures that several packages share.

Compiling takes most of the time of these tests, so compiled programs are kept in a cache folder,
also for the processes that tests start.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# A deadline per example would time the machine, compilation included.
hypothesis.settings.register_profile("gossamer", deadline=None)
hypothesis.settings.load_profile("gossamer")

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture
def key() -> jax.Array:
    """The fixed random key of a test."""
    return jax.random.key(0)


@pytest.fixture
def float64():
    """Double precision while the test runs."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def plain_code():
    """Machine code as it comes, without optimization, which compiles in half the time.

    For modules that test what large programs do; not for those that compare bits or look at what
    was compiled.  Nothing of it is left for other modules.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


class Digits(NamedTuple):
    """An MLP 64-50-50-10 on 1,500 images of 8 x 8 pixels."""

    init: Callable[[jax.Array], Any]  # key -> params, He-normal
    loss: Callable[..., Any]  # (params, numbers of images, key) -> (loss, {})


@pytest.fixture(scope="session")
def digits() -> Digits:
    """A problem that large steps and coarse compression can fail."""
    data = np.load(Path(__file__).with_name("digits.npz"))
    order = np.random.RandomState(0).permutation(len(data["labels"]))[:1500]
    images = jnp.asarray(data["images"].reshape(-1, 64)[order] / 16.0, jnp.float32)
    labels = jnp.asarray(data["labels"][order], jnp.int32)

    def init(key):
        sizes = (64, 50, 50, 10)
        return [
            (np.sqrt(2.0 / rows) * jax.random.normal(key, (rows, columns)), jnp.zeros(columns))
            for key, rows, columns in zip(
                jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True
            )
        ]

    def loss(params, batch, key):
        del key
        x = images[batch]
        for weights, bias in params[:-1]:
            x = jax.nn.relu(x @ weights + bias[None])
        logits = x @ params[-1][0] + params[-1][1][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean(), {}

    return Digits(init, loss)
