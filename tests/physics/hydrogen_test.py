"""Closed forms against each other and against quadrature."""

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics import hydrogen

pytestmark = pytest.mark.usefixtures("float64")


def test_levels_and_densities():
    n = jnp.arange(1, 5)
    np.testing.assert_allclose(hydrogen.energy(n), [-2, -2 / 9, -2 / 25, -2 / 49], rtol=1e-14)
    np.testing.assert_allclose(hydrogen.density_at_origin(1), 8 / np.pi, rtol=1e-14)
    np.testing.assert_allclose(hydrogen.density_at_origin(3), 8 / np.pi / 125, rtol=1e-14)


def test_ground_state_density_from_its_wave_function():
    r = (np.arange(400_000) + 0.5) * 1e-4
    density = hydrogen.density_at_origin(1) * np.exp(-4 * r)
    assert np.sum(2 * np.pi * r * density) * 1e-4 == pytest.approx(1, rel=1e-7)


def test_lines_join_the_continuum_at_the_gap():
    """Density times number of states per energy tends to the continuum's height."""
    n = 1000
    spacing = hydrogen.energy(n + 1) - hydrogen.energy(n)
    height = hydrogen.density_at_origin(n) / spacing
    edge = hydrogen.sommerfeld_factor(jnp.asarray(1e-6)) / (2 * np.pi)
    assert height == pytest.approx(float(edge), rel=2e-3)  # 1 + O(1 / n)


def test_sommerfeld_factor_tends_to_one():
    assert hydrogen.sommerfeld_factor(jnp.asarray(1e6)) == pytest.approx(1, abs=3e-3)


def test_elliott_spectrum_does_not_depend_on_where_lines_become_a_continuum():
    energy = jnp.linspace(-2.2, 1.0, 30)
    few, many = (hydrogen.elliott_spectrum(energy, 0.05, number) for number in (12, 40))
    np.testing.assert_allclose(few, many, rtol=2e-3)
    peak = hydrogen.elliott_spectrum(jnp.array([-2.0]), 0.01)
    np.testing.assert_allclose(peak, 8 / np.pi / (np.pi * 0.01), rtol=2e-3)


def test_tunneling_width_near_its_limit():
    """The exact widths over the formula approach 1 as the field falls."""
    exact = {0.2: 1.3276e-10, 0.25: 2.38127e-8, 0.3: 7.358149e-7}
    ratios = [width / float(hydrogen.tunneling_width(f)) for f, width in exact.items()]
    assert ratios == sorted(ratios, reverse=True)
    assert 0.8 < ratios[2] < ratios[0] < 0.9
