"""Blocks against explicit loops over the elements of a tensor."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import blocks
from gossamer.core.blocks import Blocks

KINDS = {
    "tensor": blocks.TENSOR,
    "matrix": blocks.MATRIX,
    "gate": blocks.gates(4),
    "channel": blocks.CHANNEL,
    "group": blocks.groups(3),
    "filter": blocks.FILTER,
}
SHAPES = ((6, 8), (2, 6, 8), (3, 2, 6, 8))
NUM_BLOCKS = {
    "tensor": (),
    "matrix": (),
    "gate": (4,),
    "channel": (8,),
    "group": (2, 8),
    "filter": (8,),
}


def block_of(kind, index):
    """The number of the block, an index of one value a block, to which an element belongs."""
    *matrix, row, column = index
    return {
        "tensor": (),
        "matrix": (*matrix,),
        "gate": (*matrix, column // 2),
        "channel": (*matrix, column),
        "group": (*matrix, row // 3, column),
        "filter": (column,),
    }[kind]


def per_block_shape(kind, shape):
    leading = () if kind in ("tensor", "filter") else shape[:-2]
    return leading + NUM_BLOCKS[kind]


def random_array(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_reduces_each_block_alone(kind, shape):
    x = random_array(0, shape)
    expected = np.full(per_block_shape(kind, shape), -np.inf, np.float32)
    for index in np.ndindex(shape):
        block = block_of(kind, index)
        expected[block] = max(expected[block], x[index])
    split = KINDS[kind].split(jnp.asarray(x))
    largest = jnp.max(split, axis=KINDS[kind].axes(split.ndim), keepdims=True)
    np.testing.assert_array_equal(split.reshape(shape), x)
    np.testing.assert_array_equal(KINDS[kind].squeeze(largest), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_unsqueezed_values_meet_the_elements_of_their_block(kind, shape):
    x, values = random_array(0, shape), random_array(1, per_block_shape(kind, shape))
    expected = np.empty_like(x)
    for index in np.ndindex(shape):
        expected[index] = x[index] * values[block_of(kind, index)]
    split = KINDS[kind].split(jnp.asarray(x))
    unsqueezed = KINDS[kind].unsqueeze(jnp.asarray(values), split.ndim)
    product = split * unsqueezed  # Ranks must agree, see conftest.
    np.testing.assert_array_equal(product.reshape(shape), expected)
    if kind != "tensor":
        np.testing.assert_array_equal(KINDS[kind].squeeze(unsqueezed), values)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_expanded_scales_have_the_documented_shape_and_values(kind, shape):
    values = random_array(0, per_block_shape(kind, shape))
    split = KINDS[kind].split(jnp.zeros(shape))
    scale = KINDS[kind].unsqueeze(jnp.asarray(values), split.ndim)
    expanded = np.asarray(KINDS[kind].expand(scale, shape))
    *leading, inputs, outputs = shape
    assert (
        expanded.shape
        == {
            "tensor": (),
            "matrix": (*leading, 1, 1),
            "gate": (*leading, 1, outputs),
            "channel": (*leading, 1, outputs),
            "group": (*leading, inputs // 3, outputs),
            "filter": (*[1] * len(leading), 1, outputs),
        }[kind]
    )
    if kind == "group":
        expanded = np.repeat(expanded, 3, axis=-2)
    wide = np.broadcast_to(expanded, shape)
    for index in np.ndindex(shape):
        assert wide[index] == values[block_of(kind, index)]


@pytest.mark.parametrize("kind", KINDS)
def test_one_scale_for_all_blocks_stays_one(kind):
    assert KINDS[kind].expand(jnp.float32(2.0), (2, 6, 8)).shape == ()
    kept = jnp.full((1,) * 3, 2.0)  # what a reduction of a whole tensor keeps
    assert blocks.TENSOR.expand(kept, (2, 6, 8)).shape == ()


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5)])
def test_tensors_of_any_rank_are_one_block(shape):
    x = jnp.asarray(random_array(0, shape))
    axes = blocks.TENSOR.axes(x.ndim)
    assert blocks.TENSOR.split(x) is x
    assert blocks.TENSOR.squeeze(jnp.max(x, axis=axes, keepdims=True)).shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_splits_shapes_while_tracing_and_under_vmap(kind):
    x = jnp.asarray(random_array(0, (2, 6, 8)))
    mapped = jax.vmap(KINDS[kind].split)(x)
    for matrix, split in zip(x, mapped, strict=True):
        np.testing.assert_array_equal(split, KINDS[kind].split(matrix))
    traced = jax.eval_shape(KINDS[kind].split, jax.ShapeDtypeStruct((2, 6, 8), jnp.bfloat16))
    assert traced.shape == KINDS[kind].split(x).shape
    assert traced.dtype == jnp.bfloat16


def test_kinds_are_values():
    for one, other in itertools.combinations(KINDS.values(), 2):
        assert one != other
    assert blocks.gates(4) == Blocks("gate", 4)
    assert hash(blocks.groups(3)) == hash(Blocks("group", 3))
    assert blocks.gates() == blocks.gates(4)


@pytest.mark.parametrize("kind", ["matrix", "gate", "channel", "group"])
def test_refuses_tensors_without_matrices(kind):
    with pytest.raises(ValueError, match=rf"`blocks` of kind '{kind}' need .* got shape \(8,\)"):
        KINDS[kind].split(jnp.zeros(8))


def test_refuses_sizes_that_do_not_divide():
    with pytest.raises(ValueError, match="'gate' and size 4 must divide the 6 outputs"):
        blocks.gates(4).split(jnp.zeros((8, 6)))
    with pytest.raises(ValueError, match="'group' and size 4 must divide the 6 inputs"):
        blocks.groups(4).split(jnp.zeros((6, 8)))


def test_refuses_unknown_kinds():
    with pytest.raises(ValueError, match=r"`kind` must be one of .*'gate'.* got 'row'"):
        Blocks("row")


@pytest.mark.parametrize(
    ("kind", "size"),
    [("gate", 0), ("group", 0), ("gate", -1), ("tensor", 1), ("tensor", -1), ("channel", 4)],
)
def test_refuses_sizes_that_a_kind_does_not_have(kind, size):
    with pytest.raises(ValueError, match=f"`size` must be positive .* got {size} for '{kind}'"):
        Blocks(kind, size)
