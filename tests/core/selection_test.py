"""Chunks against their definition, one element at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import selection

largest_in_chunks = jax.jit(selection.largest_in_chunks, static_argnums=1)
positions = jax.jit(selection.positions, static_argnums=(1, 2))


def chunks(size, chunk):
    """The positions of each chunk, as the module defines them."""
    whole = size // chunk
    found = [np.arange(c, chunk * whole, whole) for c in range(whole)]
    return found + [np.arange(chunk * whole, size)] * (size > chunk * whole)


@pytest.mark.parametrize(
    ("size", "chunk"),
    [
        (1, 128),
        (5, 1),
        (5, 2),
        (64, 128),
        (1001, 7),
        (1001, 92),
        (4096, 128),
        (4096, 256),
        (999, 257),
    ],
)
def test_largest_of_each_chunk(size, chunk):
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    offsets = largest_in_chunks(jnp.asarray(x), chunk)
    found = np.asarray(positions(offsets, size, chunk))
    expected = [c[np.argmax(np.abs(x[c]))] for c in chunks(size, chunk)]
    assert offsets.dtype == (np.uint8 if chunk <= 256 else np.uint16)
    assert len(found) == selection.num_chunks(size, chunk) == len(expected)
    # No two magnitudes here are within C 2^-23 of each other.
    np.testing.assert_array_equal(found, expected)


def test_magnitudes_that_differ_in_their_last_bits_count_as_equal():
    chunk = 128
    x = np.full(chunk, 1.0, np.float32)
    x[5] += chunk * 2.0**-23  # One unit of the bits that are kept.
    assert largest_in_chunks(jnp.asarray(x), chunk)[0] == 5
    x[5] = 1.0 + (chunk - 1) * 2.0**-23
    (found,) = largest_in_chunks(jnp.asarray(x), chunk)
    assert x[found] >= x[5] * (1 - chunk * 2.0**-23)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float64])
def test_other_dtypes_and_shapes(dtype, float64):
    x = jnp.asarray([[0.0, -3.0, 1.0], [2.0, 0.5, -4.0]], dtype)
    found = positions(largest_in_chunks(x, 3), 6, 3)
    assert found.tolist() == [2, 5]  # Of 0, 1, 0.5 and of -3, 2, -4.


def test_a_chunk_with_nan_or_infinity_shows_it():
    x = jnp.ones(8).at[3].set(jnp.nan).at[4].set(jnp.inf)
    found = positions(largest_in_chunks(x, 4), 8, 4)
    assert found.tolist() == [4, 3]


def test_random_offsets_stay_in_their_chunks(key):
    size, chunk = 1003, 10
    draw = jax.vmap(lambda key: selection.random_in_chunks(key, size, chunk))
    drawn = np.asarray(selection.positions(draw(jax.random.split(key, 400)), size, chunk))
    for column, members in zip(drawn.T, chunks(size, chunk), strict=True):
        assert set(column) == set(members)  # An absentee has odds of 0.9^400.


def test_the_largest_of_all(key):
    x = jax.random.normal(key, (30, 40))
    order = np.argsort(-np.abs(np.asarray(x).reshape(-1)))
    assert set(selection.largest(x, 50).tolist()) == set(order[:50].tolist())


@pytest.mark.parametrize("chunk", [0, -1, 70_000])
def test_refuses_chunks_out_of_range(chunk):
    with pytest.raises(ValueError, match=f"`chunk` must be from 1 to 65536, got {chunk}"):
        selection.largest_in_chunks(jnp.ones(4), chunk)


@pytest.mark.parametrize("kind", [selection.CHUNKWISE, selection.SORTED])
@pytest.mark.parametrize(("size", "rate"), [(1, 2.0), (1000, 7.6), (1000, 400.0), (10, 99.0)])
def test_counts_are_what_is_chosen(kind, size, rate, key):
    x = jax.random.normal(key, (size,))
    names = jax.jit(kind.choose, static_argnums=1)(x, rate)
    assert names.shape == (kind.count(size, rate),)
    assert kind.index_bytes(rate) == names.dtype.itemsize
    where = np.asarray(jax.jit(kind.locate, static_argnums=(1, 2))(names, size, rate))
    assert len(set(where.tolist())) == len(where)
    assert where.min() >= 0
    assert where.max() < size
