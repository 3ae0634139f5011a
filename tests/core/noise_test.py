"""Noise like parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gossamer.core.noise import normal_like

TREE = {
    "kernel": jnp.zeros((3, 3, 8, 40)),
    "bias": jnp.zeros(40, jnp.bfloat16),
    "scalar": jnp.zeros(()),
    "empty": jnp.zeros((0, 4)),
}


def test_shapes_and_dtypes_are_those_of_the_tree(key):
    found = normal_like(key, TREE)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, TREE)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, TREE)
    assert normal_like(key, {}) == {}


def test_numbers_are_standard_normal_and_differ_between_leaves(key):
    found = normal_like(key, [jnp.zeros((50, 20)), jnp.zeros((20, 50))])
    first, second = (np.asarray(x).ravel() for x in found)
    assert scipy.stats.kstest(np.concatenate([first, second]), "norm").pvalue > 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_keys_decide_also_under_jit(key):
    found = normal_like(key, TREE)
    compiled = jax.jit(normal_like)(key, TREE)
    for eager, jitted in zip(jax.tree.leaves(found), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(*(np.asarray(x, np.float32) for x in (eager, jitted)), rtol=1e-6)
    other = normal_like(jax.random.key(1), TREE)
    assert (np.asarray(found["kernel"]) != np.asarray(other["kernel"])).all()


def test_numbers_are_as_wide_as_the_widest(key):
    with jax.enable_x64(True):
        found = normal_like(key, [jnp.zeros(4, jnp.float64), jnp.zeros(4, jnp.float32)])
    assert [x.dtype for x in found] == [jnp.float64, jnp.float32]


def test_integers_are_refused(key):
    with pytest.raises(ValueError, match="float"):
        normal_like(key, {"codes": jnp.zeros(3, jnp.int8)})
