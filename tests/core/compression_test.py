"""Bytes of trees of codes against the arrays that `pack` gives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import integers
from gossamer.core.blocks import CHANNEL, gates
from gossamer.core.compression import compression_report, table
from gossamer.core.quantization import deploy
from gossamer.core.quantized import Quantized
from gossamer.core.quantizers import max_abs, sawb_plus


@pytest.mark.parametrize(
    ("bits", "shape"),
    [(bits, (5, 3)) for bits in range(2, 9)] + [(3, (7,)), (4, (64, 8)), (4, (2, 9, 4))],
)
def test_bytes_are_those_of_pack(bits, shape):
    quantizer = max_abs(bits)
    codes = jax.eval_shape(lambda: deploy({"w": quantizer.codes({}, jnp.ones(shape))}))
    (found,) = compression_report(codes).tensors
    width = {5: 8, 6: 8, 7: 8}.get(bits, bits)
    packed = integers.pack(np.ones(shape, np.int8), width, axis=-1 if len(shape) == 1 else -2)
    assert found.packed_bytes == packed.nbytes + 4
    assert (found.bits, found.float_bytes, found.shape) == (width, 4 * math.prod(shape), shape)


def test_every_element_of_a_scale_counts():
    codes = jax.eval_shape(lambda: sawb_plus(4, CHANNEL).codes({}, jnp.ones((64, 8))))
    report = compression_report([codes, jnp.ones((3,)), jax.ShapeDtypeStruct((), jnp.float32)])
    assert [tensor.path for tensor in report.tensors] == ["0", "1", "2"]
    assert [tensor.packed_bytes for tensor in report.tensors] == [32 * 8 + 4 * 8, 12, 4]
    assert (report.float_bytes, report.packed_bytes) == (4 * 64 * 8 + 16, 288 + 16)
    assert report.ratio == report.float_bytes / report.packed_bytes


def test_a_matrix_is_almost_eight_times_smaller():
    codes = jax.eval_shape(lambda: sawb_plus(4, gates(4)).codes({}, jnp.ones((256, 64))))
    assert compression_report(codes).ratio == 4 * 256 / (256 / 2 + 4)  # 7.76


def test_codes_beyond_the_range_of_their_bits_take_more():
    codes = np.array([[15], [0], [3]])  # of asymmetric clips, in 4 bits without a sign
    (found,) = compression_report(Quantized(codes, np.ones(()), 4, 15)).tensors
    assert (found.bits, found.packed_bytes) == (8, integers.pack(codes, 8).nbytes + 4)
    with pytest.raises(ValueError, match="`w` must have codes that fit 8 bits, got 255"):
        compression_report({"w": Quantized(codes, np.ones(()), 8, 255)})


# Text.


def test_table_of_a_compression():
    kernel = Quantized(np.zeros((64, 32), np.int8), np.ones(()), 4, 7)
    codes = {"kernel": kernel, "bias": jnp.ones((32,))}
    assert table(compression_report(codes)).splitlines() == [
        "path    shape     bits  float32  packed  ratio",
        "bias    (32,)       32      128     128   1.00",
        "kernel  (64, 32)     4    8,192   1,028   7.97",
        "total                     8,320   1,156   7.20",
    ]
