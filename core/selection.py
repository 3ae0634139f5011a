"""Which elements of an array to send: the largest of each chunk, or the largest of all.

An array of p elements, flattened, is cut into chunks of C; the largest of each is found in one pass
over the array, without a sort.  With k = p // C whole chunks, chunk c holds the elements

    c, c + k, c + 2 k, ..., c + (C - 1) k,

so that all chunks are searched side by side, and the p - C k elements that are left are one more
chunk.  An offset says which element of its chunk is meant; one byte holds it for C up to 256.

Magnitude and offset of an element are compared as one integer, the bits of a float32 whose last
bits are replaced by the offset: elements whose magnitudes differ by less than C 2^-23 of
themselves, 2^-16 for C = 128, count as equal.  Not-a-numbers are larger than everything.

References:
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

LARGEST_CHUNK = 1 << 16


class Selection(NamedTuple):
    """A way to choose one element of every `rate`, and to name those chosen."""

    choose: Callable[[jax.Array, float], jax.Array]
    """(x of p elements, rate) -> names [k]"""
    locate: Callable[[jax.Array, int, float], jax.Array]
    """(names [..., k], p, rate) -> int32 [..., k], positions in the flattened array"""
    count: Callable[[int, float], int]
    """(p, rate) -> k"""
    index_bytes: Callable[[float], int]
    """rate -> bytes of a name"""


def num_chunks(size: int, chunk: int) -> int:
    """How many chunks an array of `size` elements has."""
    return -(-size // chunk)


def offset_dtype(chunk: int) -> Any:
    """The smallest unsigned integers that hold the offsets of a chunk.

    Raises:
        ValueError: if the chunk is out of range.
    """
    if not 1 <= chunk <= LARGEST_CHUNK:
        raise ValueError(f"`chunk` must be from 1 to {LARGEST_CHUNK}, got {chunk}.")
    return jnp.uint8 if chunk <= 256 else jnp.uint16


def largest_in_chunks(x: jax.Array, chunk: int) -> jax.Array:
    """The offset of the element of largest magnitude in each chunk.

    Args:
        x: array of any shape and p >= 1 elements.
        chunk: elements C in a chunk, up to 65,536.

    Returns:
        Offsets [ceil(p / C)] of `offset_dtype`; `positions` tells where they are.

    Raises:
        ValueError: if the chunk is out of range.

    Example:
        >>> offsets = largest_in_chunks(jnp.array([1.0, -5.0, 3.0, 2.0]), 2)
        >>> positions(offsets, 4, 2).tolist()  # Chunks are (1, 3) and (-5, 2).
        [2, 1]
    """
    dtype = offset_dtype(chunk)
    x = x.reshape(-1)
    columns = x.size // chunk
    head, tail = x[: chunk * columns].reshape(chunk, columns), x[chunk * columns :]
    parts = [_largest(part) for part in (head, tail[:, None]) if part.size]
    return jnp.concatenate(parts).astype(dtype)


def random_in_chunks(key: jax.Array, size: int, chunk: int) -> jax.Array:
    """Offsets drawn at random, one for each chunk of an array of `size` elements.

    Args:
        key: typed random key.
        size: number of elements p.
        chunk: elements C in a chunk, up to 65,536.

    Returns:
        Offsets [ceil(p / C)], as `largest_in_chunks`.

    Raises:
        ValueError: if the chunk is out of range.
    """
    whole, rest = divmod(size, chunk)
    sizes = jnp.full(num_chunks(size, chunk), chunk)
    if rest:
        sizes = sizes.at[whole].set(rest)
    drawn = jax.random.randint(key, sizes.shape, 0, sizes)
    return drawn.astype(offset_dtype(chunk))


def positions(offsets: jax.Array, size: int, chunk: int) -> jax.Array:
    """Where the elements that offsets name lie in the flattened array.

    Args:
        offsets: [..., ceil(p / C)] from `largest_in_chunks`.
        size: number of elements p of the array.
        chunk: elements C in a chunk.

    Returns:
        int32 like `offsets`, all different in a row.
    """
    columns = size // chunk
    first = jnp.arange(offsets.shape[-1], dtype=jnp.int32)  # of each chunk
    stride = jnp.where(first < columns, columns, 1)
    first = jnp.where(first < columns, first, chunk * columns)
    first, stride = (jnp.broadcast_to(x, offsets.shape) for x in (first, stride))
    return first + stride * offsets.astype(jnp.int32)


def largest(x: jax.Array, count: int) -> jax.Array:
    """The positions of the elements of largest magnitude in the flattened array, by a sort.

    Args:
        x: array of any shape.
        count: how many.

    Returns:
        int32 [count], all different.
    """
    return jax.lax.top_k(jnp.abs(x.reshape(-1)), count)[1]


def to_chunk(rate: float) -> int:
    """Elements of a chunk of which one is sent, for a rate."""
    return max(round(rate), 1)


def _to_count(size: int, rate: float) -> int:
    return min(max(round(size / rate), 1), size)


CHUNKWISE = Selection(
    choose=lambda x, rate: largest_in_chunks(x, to_chunk(rate)),
    locate=lambda offsets, size, rate: positions(offsets, size, to_chunk(rate)),
    count=lambda size, rate: num_chunks(size, to_chunk(rate)),
    index_bytes=lambda rate: jnp.dtype(offset_dtype(to_chunk(rate))).itemsize,
)
"""The largest element of each chunk: one pass, small indices."""

SORTED = Selection(
    choose=lambda x, rate: largest(x, _to_count(x.size, rate)),
    locate=lambda found, size, rate: found,
    count=_to_count,
    index_bytes=lambda rate: 4,
)
"""The largest elements of the array: exact top-k."""


def _largest(chunks: jax.Array) -> jax.Array:
    """Row of the largest magnitude in each column [rows, columns], as int32."""
    mask = (1 << max(len(chunks) - 1, 1).bit_length()) - 1
    bits = jax.lax.bitcast_convert_type(jnp.abs(chunks).astype(jnp.float32), jnp.int32)
    rows = jax.lax.broadcasted_iota(jnp.int32, chunks.shape, 0)
    return _max_rows(bits & ~mask | rows) & mask


def _max_rows(x: jax.Array) -> jax.Array:
    """The maximum of each column [rows, columns], by halves.

    On the CPU this runs at the speed of memory, and ``jnp.max`` does not: XLA cuts long reductions
    and writes what they read.  Three halvings are one loop; the barrier keeps loops apart.
    """
    level = 0
    while len(x) > 1:
        half = (len(x) + 1) // 2
        x = jnp.maximum(x[:half], x[-half:])  # They share the middle row if the number is odd.
        level += 1
        x = jax.lax.optimization_barrier(x) if level % 3 == 0 else x
    return x[0]
