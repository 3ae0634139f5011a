import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.quantizers import pact_plus
from gossamer.core.straight_through import positive, round_clip, round_through, scale_gradient

# With s = 0.5 and codes from -2 to 3: beyond, inside, halfway (to the even code) and at the ends.
X = np.array([-3.0, -1.0, -0.6, 0.25, 0.8, 1.5, 9.0], np.float32)
CODES = np.array([-2, -2, -1, 0, 2, 3, 3])
INSIDE = np.array([False, False, True, True, True, False, False])


@pytest.mark.parametrize("residual", [True, False])
def test_derivatives_of_the_product_with_the_scale(residual):
    def values(x, scale, low, high):
        return scale * round_clip(x, scale, low, high, False, residual)

    arguments = X, np.float32(0.5), np.float32(-2), np.float32(3)
    np.testing.assert_array_equal(values(*arguments), 0.5 * CODES)
    by_x, by_scale, by_low, by_high = (
        jax.jvp(
            lambda value, place=place: values(*arguments[:place], value, *arguments[place + 1 :]),
            (jnp.asarray(arguments[place]),),
            (jnp.ones_like(arguments[place]),),
        )[1]
        for place in range(4)
    )
    np.testing.assert_array_equal(by_x, [0, 1, 1, 1, 1, 1, 0])  # the ends count as inside
    rounding = CODES - X / np.float32(0.5) if residual else 0 * X
    # A difference of numbers up to 3 that float32 rounds.
    np.testing.assert_allclose(by_scale, np.where(INSIDE, rounding, CODES), atol=1e-6)
    np.testing.assert_array_equal(by_low, 0.5 * (X <= -1))
    np.testing.assert_array_equal(by_high, 0.5 * (X >= 1.5))


def test_passing_reaches_every_value_and_nothing_else():
    def total(x, scale):
        return jnp.sum(0.5 * round_clip(x, scale, -2, 3, True, False))

    by_x, by_scale = jax.grad(total, argnums=(0, 1))(X, jnp.float32(0.5))
    np.testing.assert_array_equal(by_x, np.ones_like(X))
    assert by_scale == 0


@pytest.mark.usefixtures("optimized_code")
def test_compiled_codes_are_those_of_single_operations(key):
    scale = jnp.float32(0.3)
    ties = (jax.random.randint(key, (1000,), -8, 8) + 0.5) * scale
    codes = jax.jit(lambda x, s: round_clip(x, s, -9, 9, False, True))(ties, scale)
    np.testing.assert_array_equal(codes, round_clip(ties, scale, -9, 9, False, True))


def test_rounding_has_the_slope_of_the_identity():
    value, slope = jax.value_and_grad(round_through)(2.6)
    assert (value, slope) == (3, 1)


def test_a_gradient_is_scaled_and_its_value_kept():
    value, slope = jax.value_and_grad(lambda x: scale_gradient(x, 0.25) ** 2)(3.0)
    assert (value, slope) == (9, 1.5)


def test_scales_of_zero_blocks_can_divide():
    scale = positive(jnp.zeros([]))
    assert 0 < float(scale) < 1e-15
    assert np.isfinite(float(1 / scale**2))
    assert positive(jnp.float32(0.5)) == 0.5


@pytest.mark.parametrize("clip", [-0.5, 0.0])
def test_a_clip_pushed_out_of_range_comes_back(clip):
    quantizer = pact_plus(4, symmetric=True)
    x = jnp.linspace(-1.0, 1.0, 41)

    @jax.jit
    @jax.grad
    def slope(clip):
        return jnp.sum((quantizer.apply({"clip": clip}, x) - x) ** 2)

    clip = jnp.float32(clip)
    for _ in range(100):
        clip = clip - 0.01 * slope(clip)
    assert 0.8 < clip < 1.1
