"""Packed codes against a big-integer bit stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer.core import integers

from .integers_cases import code_range, random_codes

GROUPS = {2: (4, 1), 3: (8, 3), 4: (2, 1), 8: (1, 1)}  # bits: (codes, bytes)


def pack_slowly(codes, bits, axis):
    """Writes each line of codes as one Python integer, the first code lowest."""
    codes_per_group, bytes_per_group = GROUPS[bits]

    def pack_line(line):
        number = sum((int(code) % 2**bits) << (bits * i) for i, code in enumerate(line))
        groups = -(-len(line) // codes_per_group)
        return np.frombuffer(number.to_bytes(groups * bytes_per_group, "little"), np.uint8)

    return np.apply_along_axis(pack_line, axis, codes)


@st.composite
def packings(draw):
    """(codes, bits, axis); few sizes, since each new shape is compiled."""
    bits = draw(st.sampled_from(integers.BITS))
    shape = draw(st.sampled_from([(1,), (9,), (8, 3), (2, 5, 3)]))
    axis = draw(st.sampled_from([-len(shape), -1, len(shape) - 1]))
    low, high = code_range(bits)
    size = int(np.prod(shape))
    codes = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
    return np.array(codes, np.int8).reshape(shape), bits, axis


@given(packings())
@settings(max_examples=40)
def test_packing_follows_the_bit_stream_and_round_trips(packing):
    codes, bits, axis = packing
    packed = integers.pack(codes, bits, axis=axis)
    assert packed.dtype == jnp.uint8
    np.testing.assert_array_equal(packed, pack_slowly(codes, bits, axis))
    unpacked = integers.unpack(packed, bits, codes.shape, axis=axis)
    assert unpacked.dtype == jnp.int8
    np.testing.assert_array_equal(unpacked, codes)


@pytest.mark.parametrize("bits", integers.BITS)
def test_every_code_survives_at_every_place_of_a_group(bits):
    low, high = code_range(bits)
    codes_per_group = GROUPS[bits][0]
    every = np.arange(low, high + 1, dtype=np.int8)
    codes = np.stack([np.roll(every, shift) for shift in range(codes_per_group)])
    packed = integers.pack(codes, bits)
    np.testing.assert_array_equal(packed, pack_slowly(codes, bits, 0))
    np.testing.assert_array_equal(integers.unpack(packed, bits, codes.shape), codes)


def test_documented_layout():
    def pack(codes, bits):
        return integers.pack(np.array(codes), bits, axis=-1).tolist()

    assert pack([1, 0, -1, -2], 2) == [0b10_11_00_01]
    assert pack([1, -1], 4) == [0b1111_0001]
    assert pack([1, 2, 3, -4, -3, -2, -1, 0], 3) == list(0o07654321.to_bytes(3, "little"))
    assert pack([-128, -1, 127], 8) == [128, 255, 127]
    assert pack([-1], 3) == [0b111, 0, 0]


@pytest.mark.parametrize(
    ("bits", "length", "count"),
    [(4, 640, 320), (4, 641, 321), (4, 0, 0), (2, 641, 161), (3, 640, 240), (3, 641, 243)],
)
def test_bytes_along_the_contraction_axis(bits, length, count):
    packed = integers.pack(np.zeros((2, length, 3), np.int8), bits)
    assert packed.shape == (2, count, 3)
    assert packed.nbytes == 6 * count
    assert integers.unpack(packed, bits, (2, length, 3)).shape == (2, length, 3)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64, jnp.bfloat16])
@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray])
def test_packs_whole_numbers_of_any_dtype(to_array, dtype, float64):
    codes = random_codes(0, 4, (7, 2))
    packed = integers.pack(to_array(codes.astype(dtype)), 4)
    np.testing.assert_array_equal(packed, integers.pack(codes, 4))


def test_no_codes():
    packed = integers.pack(np.zeros((8, 0), np.int8), 4)
    assert packed.shape == (4, 0)
    assert integers.unpack(packed, 4, (8, 0)).shape == (8, 0)


@pytest.mark.parametrize("bits", integers.BITS)
def test_packing_jits_once_maps_and_holds_no_int4(bits):
    traces = []

    @jax.jit
    def there_and_back(codes):
        traces.append(bits)
        packed = integers.pack(codes, bits)
        return packed, integers.unpack(packed, bits, codes.shape)

    for seed in (0, 1):
        codes = random_codes(seed, bits, (3, 9, 2))
        packed, unpacked = there_and_back(codes)
        np.testing.assert_array_equal(packed, integers.pack(codes, bits))
        np.testing.assert_array_equal(unpacked, codes)
        mapped = jax.vmap(lambda c: integers.pack(c, bits))(codes)
        np.testing.assert_array_equal(mapped, packed)
    assert len(traces) == 1
    assert "int4" not in there_and_back.lower(codes).as_text()
    assert "xi4>" not in there_and_back.lower(codes).as_text()
    assert (packed.dtype, unpacked.dtype) == (jnp.uint8, jnp.int8)


@pytest.mark.parametrize("bits", integers.BITS)
def test_packed_codes_survive_a_file(bits, tmp_path):
    codes = random_codes(0, bits, (9, 5))
    safetensors.numpy.save_file(
        {"w": np.asarray(integers.pack(codes, bits))}, tmp_path / "w.safetensors"
    )
    loaded = safetensors.numpy.load_file(tmp_path / "w.safetensors")["w"]
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(integers.unpack(loaded, bits, codes.shape), codes)


@pytest.mark.parametrize("to_array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("bits", integers.BITS)
def test_refuses_codes_out_of_range(bits, to_array):
    low, high = code_range(bits)
    for wrong in (low - 1, high + 1):
        codes = to_array(np.array([[0], [wrong]], np.int32))
        with pytest.raises(ValueError, match=rf"`codes` .*\[{low}, {high}\].* got {wrong};"):
            integers.pack(codes, bits)


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_refuses_codes_that_are_no_whole_numbers(wrong):
    with pytest.raises(ValueError, match=f"`codes` must be whole numbers .* got {wrong};"):
        integers.pack(np.array([1.0, wrong], np.float32), 4, axis=-1)


def test_refuses_wrong_layouts():
    codes = np.zeros((4, 3), np.int8)
    packed = integers.pack(codes, 4)
    with pytest.raises(ValueError, match=r"`bits` must be one of .* got 5"):
        integers.pack(codes, 5)
    with pytest.raises(ValueError, match=r"`bits` must be one of .* got 16"):
        integers.unpack(packed, 16, (4, 3))
    with pytest.raises(ValueError, match=r"`axis` .* `codes` .* got -2; .* axis=-1"):
        integers.pack(codes[0], 4)
    with pytest.raises(ValueError, match=r"`axis` .* `shape` .* got 2"):
        integers.unpack(packed, 4, (4, 3), axis=2)
    for wrong in (packed[:1], packed.astype(jnp.int8), packed.T):
        with pytest.raises(ValueError, match=r"`packed` must be uint8 of shape \(2, 3\)"):
            integers.unpack(wrong, 4, (4, 3))
