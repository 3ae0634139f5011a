"""Polarizabilities against the reference and against the full solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.materials import Material, find, stack
from gossamer.physics.polar.hamiltonian import Basis
from gossamer.physics.stark import EV_PER_SQUARE_VOLT_PER_METER, polarizability, two_level
from gossamer.physics.units import BOHR, HARTREE

pytestmark = pytest.mark.usefixtures("float64")

REFERENCE = {  # eV / (V/m)^2
    "WSe2/hBN": 2.2537e-17,
    "WS2/hBN": 1.8810e-17,
    "MoS2/hBN": 8.9905e-18,
    "MoSe2/hBN": 7.2932e-18,
    "MoS2/vacuum": 4.6439e-18,
    "MoSe2/vacuum": 6.3440e-18,
    "WS2/vacuum": 6.7554e-18,
    "WSe2/vacuum": 8.5538e-18,
}


def test_polarizabilities_of_eight_materials():
    found = jax.vmap(polarizability)(stack([find(name) for name in REFERENCE]))
    expected = np.array(list(REFERENCE.values())) / EV_PER_SQUARE_VOLT_PER_METER
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_hydrogen_is_exact():
    found = polarizability(Material(1.0, 0.0, 1.0)) * HARTREE / BOHR**2
    np.testing.assert_allclose(found, 21 / 128, rtol=1e-10)


def test_two_levels():
    levels = two_level(find("WSe2/hBN"), jnp.array([0.0, 1.0, 1.679]))
    np.testing.assert_allclose(levels.lower[:2], [-48.3487, -49.2465], atol=1e-3)
    np.testing.assert_allclose(levels.upper[:2], [-37.3925, -36.4947], atol=1e-3)
    # At e F d = D / 2 the mixing angle is a quarter of pi / 2.
    np.testing.assert_allclose(levels.share, [0, 0.0704, np.sin(np.pi / 8) ** 2], atol=2e-4)


@pytest.mark.parametrize("radial", [16, 28])  # half the distance is 0, or all but 0
def test_degenerate_levels_share_evenly(radial):
    def levels(length, field):
        return two_level(Material(1.0, length, 1.0), field, Basis(radial=radial))

    found = levels(0.0, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(found.share, 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.lower[0], -HARTREE / 4.5, rtol=1e-10)
    np.testing.assert_allclose(found.upper[0], found.lower[0], rtol=0)
    by_length, by_field = np.transpose(jax.jacobian(levels, argnums=(0, 1))(0.0, 0.0))
    assert np.isfinite(by_length).all()
    np.testing.assert_array_equal(by_field, 0.0)  # the mean of -|F| and |F| on both sides


def test_2p_is_repelled_by_2s_above_and_pushes_it_up():
    dark, bright = (float(polarizability(find("WSe2/hBN"), state)) for state in ("2p", "2s"))
    assert dark > 2 > 0 > bright
