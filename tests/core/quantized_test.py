"""Numbers of codes by hand, dropout, moves of elements, and codes as trees."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.quantized import Quantized, dequantize, map_codes, select, take

from .quantized_cases import W_FORMS, X_FORMS, by_hand, tensor

# Numbers.


@pytest.mark.parametrize("form", W_FORMS)
def test_dequantized_weights(form):
    w = tensor(W_FORMS[form])
    np.testing.assert_array_equal(dequantize(w), by_hand(w))


@pytest.mark.parametrize("dtype", [np.int8, jnp.bfloat16])
def test_numbers_have_the_dtype_of_the_scale(dtype):
    w = tensor(W_FORMS["[1, out]"], dtype=dtype)
    found = dequantize(w)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, by_hand(w))


@pytest.mark.parametrize("form", X_FORMS)
def test_dequantized_activations(form):
    x = tensor(X_FORMS[form])
    np.testing.assert_array_equal(dequantize(x), by_hand(x, activation=True))


def test_dequantized_stacks_of_groups():
    w = tensor(((2, 12, 4), (2, 3, 4)))
    np.testing.assert_array_equal(dequantize(w), by_hand(w))
    each_input = tensor(((12, 4), (12, 4)))
    np.testing.assert_array_equal(dequantize(each_input), each_input.codes * each_input.scale)


def test_arrays_are_numbers_already():
    x = jnp.arange(3, dtype=jnp.bfloat16)
    assert dequantize(x) is x


def test_double_precision_scales_give_double_precision(float64):
    w = Quantized(jnp.asarray([[3.0], [-2.0]], jnp.float32), jnp.asarray(0.1, jnp.float64), 4, 7)
    assert dequantize(w).dtype == jnp.float64
    np.testing.assert_allclose(dequantize(w), [[0.3], [-0.2]], rtol=1e-10)


# Dropout.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int8])
def test_masked_codes_stay_integers(dtype):
    x = tensor(X_FORMS["[rows, in] []"], dtype=dtype)
    keep = np.random.default_rng(3).random((5, 12)) < 0.75
    masked = x.masked(keep, 0.75)
    assert masked.codes.dtype == dtype
    assert (masked.bits, masked.max_abs_code) == (8, 127)
    np.testing.assert_array_equal(masked.codes, np.where(keep, x.codes, 0))
    np.testing.assert_array_equal(masked.scale, x.scale / np.float32(0.75))


@pytest.mark.parametrize("form", ["[rows, in] []", "[rows, in] [groups]", "[rows, in] [1, 1]"])
def test_masked_keeps_the_expectation(form):
    """Over all masks that drop whole thirds of the inputs, each with its probability."""
    x = tensor(X_FORMS[form])
    total = np.zeros(x.shape)
    for thirds in itertools.product((False, True), repeat=3):
        probability = np.prod(np.where(thirds, 0.75, 0.25))
        keep = np.repeat(thirds, 4)[None]
        total += probability * np.asarray(dequantize(x.masked(keep, 0.75)), np.float64)
    np.testing.assert_allclose(total, dequantize(x), rtol=1e-6)


# Moving elements.


def test_codes_move_under_their_scale():
    w = tensor(W_FORMS["[]"])
    found = map_codes(jnp.transpose, w)
    assert (found.bits, found.max_abs_code) == (w.bits, w.max_abs_code)
    np.testing.assert_array_equal(found.codes, np.transpose(w.codes))
    assert found.scale is w.scale
    numbers = dequantize(w)
    np.testing.assert_array_equal(map_codes(jnp.transpose, numbers), np.transpose(numbers))


@pytest.mark.parametrize("scale", [(), (1, 4), (3, 1, 1), (3, 6, 4)])
def test_select(scale):
    stack = tensor(((3, 12, 4), scale))
    found = select(stack, 1)
    assert (found.bits, found.max_abs_code) == (stack.bits, stack.max_abs_code)
    np.testing.assert_array_equal(found.codes, np.asarray(stack.codes)[1])
    numbers = dequantize(stack)
    np.testing.assert_array_equal(dequantize(found), np.asarray(numbers)[1])
    np.testing.assert_array_equal(select(numbers, 1), np.asarray(numbers)[1])


@pytest.mark.parametrize(
    ("shape", "scale", "dtype"),
    [((), (), np.float32), ((3,), (1, 1), np.float32), ((2, 3), (1, 1), np.int8)],
)
def test_take(shape, scale, dtype):
    table = tensor(((7, 4), scale), dtype=dtype)
    indices = np.random.default_rng(4).integers(0, 7, shape)
    found = take(table, indices)
    assert found.codes.dtype == dtype
    assert found.scale.shape == ()
    assert (found.bits, found.max_abs_code) == (table.bits, table.max_abs_code)
    numbers = np.asarray(dequantize(table))[indices]
    np.testing.assert_array_equal(dequantize(found), numbers)
    np.testing.assert_array_equal(take(dequantize(table), indices), numbers)


@pytest.mark.parametrize("scale", [(1, 4), (7, 1)])
def test_rows_with_scales_of_their_own_are_refused(scale):
    with pytest.raises(ValueError, match=r"`weight` must have one scale .*tensor or matrix"):
        take(tensor(((7, 4), scale)), jnp.arange(3))


# Trees.


def test_is_a_tree_of_codes_and_scale():
    w = tensor(W_FORMS["[1, out]"], levels=7)
    leaves, structure = jax.tree.flatten(w)
    assert leaves[0] is w.codes
    assert leaves[1] is w.scale
    again = jax.tree.unflatten(structure, leaves)
    assert again.codes is w.codes
    assert again.scale is w.scale
    for found in (jax.tree.map(lambda leaf: 2 * leaf, w), jax.jit(lambda w: w)(w)):
        assert isinstance(found, Quantized)
        assert (found.bits, found.max_abs_code) == (4, 7)
    assert structure != jax.tree.structure(tensor(W_FORMS["[1, out]"]))
    shapes = jax.eval_shape(lambda: tensor(W_FORMS["[1, out]"]))
    assert (shapes.shape, shapes.ndim, shapes.scale.shape) == ((12, 4), 2, (1, 4))


def test_replace_keeps_the_rest():
    w = tensor(W_FORMS["[1, out]"], levels=7)
    codes, scale = jnp.zeros((2, 4)), jnp.ones([])
    for found, kept in ((w.replace(codes), w.scale), (w.replace(codes, scale), scale)):
        assert found.codes is codes
        assert found.scale is kept
        assert (found.bits, found.max_abs_code) == (4, 7)
