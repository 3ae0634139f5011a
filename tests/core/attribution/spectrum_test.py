"""Eigenvalues by products against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.core.attribution import Hessian
from gossamer.core.attribution.influence import make_system
from gossamer.core.attribution.spectrum import largest_eigenvalue, leading_eigenpairs


def test_the_largest_eigenvalue_has_its_sign(float64, key):
    matrix = jnp.diag(jnp.array([-4.0, 1.0, 2.0]))
    found = largest_eigenvalue(lambda v: matrix @ v, jnp.zeros(3), key, steps=40)
    np.testing.assert_allclose(found, -4, rtol=1e-10)


def test_leading_pairs_are_those_of_the_matrix(regression, key):
    system = make_system(Hessian(regression.loss), regression.params, regression.train, damping=0.0)
    for steps in (4, 9):  # more steps than dimensions change nothing
        pairs = leading_eigenpairs(system, key, rank=2, steps=steps)
        values, vectors = np.linalg.eigh(regression.hessian)
        np.testing.assert_allclose(pairs.values, values[::-1][:2], rtol=1e-10)
        found = np.hstack([pairs.vectors["bias"], pairs.vectors["kernel"]])
        np.testing.assert_allclose(np.abs(found @ vectors[:, ::-1][:, :2]), np.eye(2), atol=1e-8)


def test_an_invariant_subspace_ends_the_search(float64, key):
    def loss(params, example):
        return 3 * jnp.sum(params**2) + 0 * example  # every vector is an eigenvector

    system = make_system(Hessian(loss), jnp.zeros(6), jnp.ones(2), damping=0.0)
    pairs = jax.jit(lambda: leading_eigenpairs(system, key, rank=3, steps=5))()
    np.testing.assert_allclose(pairs.values, [6, 0, 0], atol=1e-10)
