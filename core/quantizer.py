"""What all quantizers share: codes and scales of a tensor's blocks, see `quantizers`."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .blocks import TENSOR, Blocks
from .quantized import Quantized, dequantize
from .straight_through import positive, round_clip

Params = dict[str, jax.Array]  # a quantizer's parameters, of the shape of its blocks' scales


@dataclass(frozen=True)
class Quantizer(abc.ABC):
    """A rule from arrays to codes. Immutable, hashable and made of plain values."""

    bits: int = 4
    """Width of a code, 2 to 8."""
    blocks: Blocks = TENSOR
    """Which parts of a tensor have a scale of their own."""

    kind: ClassVar[str] = ""

    def __post_init__(self):
        if not 2 <= self.bits <= 8:
            raise ValueError(f"`bits` must be 2 to 8, got {self.bits}; leave the tensor in float.")

    @property
    def levels(self) -> int:
        """The largest code of a symmetric range, 2^(bits - 1) - 1."""
        return 2 ** (self.bits - 1) - 1

    @property
    def max_abs_code(self) -> int:
        """The largest magnitude of a code, which bounds exact sums of products."""
        return self.levels

    def init(self, x: jax.Array) -> Params:
        """The parameters for a first tensor, or for a sample of an activation."""
        del x
        return {}

    def codes(self, params: Params, x: jax.Array) -> Quantized:
        """Quantizes; differentiable with respect to `params` and `x`.

        Args:
            params: what `init` gave, or what training made of it.
            x: any floating-point array; its blocks must have the shape of `params`.

        Returns:
            Integer-valued codes of the shape and dtype of `x`, and scales, see `Quantized`.
        """
        blocked = self._split(x)
        scale, low, high = self._range(params, blocked)
        codes = round_clip(
            blocked, scale, low, high, self._passes(), self._residual() and not self._passes()
        )
        scale = self.blocks.expand(scale, x.shape)
        codes = codes.reshape(x.shape).astype(x.dtype)
        return Quantized(codes, scale, self.bits, self.max_abs_code)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """The quantized values s q, of the shape and dtype of `x`: fake quantization."""
        return dequantize(self.codes(params, x)).astype(x.dtype)

    @abc.abstractmethod
    def _range(self, params: Params, blocked: jax.Array) -> tuple[jax.Array, Any, Any]:
        """Scale, lowest and highest code of each block, broadcastable against `blocked`."""

    def _passes(self) -> bool:
        return False

    def _residual(self) -> bool:
        return True

    def _split(self, x: jax.Array) -> jax.Array:
        # Moments, clips and quotients need more digits than bfloat16 has.
        return self.blocks.split(x).astype(jnp.promote_types(x.dtype, jnp.float32))

    def _axes(self, blocked: jax.Array):
        return self.blocks.axes(blocked.ndim)

    def _symmetric(self, clip: jax.Array):
        # Not clip / levels: of a quotient by a constant, compilers make this product, or do not.
        return positive(clip * (1 / self.levels)), -self.levels, self.levels
