"""Gradients of quantizers against the published ones and finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import quantizers

from .quantizers_cases import (
    BLOCKS,
    CLIP,
    FACTORIES,
    KINDS,
    POINTS,
    SHAPE,
    STEP,
    block_slices,
    spread,
    spread_scale,
    weights,
)

PASSING = ("sawb_plus", "max_abs")


def partials(quantizer, params, x):
    """Derivatives of each quantized value by each parameter and by its own x."""
    return jax.jit(jax.vmap(jax.grad(quantizer.apply, (0, 1)), in_axes=(None, 0)))(params, x)


INSIDE = np.abs(POINTS) <= CLIP
BEYOND = np.where(POINTS >= CLIP, 1.0, np.where(POINTS <= -CLIP, -1.0, 0.0))


def test_gradients_of_pact():
    by_params, by_x = partials(quantizers.pact(4), {"clip": CLIP}, POINTS)
    np.testing.assert_allclose(by_x, INSIDE.astype(float), rtol=1e-6)
    np.testing.assert_allclose(by_params["clip"], BEYOND, rtol=1e-6)
    assert np.all(by_params["clip"][POINTS <= -CLIP] == -1.0)  # a sign that others have wrong


def test_gradients_of_pact_plus_symmetric():
    by_params, by_x = partials(FACTORIES["pact_plus_symmetric"](4), {"clip": CLIP}, POINTS)
    n = 2**4 - 2
    z = (POINTS + CLIP) / (2 * CLIP / n)
    expected = np.where(BEYOND != 0.0, BEYOND, 2 * (np.round(z) - z) / n)
    # Half to even: a tie of z is rounded to the other side than that of z - 7, the code.
    expected = np.where(np.abs(z % 1.0 - 0.5) < 1e-6, -expected, expected)
    np.testing.assert_allclose(by_x, INSIDE.astype(float), rtol=1e-6)
    # z is of size 14 and has an error of half a unit of 2^-20; the residual keeps it.
    np.testing.assert_allclose(by_params["clip"], expected, rtol=1e-6, atol=2.0**-20 / 7)
    assert np.all(by_params["clip"][POINTS <= -CLIP] == -1.0)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("zero_point", [-5.0, -5.3, 0.0])
def test_gradients_of_asymmetric_clips(zero_point, residual):
    n = 15
    quantizer = quantizers.AsymmetricClipped(4, residual=residual)
    params = {"clip_low": zero_point * STEP, "clip_high": (zero_point + n) * STEP}
    x = np.float32([-3.0, -0.71, -0.625, -0.6, -0.33, -0.01, 0.02, 0.3, 1.15, 1.25, 1.9, 7.0])
    by_params, by_x = partials(quantizer, jax.tree.map(jnp.float32, params), x)
    # The range begins at the code of the zero point, rounded straight-through.
    by_zero_point = (np.round(zero_point) - zero_point) / n
    lowest, highest = np.round(zero_point) * STEP, (np.round(zero_point) + n) * STEP
    below, above = x <= lowest, x >= highest
    d = (x / STEP - np.round(x / STEP)) / n if residual else np.zeros_like(x)
    by_low = np.where(below, 1.0 - by_zero_point, np.where(above, -by_zero_point, d))
    by_high = np.where(above, 1.0 + by_zero_point, np.where(below, by_zero_point, -d))
    np.testing.assert_allclose(by_x, ((x >= lowest) & (x <= highest)).astype(float), rtol=1e-6)
    # u, of size 16, has an error of a unit of 2^-19, and the residual u - round(u) keeps it.
    tolerance = {"rtol": 1e-6, "atol": 2.0**-19 / n}
    # At zero the minimum of the lower clip and zero has two branches, each with half a say.
    share = 0.5 if zero_point == 0.0 else 1.0
    np.testing.assert_allclose(by_params["clip_low"], share * by_low, **tolerance)
    np.testing.assert_allclose(by_params["clip_high"], by_high, **tolerance)


def test_gradients_of_learned_step_size():
    by_params, by_x = partials(quantizers.lsq(4), {"step_size": STEP}, POINTS)
    v = POINTS / STEP
    expected = np.where(v <= -8, -8.0, np.where(v >= 7, 7.0, np.round(v) - v))
    np.testing.assert_allclose(by_x, ((v >= -8) & (v <= 7)).astype(float), rtol=1e-6)
    # N = 1 here; v is of size 8 and has an error of half a unit of 2^-20.
    found = by_params["step_size"] * np.sqrt(7)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2.0**-20)


@pytest.mark.parametrize("name", ["sawb", "sawb_plus", "max_abs", "fixed", "calibrated"])
def test_gradients_without_a_learned_clip(name):
    quantizer, x = FACTORIES[name](4), weights()
    params = quantizer.init(jnp.asarray(x) / 2)  # a calibrated clip that cuts some off
    clip = 7 * quantizer.codes(params, jnp.asarray(x)).scale
    passes = name in PASSING
    expected = np.where(passes | (np.abs(x) <= clip), 1.0, 0.0)
    assert np.all(expected) == passes
    cotangent = weights(1)
    by_params, by_x = jax.vjp(quantizer.apply, params, jnp.asarray(x))[1](cotangent)
    np.testing.assert_allclose(by_x, cotangent * expected, rtol=1e-6)
    assert all(not np.any(value) for value in by_params.values())


def surrogate(name, kind, params, x, frozen):
    """x_hat with rounding errors held at a point, in double precision; piecewise linear.

    Beyond the ends there is no rounding error. (Held at round(u) - u there, values less than half
    a step beyond an end would sit exactly on the corner of the clip.)
    """
    if name == "pact_plus":
        low = np.minimum(spread(kind, params["clip_low"]), 0)
        high = np.maximum(spread(kind, params["clip_high"]), 0)
        scale = (high - low) / 15
        lowest = low / scale + frozen.setdefault("zero", np.round(low / scale) - low / scale)
        highest = lowest + 15
    else:
        scale = frozen.get("scale")
        if scale is None:
            key, levels = ("step_size", 1) if name == "lsq" else ("clip", 7)
            scale = spread(kind, params[key]) / levels
        lowest, highest = -7 - (name == "lsq"), 7
    clipped = np.clip(x / scale, lowest, highest)
    error = frozen.setdefault("codes", np.round(clipped) - clipped)
    if name == "pact":  # holds the error of the value, not of the code
        return scale * clipped + frozen.setdefault("values", scale * error)
    return scale * (clipped + error)


@pytest.mark.parametrize("name", [name for name in FACTORIES if name not in PASSING])
def test_gradients_are_differences_of_the_straight_through_surrogate(name, float64):
    kind, x = "gate", weights().astype(np.float64)
    quantizer = FACTORIES[name](4, BLOCKS[kind])
    # Clips of half the data, so that a good part of it saturates.
    params = {key: 0.5 * np.asarray(p) for key, p in quantizer.init(jnp.asarray(x)).items()}
    generator = np.random.default_rng(1)
    along_x = generator.standard_normal(SHAPE)
    along = {key: generator.standard_normal(KINDS[kind][1]) for key in params}
    push = jax.jit(partial(jax.jvp, quantizer.apply))
    values, found = push((params, x), (along, along_x))

    frozen = {}
    if name in ("sawb", "fixed", "calibrated"):
        frozen["scale"] = spread_scale(kind, np.asarray(quantizer.codes(params, x).scale))
    if name == "lsq":  # its gradient is scaled on purpose
        along["step_size"] /= np.sqrt(x[block_slices(kind)[0]].size * 7)
    center = surrogate(name, kind, params, x, frozen)
    np.testing.assert_allclose(values, center, rtol=1e-10, atol=1e-15)

    def moved(h):
        there = {key: params[key] + h * along[key] for key in params}
        return surrogate(name, kind, there, x + h * along_x, frozen)

    h = 1e-6
    ahead, behind = (moved(h) - center) / h, (center - moved(-h)) / h
    smooth = np.abs(ahead - behind) < 1e-3  # Not so where SAWB's clip is the value itself.
    assert smooth.mean() > 0.99
    expected = (ahead + behind) / 2
    # Values of size 1 and their errors of 2^-53, through a quotient and back, divided by h.
    np.testing.assert_allclose(found[smooth], expected[smooth], rtol=1e-10, atol=1e-9)
