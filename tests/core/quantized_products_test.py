"""Products of codes against integers in numpy, bit for bit where the arithmetic is exact.

Where scales are powers of two and all else small integers, float products do not round either, so
that both ways of multiplying must give the same bits.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import blocks, quantizers
from gossamer.core.quantized import Quantized, dequantize, matmul, take

from .quantized_cases import W_FORMS, X_FORMS, by_hand, pair, tensor

INPUTS, OUTPUTS, GROUPS = 12, 4, 3
FORMS = [  # what `matmul` takes: groups of several matrices are refused
    (x, w) for x, w in itertools.product(X_FORMS, W_FORMS) if not ("groups" in x and "stack" in w)
]


def as_int8(quantized):
    return quantized.replace(quantized.codes.astype(jnp.int8))


def own_slice(tree, learner):
    return jax.tree.map(lambda leaf: leaf[learner], tree)


def terms(x, w):
    """The products of each group, (codes . codes) * (scale * scale), rounded to float32 twice."""
    codes_x, codes_w = (np.asarray(t.codes).astype(np.int64) for t in (x, w))
    scale_x, scale_w = np.asarray(x.scale), np.asarray(w.scale)
    groups = GROUPS if scale_x.ndim == 1 or scale_w.shape == (GROUPS, OUTPUTS) else 1
    found = []
    for group in range(groups):
        part = np.s_[group * INPUTS // groups : (group + 1) * INPUTS // groups]
        sums = np.atleast_2d(codes_x)[..., part] @ codes_w[..., part, :]
        of_x = scale_x[group] if scale_x.ndim == 1 else scale_x
        of_w = scale_w[[group]] if scale_w.shape == (GROUPS, OUTPUTS) else scale_w
        term = sums.astype(np.float32) * (of_x * of_w)
        assert term.dtype == np.float32
        found.append(term[..., 0, :] if x.ndim == 1 else term)
    return found


def assert_trees_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# Products.


@functools.cache
def products(x_form):
    """All products of one form of activations, in one program, which compiles faster."""
    pairs = {w: pair(x_form, w) for x, w in FORMS if x == x_form}
    return pairs, multiply_all(pairs)


@jax.jit
def multiply_all(pairs):
    return {form: matmul(*both) for form, both in pairs.items()}


@pytest.mark.parametrize(("x_form", "w_form"), FORMS)
def test_product_is_the_scaled_sum_of_integers(x_form, w_form):
    pairs, results = products(x_form)
    found, expected = results[w_form], terms(*pairs[w_form])
    assert found.dtype == jnp.float32
    assert found.shape == expected[0].shape
    if len(expected) == 1:
        np.testing.assert_array_equal(found, expected[0])
    else:
        # Two sums of three terms that cancel: off by two units of 2^-24 of their magnitudes.
        exact = sum(term.astype(np.float64) for term in expected)
        assert np.all(np.abs(found - exact) <= 1e-6 * sum(map(np.abs, expected)))


@pytest.mark.parametrize("x_form", ["[rows, in] []", "[rows, in] [groups]"])
def test_deployed_codes_have_the_same_products(x_form):
    pairs, expected = products(x_form)
    found = multiply_all({form: tuple(map(as_int8, both)) for form, both in pairs.items()})
    assert_trees_equal(found, expected)


@pytest.mark.parametrize(
    ("x_form", "w_form"),
    [
        ("[rows, in] []", "[]"),
        ("[rows, in] [1, 1]", "[1, out]"),
        ("[3, rows, in] [3, 1, 1]", "[groups, out]"),
        ("[2, 3, rows, in] [2, 3, 1, 1]", "stack [3, 1, out]"),
        ("[rows, in] [groups]", "[1, 1]"),
        ("[rows, in] [groups]", "[groups, out]"),
        ("[in] []", "stack [3, 1, 1]"),
    ],
)
def test_product_and_gradients_are_those_of_the_dequantized_float_product(x_form, w_form):
    x, w = pair(x_form, w_form, levels=7, dyadic=True)
    generator = np.random.default_rng(2)
    cotangent = generator.integers(-7, 7, terms(x, w)[0].shape, endpoint=True).astype(np.float32)

    def in_float(x, w):
        return jnp.matmul(dequantize(x), dequantize(w))

    @jax.jit
    def both(x, w):
        found, expected = (jax.vjp(product, x, w) for product in (matmul, in_float))
        return tuple((value, pull_back(cotangent)) for value, pull_back in (found, expected))

    found, expected = both(x, w)
    assert_trees_equal(found, expected)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("of_weight", "shape"),
    [(blocks.gates(2), (2,)), (blocks.groups(4), (3, 4))],
    ids=["gate", "group"],
)
def test_training_through_codes_has_the_gradients_of_fake_quantization(of_weight, shape):
    quantizer_x, quantizer_w = quantizers.lsq(4), quantizers.lsq(4, of_weight)
    generator = np.random.default_rng(0)
    x, w = (generator.integers(-40, 40, s).astype(np.float32) / 16 for s in ((5, 12), (12, 4)))
    steps = np.exp2(generator.integers(-3, 0, shape)).astype(np.float32)  # some codes saturate
    params = {"step_size": jnp.asarray(0.25)}, {"step_size": jnp.asarray(steps)}
    cotangent = generator.integers(-7, 7, (5, 4), endpoint=True).astype(np.float32)

    @jax.jit
    def both(*arguments):
        def in_codes(params, x, w):
            codes = quantizer_x.codes(params[0], x), quantizer_w.codes(params[1], w)
            return jnp.sum(matmul(*codes) * cotangent)

        def in_float(params, x, w):
            numbers = quantizer_x.apply(params[0], x), quantizer_w.apply(params[1], w)
            return jnp.sum(jnp.matmul(*numbers) * cotangent)

        return tuple(
            jax.value_and_grad(loss, argnums=(0, 1, 2))(*arguments) for loss in (in_codes, in_float)
        )

    found, expected = both(params, x, w)
    assert_trees_equal(found, expected)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("which", ["x", "w"])
def test_one_operand_in_float_meets_the_numbers_of_the_other(which):
    x, w = pair("[rows, in] [groups]", "[1, out]", levels=7, dyadic=True)
    numbers_x, numbers_w = by_hand(x, activation=True), by_hand(w)
    expected = numbers_x.astype(np.float64) @ numbers_w
    found = matmul(x, numbers_w) if which == "x" else matmul(jnp.asarray(numbers_x), w)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_two_arrays_meet_as_ever(dtype):
    generator = np.random.default_rng(0)
    x, w = (jnp.asarray(generator.standard_normal(shape), dtype) for shape in ((5, 12), (12, 4)))
    found = matmul(x, w, name="kernel")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, jnp.matmul(x, w))


@pytest.mark.parametrize("groups", [1, 2])
def test_long_sums_of_wide_codes_are_added_from_exact_ones(groups):
    """Sums of 3,000 products of 8-bit codes reach 2^25, beyond what float32 holds exactly."""
    generator = np.random.default_rng(0)
    codes_x = generator.integers(90, 128, (3, 3000)).astype(np.float32)
    codes_w = generator.integers(90, 128, (3000, 2)).astype(np.float32)
    x = Quantized(jnp.asarray(codes_x), jnp.ones([]), 8, 128)
    weight = Quantized(jnp.asarray(codes_w), jnp.ones((groups, 2)), 8, 128)
    deployed = (tensor.replace(jnp.asarray(tensor.codes, jnp.int8)) for tensor in (x, weight))
    found = matmul(x, weight)
    exact = codes_x.astype(np.int64) @ codes_w.astype(np.int64)
    assert exact.min() > 2**24
    # Three partial sums: two roundings, each by half a unit in the last place.
    np.testing.assert_allclose(found, exact, rtol=2 * 2.0**-24)
    np.testing.assert_array_equal(found, jax.jit(matmul)(x, weight))
    np.testing.assert_array_equal(found, matmul(*deployed))


@pytest.mark.parametrize("x_form", [form for form in X_FORMS if "groups" in form])
@pytest.mark.parametrize("w_form", [form for form in W_FORMS if "stack" in form])
def test_groups_of_stacked_weights_are_refused(x_form, w_form):
    with pytest.raises(ValueError, match=r"`weight` must be one matrix .* \(3, 12, 4\).*jax.vmap"):
        matmul(*pair(x_form, w_form))


@pytest.mark.usefixtures("optimized_code")
def test_eager_compiled_and_mapped_products_have_the_same_bits():
    """With a leading axis of learners, for each of whom the scales are [] and [1, out]."""
    x, w = tensor(((3, 5, 12), (3,))), tensor(((3, 12, 4), (3, 1, 4)), seed=1)
    mapped = jax.jit(jax.vmap(matmul))(x, w)
    for learner in range(3):
        own = own_slice((x, w), learner)
        np.testing.assert_array_equal(matmul(*own), mapped[learner])
        np.testing.assert_array_equal(jax.jit(matmul)(*own), mapped[learner])


def test_gradients_map_over_learners():
    x = tensor(((3, 5, 12), (3,)), levels=7, dyadic=True)
    w = tensor(((3, 12, 4), (3, 3, 4)), seed=1, levels=7, dyadic=True)
    gradient = jax.jit(jax.value_and_grad(lambda x, w: jnp.sum(matmul(x, w)), argnums=(0, 1)))
    mapped = jax.vmap(gradient)(x, w)
    for learner in range(3):
        assert_trees_equal(own_slice(mapped, learner), gradient(*own_slice((x, w), learner)))


def test_compiles_once():
    traces = []

    @jax.jit
    def product(x, w):
        traces.append(x)
        return matmul(x, w)

    for seed in range(3):
        product(tensor(X_FORMS["[rows, in] []"], seed=seed), tensor(W_FORMS["[1, out]"], seed=seed))
    assert len(traces) == 1


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12)])
def test_bfloat16_weights_round_both_factors_and_sum_in_float32(shape, key):
    x = jax.random.normal(key, shape)
    weight = jax.random.normal(jax.random.fold_in(key, 1), (12, 4))
    out = jax.random.normal(jax.random.fold_in(key, 2), (*shape[:-1], 4))

    def value(x, weight):
        product = matmul(x, weight.astype(jnp.bfloat16))
        assert product.dtype == jnp.float32
        return jnp.vdot(product, out), product

    (_, product), gradients = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(x, weight)
    rounded_x, rounded_weight, rounded_out = (
        np.asarray(array.astype(jnp.bfloat16), np.float64) for array in (x, weight, out)
    )
    np.testing.assert_allclose(product, rounded_x @ rounded_weight, rtol=1e-5, atol=1e-5)
    assert [gradient.dtype for gradient in gradients] == [jnp.float32] * 2
    np.testing.assert_allclose(gradients[0], rounded_out @ rounded_weight.T, rtol=0.01, atol=0.01)
    expected = rounded_x.reshape(-1, 12).T @ rounded_out.reshape(-1, 4)
    np.testing.assert_allclose(gradients[1], expected, rtol=0.02, atol=0.03)


def test_codes_meet_bfloat16_weights(key):
    x = tensor(X_FORMS["[rows, in] []"])
    weight = jax.random.normal(key, (12, 4)).astype(jnp.bfloat16)
    expected = np.asarray(dequantize(x).astype(jnp.bfloat16), np.float32) @ np.asarray(
        weight, np.float32
    )
    np.testing.assert_allclose(matmul(x, weight), expected, rtol=1e-5, atol=1e-5)


# The scopes that `audit` reads.


def scopes(function, *arguments):
    jaxpr = jax.make_jaxpr(function)(*arguments)
    return {str(equation.source_info.name_stack) for equation in jaxpr.eqns}


@pytest.mark.parametrize(("bits_w", "bits_x"), [(8, 4), (8, 32), (32, 4), (32, 32)])
def test_products_are_named(bits_w, bits_x):
    x, w = tensor(((5, 12), ()), levels=7), tensor(((12, 4), (1, 4)))
    x, w = dequantize(x) if bits_x == 32 else x, dequantize(w) if bits_w == 32 else w
    found = scopes(lambda x, w: matmul(x, w, name="encoder_1/kernel"), x, w)
    assert found == {f"quantized[encoder_1.kernel|w{bits_w}|x{bits_x}]"}


def test_grouped_products_and_lookups_are_named():
    x, w = pair("[rows, in] [groups]", "[groups, out]")
    assert scopes(lambda x, w: matmul(x, w, name="a/b/c"), x, w) == {"quantized[a.b.c|w8|x8]"}
    assert scopes(matmul, x, w) == {"quantized[|w8|x8]"}
    table = tensor(((7, 4), (1, 1)), levels=7)
    found = scopes(lambda table, i: take(table, i, name="embedding"), table, jnp.arange(3))
    assert found == {"quantized[embedding|w4|x0]"}
