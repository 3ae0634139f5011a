"""The Rydberg series of nine materials and the field-dressed states of WSe2, against references."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.exciton import Basis, absorption, solve_exciton
from gossamer.physics.materials import Material, find, stack

TUNGSTEN = find("WSe2/hBN")
STATES = ("1s", "2s", "3s", "4s", "5s", "2p", "3p", "4p", "3d", "4d")
SMALL = Basis(radial=18, angular=6, decay=1.0)

# Energies in meV in the order of STATES; |psi_1s(0)|^2 in nm^-2; its ratios for 2s to 5s.
RYDBERG = {
    "WSe2/hBN": (
        [-161.4493, -37.3925, -16.1199, -8.9088, -5.638],
        [-48.3487, -19.0759, -10.089, -20.4947, -10.617],
        0.20041,
        [0.10504, 0.02974, 0.01222, 0.00615],
    ),
    "WS2/hBN": (
        [-178.676, -37.821, -15.844, -8.641, -5.428],
        [-48.298, -18.533, -9.693, -19.581, -10.077],
        0.21152,
        [0.09337, 0.02531, 0.01019, 0.00507],
    ),
    "MoS2/hBN": (
        [-220.185, -51.812, -22.457, -12.442, -7.885],
        [-67.1, -26.621, -14.112, -28.687, -14.883],
        0.37021,
        [0.10719, 0.0306, 0.01262, 0.00637],
    ),
    "MoSe2/hBN": (
        [-231.961, -60.631, -27.309, -15.411, -9.87],
        [-79.025, -32.676, -17.629, -35.891, -18.867],
        0.4497,
        [0.1221, 0.03694, 0.01568, 0.00804],
    ),
    "MoTe2/hBN": (
        [-176.886, -52.85, -25.191, -14.629, -9.528],
        [-68.775, -30.32, -16.858, -33.998, -18.356],
        0.31089,
        [0.14266, 0.04686, 0.02079, 0.01094],
    ),
    "MoS2/vacuum": (
        [-554.724, -258.146, -158.404, -108.045, -78.459],
        [-315.404, -184.711, -122.717, -209.466, -136.251],
        0.42218,
        [0.21934, 0.09818, 0.0543, 0.03349],
    ),
    "MoSe2/vacuum": (
        [-480.475, -233.872, -147.903, -103.201, -76.274],
        [-282.913, -171.197, -116.57, -193.344, -129.066],
        0.37278,
        [0.22736, 0.1049, 0.05956, 0.03756],
    ),
    "WS2/vacuum": (
        [-523.416, -222.46, -128.697, -84.131, -59.199],
        [-276.879, -152.004, -96.398, -173.339, -107.325],
        0.28426,
        [0.20308, 0.08534, 0.04479, 0.02647],
    ),
    "WSe2/vacuum": (
        [-470.274, -208.267, -123.706, -82.393, -58.77],
        [-257.12, -145.315, -94.069, -165.371, -104.651],
        0.25858,
        [0.21046, 0.09103, 0.04892, 0.02946],
    ),
}

# Field in V/um: energy, width (meV) and strength of 1s, 2p, 2s.
DRESSED = {
    0: ((-161.449, 0, 1.0), (-48.349, 0, 0.0), (-37.392, 0, 0.105)),
    1: ((-161.461, 0, 0.9998), (-49.462, 0, 0.0089), (-37.284, 0.021, 0.0792)),
    2: ((-161.494, 0, 0.9991), (-52.610, 0.130, 0.0210), (-36.009, 3.628, 0.0737)),
    3: ((-161.551, 0, 0.9978), (-57.278, 2.231, 0.0263), (-34.440, 4.388, 0.0556)),
    4: ((-161.631, 0, 0.9961), (-62.071, 6.529, 0.0296), (-33.282, 6.987, 0.0386)),
    5: ((-161.733, 0, 0.9939), (-66.618, 11.927, 0.0313), (-31.904, 10.694, 0.0248)),
    6: ((-161.860, 0, 0.9911), (-70.917, 17.920, 0.0319), (-30.280, 15.000, 0.0116)),
}


@pytest.fixture(scope="module")
def dressed():
    """WSe2 in hBN at 0 to 6 V/um."""
    with jax.enable_x64(True):
        return solve_exciton(TUNGSTEN, np.arange(7.0))


def test_rydberg_series_of_nine_materials(float64):
    materials = stack([find(name) for name in RYDBERG])
    basis = Basis(radial=36, angular=3, rotation=0.0)
    spectra = jax.vmap(lambda each: solve_exciton(each, states=STATES, steps=1, basis=basis))(
        materials
    )
    for place, (sharp, others, density, ratios) in enumerate(RYDBERG.values()):
        np.testing.assert_allclose(spectra.energies[place], sharp + others, atol=1e-3)  # its digits
        np.testing.assert_allclose(spectra.ground_density[place], density, rtol=1.5e-3)
        ratio = [spectra[f"{n}s"].oscillator_strength[place] for n in (2, 3, 4, 5)]
        np.testing.assert_allclose(ratio, ratios, atol=2e-4)
        # Levels fall with the angular momentum, which those of hydrogen do not.
        s_state, p_state, d_state = spectra.energies[place][np.array([2, 6, 8])]
        assert d_state < p_state < s_state


@pytest.mark.slow
def test_field_dressed_states(float64, dressed):
    for field, rows in DRESSED.items():
        for name, (energy, width, strength) in zip(("1s", "2p", "2s"), rows, strict=True):
            state = dressed[name]
            assert state.energy[field] == pytest.approx(energy, abs=1.2e-3)
            assert state.width[field] == pytest.approx(width, abs=1.2e-3)
            assert state.oscillator_strength[field] == pytest.approx(strength, abs=2e-4)


@pytest.mark.slow
def test_a_field_brightens_2p_at_the_cost_of_2s(float64, dressed):
    assert (np.diff(dressed["2p"].oscillator_strength) > 0).all()
    assert (np.diff(dressed["2s"].oscillator_strength) < 0).all()
    # The sum falls: without a conversion to current, nothing here grows with the field.
    total = dressed["2p"].oscillator_strength + dressed["2s"].oscillator_strength
    np.testing.assert_allclose(
        total[:6], [0.1051, 0.0881, 0.0947, 0.0819, 0.0682, 0.0561], atol=3e-4
    )


@pytest.mark.slow
def test_2s_and_2p_mix(float64, dressed):
    np.testing.assert_allclose(dressed.dipoles[0, 1, 2] ** 2, 3.2623**2, rtol=1e-4)
    np.testing.assert_allclose(dressed.dipoles[0, 0, 1] ** 2, 1.0166**2, rtol=1e-4)
    state = dressed["2p"]
    np.testing.assert_allclose(state.character.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(state.character[0], np.eye(12)[1], atol=1e-10)
    place = dressed.states.index("2s")
    assert (np.diff(state.composition[:4, place]) > 0).all()


@pytest.mark.slow
def test_hellmann_feynman(float64):
    """dE/dF = <x>, also where the state is ionized."""

    def energy(field):
        options = {"states": ("2p",), "basis": SMALL, "steps": 4}
        spectrum = solve_exciton(TUNGSTEN, field, **options)
        return spectrum.energies[0].real, spectrum.dipoles[0, 0]

    slope, dipole = jax.grad(energy, has_aux=True)(3.0)
    np.testing.assert_allclose(slope, dipole, rtol=1e-8)


def test_curvature_is_the_polarizability(float64):
    def energy(field):
        options = {"states": ("1s",), "steps": 1, "basis": Basis(angular=3)}
        return solve_exciton(TUNGSTEN, field, **options)["1s"].energy

    curvature = jax.grad(jax.grad(energy))(0.0)
    np.testing.assert_allclose(-curvature * 1e-15, 2.2537e-17, rtol=2e-4)


def test_gradients_of_a_width_by_material(float64):
    def width(material):
        options = {"states": ("2p",), "steps": 3, "basis": SMALL}
        return solve_exciton(material, 3.0, **options)["2p"].width

    gradient, step = jax.grad(width)(TUNGSTEN), 1e-4
    for name in ("reduced_mass", "screening_length", "dielectric", "p_shift"):
        high, low = (
            width(dataclasses.replace(TUNGSTEN, **{name: getattr(TUNGSTEN, name) + change}))
            for change in (step, -step)
        )
        # The basis follows the material in the difference, not in the derivative.
        difference = float(high - low) / (2 * step)
        assert float(getattr(gradient, name)) == pytest.approx(difference, rel=5e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("rotation", [0.3])
def test_resonances_do_not_depend_on_the_rotation(float64, dressed, rotation):
    turned = solve_exciton(TUNGSTEN, 5.0, basis=Basis(rotation=rotation))
    np.testing.assert_allclose(turned.energies, dressed.energies[5], atol=1e-3)


def test_ionization_of_the_ground_state(float64):
    spectrum = solve_exciton(TUNGSTEN, [20.0, 40.0], states=("1s",), steps=2)
    np.testing.assert_allclose(spectrum["1s"].width, [0.8800, 20.916], atol=1e-3)
    shifts = spectrum["1s"].energy + 161.4493
    np.testing.assert_allclose(shifts, [-5.404, -18.622], atol=1e-3)
    np.testing.assert_allclose(spectrum["1s"].lifetime[0], 0.748, rtol=1e-3)


@pytest.mark.slow
def test_traced_fields_give_what_given_ones_do(float64, dressed):
    one = jax.vmap(lambda field: solve_exciton(TUNGSTEN, field, steps=4))(jnp.array([2.0]))
    np.testing.assert_allclose(one.energies[0], dressed.energies[2], rtol=1e-9)
    assert one["2p"].energy.shape == (1,)


def test_the_opposite_field_is_the_mirror_image(float64):
    options = {"states": ("2p", "2s"), "steps": 2, "basis": SMALL}
    both = solve_exciton(TUNGSTEN, [-1.5, 1.5], **options)
    np.testing.assert_allclose(both.energies[0], both.energies[1], rtol=1e-12)
    np.testing.assert_allclose(both.dipoles[0], -both.dipoles[1], rtol=1e-12)
    left, right = (solve_exciton(TUNGSTEN, field, **options) for field in (-1.5, 1.5))
    x = jnp.linspace(-8.0, 8.0, 5)
    mirrored = right.wavefunction("2p", -x, 0 * x)
    ratio = left.wavefunction("2p", x, 0 * x) / mirrored
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_wave_function_of_the_ground_state(float64):
    basis = Basis(radial=24, angular=2, rotation=0.0)
    spectrum = solve_exciton(TUNGSTEN, states=("1s", "2p"), steps=1, basis=basis)
    x = (np.arange(300) - 149.5) * 0.1
    grid = np.meshgrid(x, x, indexing="ij")
    for name in ("1s", "2p"):
        psi = spectrum.wavefunction(name, *grid)
        assert float(jnp.sum(psi**2)) * 0.01 == pytest.approx(1, rel=2e-3)
    psi = spectrum.wavefunction("1s", *grid)
    radius = np.sqrt(np.sum(psi**2 * (grid[0] ** 2 + grid[1] ** 2)) * 0.01)
    assert radius == pytest.approx(1.68, abs=0.01)
    with pytest.raises(ValueError, match="takes a spectrum of one field"):
        solve_exciton(TUNGSTEN, [0.0, 1.0], basis=SMALL).wavefunction("1s", *grid)


def test_p_states_take_a_shift(float64):
    shifted = dataclasses.replace(TUNGSTEN, p_shift=2.2)
    options = {"states": ("1s", "2p", "2s"), "steps": 1, "basis": SMALL}
    one, other = (solve_exciton(each, **options) for each in (TUNGSTEN, shifted))
    np.testing.assert_allclose((other.energies - one.energies).real, [0, 2.2, 0], atol=1e-9)


def test_error_of_the_basis_is_estimated_and_warned_about(float64):
    exact = -161.4493
    for decay in (0.5, 0.9):
        basis = Basis(radial=14, angular=2, rotation=0.0, decay=decay)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = solve_exciton(TUNGSTEN, states=("1s",), steps=1, basis=basis)["1s"]
        estimate, error = float(state.convergence), abs(float(state.energy) - exact)
        assert error / 3 < estimate < 30 * error  # on the safe side
    tiny = Basis(radial=14, angular=2, rotation=0.0, decay=0.3)
    with pytest.warns(UserWarning, match="1s is converged to .* meV only, .*`--radial`"):
        solve_exciton(TUNGSTEN, states=("1s",), steps=1, basis=tiny)


def test_lost_states_are_warned_about(float64):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solve_exciton(TUNGSTEN, 8.0, steps=1, basis=SMALL)
    assert any("of itself in the step to 8 V/um" in str(each.message) for each in caught)


def test_float32_gives_energies_and_refuses_widths():
    spectrum = solve_exciton(TUNGSTEN, steps=1, basis=Basis(18, 3, 0.0, decay=1.0))
    assert spectrum.energies.dtype == jnp.float32
    assert spectrum["1s"].energy == pytest.approx(-161.45, abs=0.05)
    with pytest.raises(ValueError, match="Widths need float64"):
        solve_exciton(TUNGSTEN)


def test_it_does_not_compile_twice(float64):
    options = {"steps": 1, "basis": SMALL}
    solve_exciton(TUNGSTEN, 1.0, **options)
    with jax.no_tracing():
        solve_exciton(TUNGSTEN, 2.0, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"states": ("p2",)}, "`states` are named like 1s, 2p, 3d; got 'p2'"),
        ({"states": ("1p",)}, "There is no state 1p: the first p is 2p"),
        ({"states": ("5f",), "basis": Basis(angular=3)}, "too small for 5f; raise .*--radial"),
        ({"states": ()}, "`states` must name at least one state"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"field": np.nan}, "`field` must be finite"),
    ],
)
def test_bad_arguments_are_refused(float64, options, match):
    with pytest.raises(ValueError, match=match):
        solve_exciton(TUNGSTEN, **options)


@pytest.mark.slow
def test_unknown_states_are_refused(float64, dressed):
    with pytest.raises(ValueError, match="`4s` was not followed; ask for it by `states=`"):
        dressed["4s"]


def test_bare_material_needs_no_gap(float64):
    spectrum = solve_exciton(Material(0.2, 4.5, 4.5), steps=1, basis=SMALL)
    line = absorption(spectrum, jnp.array([-161.4]))
    assert line > absorption(spectrum, jnp.array([-150.0]))
