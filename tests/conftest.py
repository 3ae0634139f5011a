"""Strict numerics for every test, eight CPU devices, and the fixtures that several packages share.

Compiling takes most of the time of these tests, so compiled programs are kept in a cache folder,
also for the processes that tests start.
"""

import os
from pathlib import Path

import hypothesis
import jax
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
