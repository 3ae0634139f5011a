"""Units of an exciton against hydrogen's."""

import numpy as np
import pytest

from gossamer.physics.materials import Material, find
from gossamer.physics.units import BOHR, HARTREE, hbar_squared_over_mass, scales

pytestmark = pytest.mark.usefixtures("float64")


def test_bare_electron_is_in_atomic_units():
    units = scales(Material(1.0, 2 * BOHR, 1.0))
    np.testing.assert_allclose(units, [HARTREE, BOHR, 2.0], rtol=1e-14)
    # 1 atomic unit of field is 514 220.7 V/um.
    assert units.to_reduced_field(514220.675) == pytest.approx(1, rel=1e-8)


def test_an_exciton():
    units = scales(find("WSe2/hBN"))
    assert units.energy == pytest.approx(27211.386 * 0.2 / 4.5**2, rel=1e-7)
    assert units.length == pytest.approx(1.190649, rel=1e-6)
    assert units.screening == pytest.approx(4.5 / 1.190649 / 4.5, rel=1e-6)
    assert hbar_squared_over_mass(find("WSe2/hBN")) == pytest.approx(76.19964 / 0.2, rel=1e-6)
