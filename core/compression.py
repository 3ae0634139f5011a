"""What the codes of a quantized tree take in memory, tensor by tensor.

Codes are packed as by `integers.pack`, each element of a scale takes 4 bytes, and so does each
element of a tensor in float. The ratio is to the whole tree in float32.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from . import integers, text_table
from .paths import named_leaves
from .quantization import is_quantized
from .quantized import FLOAT, Quantized

Shape = tuple[int, ...]


@dataclass(frozen=True)
class StoredTensor:
    """The bytes of a tensor, as float32 and as packed codes with float32 scales."""

    path: str
    shape: Shape
    bits: int
    """Of each packed code, 32 in float."""
    float_bytes: int
    packed_bytes: int


@dataclass(frozen=True)
class Compression:
    """The bytes of a tree, as float32 and as packed codes with float32 scales."""

    tensors: tuple[StoredTensor, ...]
    float_bytes: int
    packed_bytes: int
    ratio: float
    """How many times smaller the tree became."""


def compression_report(codes_tree: Any) -> Compression:
    """The bytes of each tensor of a tree of codes, packed as by `integers.pack`.

    Codes that do not fit 2, 3, 4 or 8 bits are packed in the next larger of these. Each element of
    a scale takes 4 bytes, as does each of a tensor in float.

    Args:
        codes_tree: of `Quantized` tensors, arrays and shapes.

    Raises:
        ValueError: if codes do not fit 8 bits.
    """
    leaves = named_leaves(codes_tree, is_leaf=is_quantized)
    tensors = tuple(_stored(path, leaf) for path, leaf in leaves)
    float_bytes = sum(tensor.float_bytes for tensor in tensors)
    packed_bytes = sum(tensor.packed_bytes for tensor in tensors)
    return Compression(tensors, float_bytes, packed_bytes, float_bytes / max(packed_bytes, 1))


def table(report: Compression) -> str:
    """A report as aligned text, with totals in the last line."""
    rows = [("path", "shape", "bits", "float32", "packed", "ratio")]
    for tensor in report.tensors:
        rows += [(tensor.path, str(tensor.shape), str(tensor.bits), *_sizes(tensor))]
    rows += [("total", "", "", *_sizes(report))]
    return text_table.align(rows, right=range(2, 6))


def storage_bits(tensor: Quantized, path: str = "tensor") -> int:
    """The width in which `integers.pack` can hold the codes of a tensor.

    Raises:
        ValueError: if they do not fit 8 bits in two's complement.
    """
    needed = max(tensor.bits, (tensor.max_abs_code - 1).bit_length() + 1)
    for bits in integers.BITS:
        if bits >= needed:
            return bits
    raise ValueError(
        f"`{path}` must have codes that fit 8 bits, got {tensor.max_abs_code} as the largest "
        "magnitude; quantize it in fewer bits or symmetrically."
    )


def _stored(path: str, leaf: Any) -> StoredTensor:
    shape = tuple(jnp.shape(leaf))
    float_bytes = 4 * math.prod(shape)
    if not isinstance(leaf, Quantized):
        return StoredTensor(path, shape, FLOAT, float_bytes, float_bytes)
    bits = storage_bits(leaf, path)
    codes = jax.ShapeDtypeStruct(shape or (1,), jnp.int8)
    pack = functools.partial(integers.pack, bits=bits, axis=max(-2, -codes.ndim))
    packed_bytes = jax.eval_shape(pack, codes).size + 4 * leaf.scale.size
    return StoredTensor(path, shape, bits, float_bytes, packed_bytes)


def _sizes(stored: StoredTensor | Compression) -> tuple[str, str, str]:
    ratio = stored.float_bytes / max(stored.packed_bytes, 1)
    return f"{stored.float_bytes:,}", f"{stored.packed_bytes:,}", f"{ratio:.2f}"
