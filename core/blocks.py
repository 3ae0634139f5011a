"""Blocks: which parts of a tensor share one scale.

    tensor      all of it: one scale []
    matrix      each matrix of [..., in, out]: [..., 1, 1]
    gate        each of `size` equal parts of the outputs, such as an LSTM's gates: [..., 1, out]
    channel     each output: [..., 1, out]
    group       each run of `size` inputs of each output: [..., in / size, out]
    filter      each output of a kernel [height, width, in, out]: [1, 1, 1, out]

Scales are constant along the inputs of a block because a product sums over them: it can then be
computed in integers and scaled once.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp

Kind = Literal["tensor", "matrix", "gate", "channel", "group", "filter"]


@dataclass(frozen=True)
class Blocks:
    """A division of tensors into blocks."""

    kind: Kind = "tensor"
    """See the module."""
    size: int = 0
    """Number of gates, or inputs of a group; 0 for the other kinds."""

    def __post_init__(self):
        if self.kind not in get_args(Kind):
            raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {self.kind!r}.")
        if self.size < 0 or (self.size > 0) != (self.kind in ("gate", "group")):
            raise ValueError(
                f"`size` must be positive for gates and groups and 0 otherwise, got {self.size} "
                f"for {self.kind!r}."
            )

    def split(self, x: jax.Array) -> jax.Array:
        """Shows the blocks of a tensor as axes of their own.

        Raises:
            ValueError: if the tensor has no such blocks.
        """
        if self.kind == "tensor":
            return x
        if x.ndim < 2:
            raise ValueError(
                f"`blocks` of kind {self.kind!r} need a tensor [..., in, out], got shape {x.shape}."
            )
        *leading, inputs, outputs = x.shape
        if self.kind == "gate":
            self._check_divides("outputs", outputs)
            return x.reshape(*leading, inputs, self.size, outputs // self.size)
        if self.kind == "group":
            self._check_divides("inputs", inputs)
            return x.reshape(*leading, inputs // self.size, self.size, outputs)
        return x

    def axes(self, ndim: int) -> tuple[int, ...]:
        """The axes of a split tensor along which a block extends."""
        return {
            "tensor": tuple(range(ndim)),
            "matrix": (-2, -1),
            "gate": (-3, -1),
            "channel": (-2,),
            "group": (-2,),
            "filter": tuple(range(ndim - 1)),
        }[self.kind]

    def squeeze(self, values: jax.Array) -> jax.Array:
        """Drops the axes along which blocks extend, kept with size one: one value a block."""
        return jnp.squeeze(values, self.axes(values.ndim))

    def unsqueeze(self, values: jax.Array, ndim: int) -> jax.Array:
        """Undoes `squeeze`, for a split tensor of `ndim` axes."""
        return values if self.kind == "tensor" else jnp.expand_dims(values, self.axes(ndim))

    def expand(self, scale: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The scales of a split tensor in the shape that `quantizers.Quantized` documents.

        Args:
            scale: broadcastable against the split tensor.
            shape: of the tensor.

        Returns:
            [] for one block, else [..., 1 or groups, 1 or out].
        """
        if scale.size == 1 and self.kind == "tensor":
            return scale.reshape(())
        if scale.ndim == 0:  # a constant clip is the same for all blocks
            return scale
        if self.kind == "gate":
            *leading, one, gates, _ = scale.shape
            wide = jnp.broadcast_to(scale, (*leading, one, gates, shape[-1] // gates))
            return wide.reshape(*leading, one, shape[-1])
        if self.kind == "group":
            return jnp.squeeze(scale, -2)
        return scale

    def _check_divides(self, what: str, number: int) -> None:
        if number % self.size:
            raise ValueError(
                f"`blocks` of kind {self.kind!r} and size {self.size} must divide the {number} "
                f"{what} of the tensor."
            )


TENSOR = Blocks()
MATRIX = Blocks("matrix")
CHANNEL = Blocks("channel")
FILTER = Blocks("filter")


def gates(number: int = 4) -> Blocks:
    """One scale for each gate of a recurrent cell's stacked weights."""
    return Blocks("gate", number)


def groups(size: int) -> Blocks:
    """One scale for each run of `size` inputs of each output."""
    return Blocks("group", size)
