"""Integer codes in memory and in products: packed bytes, and matmuls that do not round.

A quantized tensor is integer codes q times a scale, and a quantized product is always

    scale * (q_x . q_w),

never (scale_x q_x) . (scale_w q_w): the sum of integers is exact as long as

    K * max|q_x| * max|q_w| <= L

for K terms and an accumulator that holds all integers up to L: 2^24 in float32, 2^31 - 1 in int32.
Exact sums do not depend on their order, so training, evaluation and deployment agree bit for bit,
whichever of these dtypes multiplies.

Codes are packed along the contraction axis of a weight [..., in, out], so that no byte holds codes
of two output channels.  The layout is a little-endian bit stream: code i of b bits, in two's
complement, takes the bits i b ... (i + 1) b - 1 of the stream, low bits first, and bit j of the
stream is bit j mod 8, counted from the lowest, of byte j div 8.  In groups of whole bytes:

    2 bits   4 codes in 1 byte    q0 | q1 << 2 | q2 << 4 | q3 << 6
    3 bits   8 codes in 3 bytes   q0 | q1 << 3 | ... | q7 << 21, the lowest byte first
    4 bits   2 codes in 1 byte    q0 | q1 << 4
    8 bits   1 code in 1 byte     q0

Zero codes fill the last group.  ``jnp.int4`` is never stored: on a CPU it takes a byte for each
element (jax 0.10.2), and ``numpy.savez`` loses the dtype.
"""

import functools
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

BITS = (2, 3, 4, 8)  # widths of codes that `pack` supports

# Up to which magnitudes a dtype and its accumulator hold all integers. The int8 operand +128 does
# not exist, but a bound of 128 describes the codes -128 ... 127.
_MAX_OPERAND_AND_SUM = {
    "float32": (2**24, 2**24),
    "bfloat16": (2**8, 2**24),
    "int8": (2**7, 2**31 - 1),
}

# Largest operands of the trial products of 4096 terms. In the floating dtypes the largest sum is
# close to 2^24, and 4095 has more digits than TF32 keeps.
_TRIALS = {"float32": (4095, 1), "bfloat16": (255, 16), "int8": (127, 127), "int4": (7, 7)}


def pack(codes: ArrayLike, bits: int, axis: int = -2) -> jax.Array:
    """Packs signed integer codes into bytes along one axis; see the module for the layout.

    Args:
        codes: weights [..., in, out] or any other shape; whole numbers in
            [-2^(bits-1), 2^(bits-1) - 1], of an integer or a floating dtype.
        bits: width of a code, one of 2, 3, 4 and 8.
        axis: the axis to pack along, by default the contraction axis; -1 for a vector.

    Returns:
        uint8 array: n codes along `axis` become n * bits / 8 bytes, rounded up to whole groups.

    Raises:
        ValueError: if `bits` is not supported, `codes` has no such `axis`, or a code is not a whole
            number of the permitted range.  Values are not tested while tracing: codes out of range
            then come back as others.

    Example:
        >>> pack(np.array([1, -1, 7]), bits=4, axis=-1).tolist()
        [241, 7]
    """
    _check_bits(bits)
    axis = _checked_axis(axis, np.shape(codes), "codes")
    if not isinstance(codes, Tracer):
        _check_codes(np.asarray(codes), bits)
    return _pack(jnp.asarray(codes, jnp.int8), bits, axis)


def unpack(packed: ArrayLike, bits: int, shape: tuple[int, ...], axis: int = -2) -> jax.Array:
    """The integer codes that `pack` packed.

    Args:
        packed: uint8 array from `pack`.
        bits: width of a code, one of 2, 3, 4 and 8.
        shape: shape of the codes; packed bytes do not tell how many codes fill the last group.
        axis: the axis of `shape` that was packed.

    Returns:
        int8 array of the given shape.

    Raises:
        ValueError: if `bits` is not supported, `shape` has no such `axis`, or `packed` is not what
            `pack` makes of codes of this shape.

    Example:
        >>> unpack(np.array([241, 7], np.uint8), bits=4, shape=(3,), axis=-1).tolist()
        [1, -1, 7]
    """
    _check_bits(bits)
    shape = tuple(operator.index(size) for size in shape)
    axis = _checked_axis(axis, shape, "shape")
    packed = jnp.asarray(packed)
    expected = (*shape[:axis], _packed_length(shape[axis], bits), *shape[axis + 1 :])
    if packed.dtype != np.uint8 or packed.shape != expected:
        raise ValueError(
            f"`packed` must be uint8 of shape {expected} for {bits}-bit codes of shape {shape} "
            f"packed along axis {axis}, got {packed.dtype} of shape {packed.shape}; give the bits, "
            "shape and axis of the call of `pack`."
        )
    return _unpack(packed, bits, shape, axis)


def max_contraction(max_abs_x: int, max_abs_w: int, dtype: DTypeLike) -> int:
    """The largest K for which a sum of K products of integers is exact: floor(L / (max|x| max|w|)).

    Float32 sums, also of bfloat16 operands, hold all integers up to L = 2^24, and int32 sums of
    int8 operands up to L = 2^31 - 1.

    Args:
        max_abs_x: bound of the magnitudes of the one operand, an integer of at least 1.  For int8,
            128 stands for the codes -128 ... 127.
        max_abs_w: the same of the other operand.
        dtype: dtype of the operands: float32, bfloat16 or int8.

    Returns:
        The number of terms K; 0 if a single product may exceed L.

    Raises:
        ValueError: if `dtype` is another one, or does not hold all integers up to a bound (256 in
            bfloat16, 128 in int8).

    Example:
        >>> max_contraction(7, 7, jnp.float32)
        342392
    """
    dtype_name = np.dtype(dtype).name
    if dtype_name not in _MAX_OPERAND_AND_SUM:
        raise ValueError(
            f"`dtype` must be float32, bfloat16 or int8, got {dtype_name}; narrower codes are "
            "multiplied in one of these."
        )
    max_operand, max_sum = _MAX_OPERAND_AND_SUM[dtype_name]
    max_abs_x, max_abs_w = operator.index(max_abs_x), operator.index(max_abs_w)
    for argument, bound in (("max_abs_x", max_abs_x), ("max_abs_w", max_abs_w)):
        if not 1 <= bound <= max_operand:
            raise ValueError(
                f"`{argument}` must be in [1, {max_operand}], the integers that {dtype_name} holds "
                f"without gaps, got {bound}; choose a `dtype` that holds these codes."
            )
    return max_sum // (max_abs_x * max_abs_w)


def integer_matmul(
    x: ArrayLike, w: ArrayLike, *, max_abs_x: int, max_abs_w: int, dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """The product x @ w of integer codes, summed without rounding.

    Operands in float32 and bfloat16 are summed in float32, those in int8 in int32.  All return the
    exact integers, hence the same bits, where K max|x| max|w| <= 2^24; beyond, only int8 is
    admitted, whose exact sum is rounded once, to the nearest float32.

    In float32 this differentiates as an ordinary dot; through int8 no gradient flows.

    Args:
        x: integer-valued codes [..., K] of dtype float32, bfloat16 or int8.
        w: integer-valued codes [..., K, N] of any of these dtypes; leading axes broadcast as in
            ``jnp.matmul``.
        max_abs_x: bound of the magnitudes in `x`, which the caller vouches for; a larger code is
            not noticed.
        max_abs_w: the same for `w`.
        dtype: dtype of the operands in the product, float32, bfloat16 or int8; which is fastest
            depends on the back end and the shape.

    Returns:
        [..., N] float32.

    Raises:
        ValueError: if K exceeds `max_contraction`, or the bounds do not fit the dtype.

    Example:
        >>> x, w = np.full((1, 640), 7, np.int8), np.full((640, 1), -7, np.int8)
        >>> integer_matmul(x, w, max_abs_x=7, max_abs_w=7, dtype=jnp.bfloat16).tolist()
        [[-31360.0]]
    """
    longest = max_contraction(max_abs_x, max_abs_w, dtype)
    length = jnp.shape(x)[-1]
    if length > longest:
        raise ValueError(
            f"`x` must have at most {longest} codes along its last axis for exact sums of products "
            f"up to {max_abs_x} * {max_abs_w} in {np.dtype(dtype).name}, got {length}; use "
            "`dtype=jnp.int8` or codes of fewer bits, or add the products of shorter slices."
        )
    return _matmul(jnp.asarray(x), jnp.asarray(w), np.dtype(dtype))


def capabilities() -> dict[str, bool]:
    """Which dtypes of operands multiply integer codes exactly on the present back end.

    Each is tried in a compiled product [8, 4096] x [4096, 8], in the floating dtypes with sums
    close to 2^24.  int4, which `integer_matmul` does without, does not compile on CPUs with
    jax 0.10.2.  May be called while tracing.

    Returns:
        True for each of "float32", "bfloat16", "int8" and "int4" whose product is exact.

    Example:
        >>> capabilities()["int8"]
        True
    """
    return {name: _multiplies_exactly(name, *bounds) for name, bounds in _TRIALS.items()}


def _check_bits(bits: int) -> None:
    if bits not in BITS:
        raise ValueError(f"`bits` must be one of {BITS}, got {bits}.")


def _checked_axis(axis: int, shape: tuple[int, ...], argument: str) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"`axis` must be an axis of `{argument}` with shape {shape}, got {axis}; for a vector "
            "use axis=-1."
        )
    return axis % len(shape)


def _check_codes(codes: np.ndarray, bits: int) -> None:
    if not codes.size:
        return
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    wrong = [value for value in (codes.min(), codes.max()) if not low <= value <= high]
    if not wrong and not jnp.issubdtype(codes.dtype, jnp.integer):
        wrong = codes[codes != np.rint(codes)]
    if len(wrong):
        raise ValueError(
            f"`codes` must be whole numbers in [{low}, {high}] for {bits} bits, got {wrong[0]}; "
            "round and clip them first, or use more bits."
        )


def _packed_length(length: int, bits: int) -> int:
    """Bytes of the smallest number of groups, each lcm(8, bits) bits long, that hold the codes."""
    group = math.lcm(8, bits)
    return -(-length * bits // group) * group // 8


@functools.partial(jax.jit, static_argnames=("bits", "axis"))
def _pack(codes: jax.Array, bits: int, axis: int) -> jax.Array:
    padding = [(0, 0)] * codes.ndim
    length = codes.shape[axis]
    padding[axis] = (0, _packed_length(length, bits) * 8 // bits - length)
    codes = jnp.pad(codes, padding)
    return _regroup(jax.lax.bitcast_convert_type(codes, jnp.uint8), bits, 8, axis)


@functools.partial(jax.jit, static_argnames=("bits", "shape", "axis"))
def _unpack(packed: jax.Array, bits: int, shape: tuple[int, ...], axis: int) -> jax.Array:
    fields = jax.lax.slice_in_dim(_regroup(packed, 8, bits, axis), 0, shape[axis], axis=axis)
    # Moves the sign bit of the code to the top; the arithmetic shift back repeats it.
    return jax.lax.bitcast_convert_type(fields << (8 - bits), jnp.int8) >> (8 - bits)


def _regroup(words: jax.Array, width: int, new_width: int, axis: int) -> jax.Array:
    """Reads the stream of the `width` low bits of uint8 words as words of `new_width` bits."""
    head, length, tail = words.shape[:axis], words.shape[axis], words.shape[axis + 1 :]
    by_bit = (*head, length, width, *tail)
    places = jax.lax.broadcasted_iota(jnp.uint8, by_bit, axis + 1)
    stream = jnp.broadcast_to(jnp.expand_dims(words, axis + 1), by_bit) >> places & 1
    stream = stream.reshape(*head, length * width // new_width, new_width, *tail)
    places = jax.lax.broadcasted_iota(jnp.uint8, stream.shape, axis + 1)
    return jnp.sum(stream << places, axis + 1, dtype=jnp.uint8)


@functools.partial(jax.jit, static_argnames="dtype")
def _matmul(x: jax.Array, w: jax.Array, dtype: np.dtype) -> jax.Array:
    # A GPU multiplies float32 in TF32 by default, which rounds operands beyond 2^11.
    precision = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None
    total = jnp.int32 if jnp.issubdtype(dtype, jnp.integer) else jnp.float32
    product = jnp.matmul(
        x.astype(dtype), w.astype(dtype), precision=precision, preferred_element_type=total
    )
    return product.astype(jnp.float32)


def _multiplies_exactly(dtype_name: str, max_abs_x: int, max_abs_w: int) -> bool:
    generator = np.random.default_rng(0)
    x = generator.integers(-max_abs_x, max_abs_x, (8, 4096), np.int32, endpoint=True)
    w = generator.integers(-max_abs_w, max_abs_w, (4096, 8), np.int32, endpoint=True)
    # Without cancellation the sums become large while their low digits stay random.
    x[:4], w[:, :4] = np.abs(x[:4]), np.abs(w[:, :4])
    x[0], w[:, 0] = max_abs_x, max_abs_w
    expected = (x.astype(np.int64) @ w.astype(np.int64)).astype(np.float32)
    try:
        with jax.ensure_compile_time_eval():
            found = np.asarray(_matmul(jnp.asarray(x), jnp.asarray(w), jnp.dtype(dtype_name)))
    except Exception:  # Tracing, compiling and running fail with errors of many classes.
        return False
    return np.array_equal(found, expected)
