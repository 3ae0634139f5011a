"""Clips against numpy's order statistics and an exhaustive search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import calibration

AXES = (None, (0, 1), (0,), (-1,), (-2, -1))
NUM_CLIPS = 64  # of the documented grid


def heavy_tailed(shape=(40, 25)):
    return np.random.default_rng(0).standard_t(3.0, shape).astype(np.float32)


def squared_error(x, clip, bits):
    """Mean squared error of a block, in double precision."""
    levels = 2 ** (bits - 1) - 1
    scale = np.float64(clip) / levels
    x = x.astype(np.float64)
    return np.mean((x - scale * np.clip(np.round(x / scale), -levels, levels)) ** 2)


@pytest.mark.parametrize("axes", AXES)
def test_maximum(axes):
    x = heavy_tailed()
    found = calibration.max_clip(jnp.asarray(x), axes)
    np.testing.assert_array_equal(found, np.abs(x).max(axis=axes, keepdims=axes is not None))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("percentile", [51.0, 90.0, 99.9, 100.0])
def test_percentiles(percentile, axes, float64):
    x = heavy_tailed().astype(np.float64)
    kept = {"axis": axes, "keepdims": axes is not None}
    found = calibration.percentile_clip(jnp.asarray(x), axes, percentile=percentile)
    expected = np.percentile(np.abs(x), percentile, **kept)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    low, high = calibration.percentile_range(jnp.asarray(x), axes, percentile=percentile)
    # Close to the median the ends can cross zero.
    expected_low = np.minimum(np.percentile(x, 100.0 - percentile, **kept), 0.0)
    expected_high = np.maximum(np.percentile(x, percentile, **kept), 0.0)
    np.testing.assert_allclose(low, expected_low, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(high, expected_high, rtol=1e-10, atol=1e-12)


def test_default_percentile_leaves_one_in_a_thousand_outside():
    x = jnp.arange(-1000.0, 1001.0)
    low, high = calibration.percentile_range(x)
    assert (int(jnp.sum(x < low)), int(jnp.sum(x > high))) == (2, 2)  # of 2001
    assert int(jnp.sum(jnp.abs(x) > calibration.percentile_clip(x))) == 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_range_includes_zero(sign):
    x = jnp.asarray(sign * (1.0 + np.abs(heavy_tailed())))
    for axes in AXES:
        low, high = calibration.percentile_range(x, axes)
        inner, outer = (low, high) if sign > 0.0 else (high, low)
        np.testing.assert_array_equal(inner, np.zeros_like(inner))
        assert np.all(sign * np.asarray(outer) > 1.0)


@pytest.mark.parametrize("bits", range(2, 9))
def test_least_squared_error_of_all_clips_on_the_grid(bits):
    x = heavy_tailed((500, 3))
    found = calibration.mse_clip(jnp.asarray(x), (0,), bits=bits)
    assert found.shape == (1, 3)
    for block, clip in zip(x.T, np.ravel(found), strict=True):
        top = np.abs(block).max()
        steps = clip / top * NUM_CLIPS
        np.testing.assert_allclose(steps, np.round(steps), rtol=1e-6)
        least = min(squared_error(block, top * k / NUM_CLIPS, bits) for k in range(1, 65))
        # Sums of 500 squares in float32, of an error that itself is known to 2^-24 of the value:
        # clips that do not differ by more than that are equally good.
        assert squared_error(block, clip, bits) <= least * (1.0 + 1e-4)


def test_search_works_along_any_axes():
    x = jnp.asarray(heavy_tailed())
    whole = calibration.mse_clip(x, None, bits=4)
    assert whole.shape == ()
    assert calibration.mse_clip(x, (0, 1), bits=4).shape == (1, 1)
    assert calibration.mse_clip(x, (0, 1), bits=4)[0, 0] == whole
    rows = calibration.mse_clip(x, (-1,), bits=4)
    assert rows.shape == (40, 1)
    # The same sums, up to their order.
    np.testing.assert_allclose(rows[3, 0], calibration.mse_clip(x[3], None, bits=4), rtol=1e-6)


def test_search_cuts_outliers_off_but_not_the_ends_of_a_uniform_density():
    x = np.random.default_rng(0).uniform(-1.0, 1.0, 1000).astype(np.float32)
    assert calibration.mse_clip(jnp.asarray(x), bits=8) > 0.98
    x[0] = 20.0
    # Least (20 - a)^2 / 1000 + (a / 7)^2 / 12, cutting one value and rounding the others: a = 7.4.
    assert calibration.mse_clip(jnp.asarray(x), bits=4) < 7.4


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_dtype_and_jits_once(dtype):
    traces = []

    @jax.jit
    def clips(x):
        traces.append(dtype)
        return (
            calibration.max_clip(x, (0,)),
            calibration.percentile_clip(x, (0,)),
            *calibration.percentile_range(x, (0,)),
            calibration.mse_clip(x, (0,), bits=4),
        )

    for x in (heavy_tailed(), heavy_tailed()[::-1] + 1.0):
        assert {(clip.dtype, clip.shape) for clip in clips(jnp.asarray(x, dtype))} == {
            (jnp.dtype(dtype), (1, 25))
        }
    assert len(traces) == 1


def test_zeros_have_a_clip_of_zero():
    zeros = jnp.zeros((5, 2))
    for clip in (
        calibration.max_clip(zeros),
        calibration.percentile_clip(zeros),
        *calibration.percentile_range(zeros),
        calibration.mse_clip(zeros, bits=4),
    ):
        assert clip == 0.0


@pytest.mark.parametrize("percentile", [50.0, 100.1, -1.0, np.nan])
def test_refuses_percentiles(percentile):
    message = f"`percentile` must be above 50 and at most 100, got {percentile}"
    with pytest.raises(ValueError, match=message):
        calibration.percentile_clip(jnp.ones(3), percentile=percentile)
    with pytest.raises(ValueError, match=message):
        calibration.percentile_range(jnp.ones(3), percentile=percentile)
