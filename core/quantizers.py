"""Quantizers: from real numbers to a few integer codes and a scale, with gradients to train them.

Every quantizer is uniform, has zero among its levels, and is defined by one canonical form,

    q = clip(round(x / s), low, high),        x_hat = s q,

with integer codes q and a scale s for each block of the tensor (x / s is always computed as
x * (1 / s), so that programs agree on ties). They differ in where s comes from and in the
gradient. Rounding counts as the identity when differentiating (the straight-through
estimator), so that with u = x / s

    dx_hat/dx = 1 for low <= u <= high, else 0       ("mask"), or 1 everywhere ("pass")
    dx_hat/ds = q - u inside (or 0 without "residual"), q outside.

    quantizer    clip or scale                                gradient to x   gradient to the clip
    sawb         c1 sqrt(mean x^2) + c2 mean |x|, anew        mask            none
    sawb_plus    the same                                     pass            none
    max_abs      max |x|, anew                                pass            none
    fixed        a constant                                   mask            none
    calibrated   a parameter, set from data once              mask            none
    pact         a parameter                                  mask            outside only
    pact_plus    a parameter, or two (asymmetric)             mask            with residual
    lsq          a parameter, the scale itself                mask            with residual, scaled

Parameters of a quantizer are a small dictionary; an optimizer sees them like any others.

References:
    J. Choi et al., "Accurate and Efficient 2-bit Quantized Neural Networks", 2019 (SAWB, PACT).
    S. Esser et al., "Learned Step Size Quantization", 2020, arXiv:1902.08153.
    A. Fasoli et al., "4-bit Quantization of LSTM-based Speech Recognition Models", 2021,
        arXiv:2108.12074.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from . import calibration
from .blocks import TENSOR, Blocks
from .quantizer import Quantizer
from .straight_through import positive, round_through, scale_gradient

# Zero-aligned SAWB, bits -> (c1, c2). 2 and 4 bits are published; 3, 5 and 6 are fitted here to
# the optimal clips of normal, Laplace, uniform, logistic and triangular densities.
SAWB_COEFFICIENTS = {
    2: (2.6, -1.71),
    3: (6.978, -6.337),
    4: (12.035, -12.03),
    5: (16.905, -17.653),
    6: (18.976, -20.004),
}


@dataclass(frozen=True)
class Sawb(Quantizer):
    """Statistics-aware weight binning: the clip from the first two absolute moments.

    The formula presumes a density with tails: blocks of few values (groups of 8 and less) or of
    equal magnitudes come out far too small a clip; `max_abs` is better there.
    """

    straight_through: bool = False
    """SAWB+: pass gradients to weights beyond the clip too."""

    kind = "sawb"

    def __post_init__(self):
        super().__post_init__()
        if self.bits not in SAWB_COEFFICIENTS:
            raise ValueError(
                f"`bits` must be 2 to 6 for SAWB, got {self.bits}: its clip is a difference of "
                "large numbers, and at 8 bits the error on uniform weights is hundreds of times "
                "the least; use max_abs."
            )

    def _passes(self):
        return self.straight_through

    def _range(self, params, blocked):
        del params
        axes = self._axes(blocked)
        x = jax.lax.stop_gradient(blocked)
        c1, c2 = SAWB_COEFFICIENTS[self.bits]
        root_mean_square = jnp.sqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True))
        clip = c1 * root_mean_square + c2 * jnp.mean(jnp.abs(x), axis=axes, keepdims=True)
        # On heavy tails the difference can leave the range of the data, at either end.
        top = calibration.max_clip(x, axes)
        return self._symmetric(jnp.where((clip <= 0) | (clip > top), top, clip))


@dataclass(frozen=True)
class MaxAbs(Quantizer):
    """The clip is the largest magnitude, so that nothing saturates."""

    kind = "max_abs"

    def _passes(self):
        return True

    def _range(self, params, blocked):
        del params
        return self._symmetric(
            calibration.max_clip(jax.lax.stop_gradient(blocked), self._axes(blocked))
        )


@dataclass(frozen=True)
class Fixed(Quantizer):
    """A constant clip, for what is bounded by construction, such as a hidden state."""

    clip: float = 1.0

    kind = "fixed"

    def __post_init__(self):
        super().__post_init__()
        if not self.clip > 0:
            raise ValueError(f"`clip` must be positive, got {self.clip}.")

    def _range(self, params, blocked):
        del params
        return self._symmetric(jnp.asarray(self.clip, blocked.dtype))


@dataclass(frozen=True)
class Clipped(Quantizer):
    """The clip is a parameter: learned (PACT, PACT+), or set once from data."""

    clip: float | None = None
    """The first clip; None takes it from data by `method`."""
    method: Literal["max", "percentile", "mse"] = "percentile"
    """How `init` takes the clip from data, see `calibration`."""
    gradient: Literal["outside", "residual", "none"] = "residual"
    """What moves the clip: saturated values (PACT), rounding errors too (PACT+), or nothing."""

    kind = "clipped"

    def __post_init__(self):
        super().__post_init__()
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"`clip` must be positive or None, got {self.clip}.")
        if self.method not in ("max", "percentile", "mse"):
            raise ValueError(f"`method` must be max, percentile or mse, got {self.method!r}.")
        if self.gradient not in ("outside", "residual", "none"):
            raise ValueError(
                f"`gradient` must be outside, residual or none, got {self.gradient!r}."
            )

    def init(self, x):
        """See `Quantizer.init`."""
        blocked = self._split(x)
        axes = self._axes(blocked)
        if self.clip is not None:
            shape = jnp.max(blocked, axis=axes, keepdims=True).shape
            clip = jnp.full(shape, self.clip, blocked.dtype)
        elif self.method == "mse":
            clip = calibration.mse_clip(blocked, axes, bits=self.bits)
        elif self.method == "percentile":
            clip = calibration.percentile_clip(blocked, axes)
        else:
            clip = calibration.max_clip(blocked, axes)
        return {"clip": self.blocks.squeeze(clip)}

    def _residual(self):
        return self.gradient == "residual"

    def _range(self, params, blocked):
        clip = self.blocks.unsqueeze(params["clip"], blocked.ndim)
        return self._symmetric(clip if self.gradient != "none" else jax.lax.stop_gradient(clip))


@dataclass(frozen=True)
class AsymmetricClipped(Quantizer):
    """Two learned clips, low <= 0 <= high, with zero among the levels.

    s = (high - low) / (2^bits - 1); codes run from round(low / s) upward.
    """

    residual: bool = True
    """Rounding errors move the clips too (PACT+); otherwise saturated values only (PACT)."""

    kind = "asymmetric"

    @property
    def max_abs_code(self):
        """See `Quantizer.max_abs_code`: all levels may lie on one side of zero."""
        return 2**self.bits - 1

    def init(self, x):
        """See `Quantizer.init`: percentiles at both ends."""
        blocked = self._split(x)
        low, high = calibration.percentile_range(blocked, self._axes(blocked))
        return {"clip_low": self.blocks.squeeze(low), "clip_high": self.blocks.squeeze(high)}

    def _residual(self):
        return self.residual

    def _range(self, params, blocked):
        number = 2**self.bits - 1
        low = jnp.minimum(self.blocks.unsqueeze(params["clip_low"], blocked.ndim), 0)
        high = jnp.maximum(self.blocks.unsqueeze(params["clip_high"], blocked.ndim), 0)
        scale = positive((high - low) * (1 / number))
        lowest = round_through(low * (1 / scale))
        return scale, lowest, lowest + number


@dataclass(frozen=True)
class LearnedStepSize(Quantizer):
    """The scale is the parameter; its gradient is divided by sqrt(values * highest code)."""

    kind = "lsq"

    @property
    def max_abs_code(self):
        """See `Quantizer.max_abs_code`: two's complement has one code more below zero."""
        return self.levels + 1

    def init(self, x):
        """See `Quantizer.init`: 2 mean |x| / sqrt(highest code)."""
        blocked = self._split(x)
        mean = jnp.mean(jnp.abs(blocked), axis=self._axes(blocked), keepdims=True)
        return {"step_size": self.blocks.squeeze(2 * mean / math.sqrt(self.levels))}

    def _range(self, params, blocked):
        scale = self.blocks.unsqueeze(params["step_size"], blocked.ndim)
        per_block = blocked.size / max(scale.size, 1)
        factor = 1 / math.sqrt(per_block * self.levels)
        return positive(scale_gradient(scale, factor)), -self.levels - 1, self.levels


DYNAMIC = (Sawb, MaxAbs)  # their scale depends on the tensor at hand


def sawb(bits: int = 4, blocks: Blocks = TENSOR) -> Sawb:
    """Statistics-aware weight binning; gradients stop at the clip. 2 to 6 bits."""
    return Sawb(bits, blocks)


def sawb_plus(bits: int = 4, blocks: Blocks = TENSOR) -> Sawb:
    """SAWB with straight-through gradients, the choice for 4-bit LSTM weights."""
    return Sawb(bits, blocks, straight_through=True)


def max_abs(bits: int = 8, blocks: Blocks = TENSOR) -> MaxAbs:
    """The clip is max |x| of the tensor at hand: safe at 8 bits, poor at 4."""
    return MaxAbs(bits, blocks)


def fixed(bits: int = 4, clip: float = 1.0) -> Fixed:
    """A constant symmetric clip."""
    return Fixed(bits, clip=clip)


def calibrated(
    bits: int = 4,
    blocks: Blocks = TENSOR,
    *,
    method: Literal["max", "percentile", "mse"] = "percentile",
) -> Clipped:
    """A clip that `init` takes from data and training leaves alone."""
    return Clipped(bits, blocks, method=method, gradient="none")


def pact(bits: int = 4, blocks: Blocks = TENSOR, *, clip: float | None = None) -> Clipped:
    """A symmetric learned clip, moved by saturated values only."""
    return Clipped(bits, blocks, clip, gradient="outside")


def pact_plus(
    bits: int = 4, blocks: Blocks = TENSOR, *, symmetric: bool = False, clip: float | None = None
) -> Clipped | AsymmetricClipped:
    """Learned clips, moved by rounding errors too; asymmetric with zero aligned by default.

    Args:
        bits: width of the codes.
        blocks: parts with clips of their own.
        symmetric: one clip a for [-a, a] instead of two.
        clip: the first symmetric clip; from data by default.

    Raises:
        ValueError: if `clip` is given for asymmetric clips, which `init` takes from data.
    """
    if symmetric:
        return Clipped(bits, blocks, clip)
    if clip is not None:
        raise ValueError("`clip` is for symmetric=True; asymmetric clips are taken from data.")
    return AsymmetricClipped(bits, blocks)


def lsq(bits: int = 4, blocks: Blocks = TENSOR) -> LearnedStepSize:
    """Learned step size quantization over the full two's-complement range."""
    return LearnedStepSize(bits, blocks)
