"""Parameter sets, their pytree, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics import materials
from gossamer.physics.materials import MATERIALS, Material, find, stack


def test_every_set_has_a_source_and_a_tag():
    assert len(MATERIALS) == 15
    for name, material in MATERIALS.items():
        assert material.name == name
        assert material.source
        assert material.tag in ("partial", "recalled", "derived")


def test_surroundings_change_the_dielectric_constant_alone():
    bare = find("WSe2/vacuum")
    assert find("WSe2/SiO2").dielectric == pytest.approx((1 + materials.SILICA) / 2)
    assert find("WSe2/SiO2").screening_length == bare.screening_length
    assert bare.surrounded(1.0, 2.1).tag == "derived"


def test_stacked_materials_are_arrays():
    both = stack([find("WSe2/hBN"), find("MoS2/hBN")])
    np.testing.assert_array_equal(both.reduced_mass, [0.2, 0.275])
    masses = jax.vmap(lambda material: 2 * material.reduced_mass)(both)
    np.testing.assert_allclose(masses, [0.4, 0.55], rtol=1e-6)
    with pytest.raises(ValueError, match="at least one material"):
        stack([])


def test_gradients_need_not_be_materials():
    gradient = jax.grad(lambda material: -1.0 * material.reduced_mass)(find("WSe2/hBN"))
    assert gradient.reduced_mass == -1.0
    assert gradient.name == "WSe2/hBN"


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ((0.0, 4.5, 4.5), "`reduced_mass` of a material must be positive, in electron masses"),
        ((0.2, -1.0, 4.5), "`screening_length` of a material must be at least 0, in nm, got -1.0"),
        ((0.2, 4.5, 0.5), "`dielectric` of a material must be at least 1"),
        ((0.2, 4.5, 4.5, -1.0), "`band_gap` of a material must be at least 0"),
        ((0.2, 4.5, 4.5, 0.0, float("nan")), "`p_shift` of a material must be a finite energy"),
        ((jnp.array([0.2, jnp.inf]), 4.5, 4.5), "`reduced_mass`"),
    ],
)
def test_unphysical_numbers_are_refused(numbers, match):
    with pytest.raises(ValueError, match=match):
        Material(*numbers)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"WSe2/hBN, .*got 'WSe2'"):
        find("WSe2")
