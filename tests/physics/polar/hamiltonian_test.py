"""The matrix against two-dimensional hydrogen, its invariances, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics import hydrogen
from gossamer.physics.polar import hamiltonian
from gossamer.physics.polar.hamiltonian import Basis

REAL = Basis(radial=20, angular=3, rotation=0.0)


def levels(whole, m, num):
    return np.sort_complex(np.linalg.eigvals(np.asarray(whole.channels[m])))[:num]


def test_hydrogen_levels(float64):
    whole = hamiltonian.build(0.0, 0.0, REAL)
    np.testing.assert_allclose(levels(whole, 0, 3), hydrogen.energy(jnp.arange(1, 4)), rtol=1e-8)
    np.testing.assert_allclose(levels(whole, 1, 2), hydrogen.energy(jnp.arange(2, 4)), rtol=1e-8)


def test_hydrogen_linear_stark_effect(float64):
    whole = hamiltonian.build(0.0, 0.0, REAL)
    energies = np.linalg.eigvalsh(np.asarray(whole.matrix(1e-7)))
    shift = (energies[2] - energies[1]) / 2e-7
    assert shift == pytest.approx(hydrogen.STARK_DIPOLE_N2, rel=1e-6)


@pytest.mark.parametrize("rotation", [0.3, 0.4, 0.45])
def test_bound_states_do_not_turn(float64, rotation):
    still = levels(hamiltonian.build(0.84, 0.0, REAL), 0, 2)
    turned = levels(hamiltonian.build(0.84, 0.0, REAL._replace(rotation=rotation)), 0, 2)
    np.testing.assert_allclose(turned, still, atol=2e-5)  # the cusp converges as 1 / radial^4


def test_energies_do_not_depend_on_the_decay(float64):
    for m, tolerance in ((1, 1e-6), (2, 1e-8)):  # what the logarithm at r = 0 leaves
        one, other = (
            levels(hamiltonian.build(0.84, 0.0, REAL._replace(decay=decay)), m, 2)
            for decay in (0.9, 1.3)
        )
        np.testing.assert_allclose(one, other, rtol=tolerance)


def test_p_states_shift_alone(float64):
    plain, shifted = (hamiltonian.build(0.84, shift, REAL) for shift in (0.0, 0.01))
    difference = shifted.channels - plain.channels
    np.testing.assert_allclose(difference[1], 0.01 * np.eye(20), atol=1e-15)
    assert not difference[0].any()
    assert not difference[2].any()


def test_matrix_is_symmetric_and_couples_neighbors(float64):
    basis = REAL._replace(rotation=0.4, angular=4)
    whole = hamiltonian.build(0.84, 0.0, basis)
    matrix = whole.matrix(0.1).reshape(4, 20, 4, 20)
    np.testing.assert_allclose(whole.matrix(0.1), whole.matrix(0.1).T, rtol=0, atol=1e-14)
    assert not matrix[0, :, 2].any()
    np.testing.assert_allclose(matrix[1, :, 2], 0.1 * whole.couplings[1], rtol=1e-15)


def test_float32_serves_energies():
    whole = hamiltonian.build(0.0, 0.0, REAL)
    assert whole.channels.dtype == jnp.float32
    np.testing.assert_allclose(levels(whole, 0, 2), [-2, -2 / 9], rtol=2e-4)  # eps * lam^2 * N^2


def test_it_traces_and_differentiates(float64):
    def bottom(screening):
        return jnp.linalg.eigvalsh(hamiltonian.build(screening, 0.0, REAL).channels[0])[0]

    slope = (bottom(0.841) - bottom(0.839)) / 0.002
    # The decay of the basis follows the screening here, but not in the derivative.
    np.testing.assert_allclose(jax.jit(jax.grad(bottom))(0.84), slope, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"radial": 3}, "`radial` of a basis must be at least 4, got 3"),
        ({"angular": 1}, "`angular` of a basis must be at least 2, got 1"),
        ({"rotation": 0.8}, "`rotation` of a basis must be from 0 to below pi/4, got 0.8"),
        ({"decay": 0.0}, "`decay` of a basis must be positive, got 0.0"),
    ],
)
def test_bad_bases_are_refused(float64, changes, match):
    with pytest.raises(ValueError, match=match):
        Basis(**changes).check()


def test_widths_need_float64():
    with pytest.raises(ValueError, match=r"Widths need float64.*`rotation=0`"):
        Basis().check()
    assert Basis(rotation=0.0).check()
