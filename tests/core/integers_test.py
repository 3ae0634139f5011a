"""Products of integers against 64-bit integer arithmetic, and what a back end can do."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import integers

from .integers_cases import code_range, random_codes

DTYPES = (jnp.float32, jnp.bfloat16, jnp.int8)


def multiply(x, w):
    return np.matmul(np.asarray(x).astype(np.int64), np.asarray(w).astype(np.int64))


@pytest.mark.parametrize(
    ("bounds", "dtype", "longest"),
    [
        ((7, 7), jnp.float32, 342_392),
        ((8, 8), jnp.float32, 262_144),
        ((15, 7), jnp.float32, 159_783),
        ((7, 7), jnp.bfloat16, 342_392),
        ((256, 256), jnp.bfloat16, 256),
        ((2**13, 2**12), jnp.float32, 0),
        ((127, 127), jnp.int8, 133_144),
        ((128, 128), jnp.int8, 131_071),
        ((1, 1), "int8", 2**31 - 1),
    ],
)
def test_longest_exact_contraction(bounds, dtype, longest):
    assert integers.max_contraction(*bounds, dtype) == longest


@pytest.mark.parametrize(
    ("bounds", "dtype", "message"),
    [
        ((7, 257), jnp.bfloat16, r"`max_abs_w` must be in \[1, 256\].* bfloat16 .* got 257"),
        ((129, 7), jnp.int8, r"`max_abs_x` must be in \[1, 128\].* int8 .* got 129"),
        ((0, 7), jnp.float32, r"`max_abs_x` must be in \[1, 16777216\].* got 0"),
        ((7, 7), jnp.int4, r"`dtype` must be float32, bfloat16 or int8, got int4"),
        ((7, 7), jnp.float16, r"`dtype` must be float32, bfloat16 or int8, got float16"),
    ],
)
def test_refuses_bounds_that_a_dtype_does_not_hold(bounds, dtype, message):
    with pytest.raises(ValueError, match=message):
        integers.max_contraction(*bounds, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_products_are_exact(bits, dtype):
    x, w = random_codes(0, bits, (5, 1024)), random_codes(1, bits, (1024, 6))
    # Without cancellation the sums are longest, and odd.
    x[0], w[:, 0] = code_range(bits)[1], code_range(bits)[0]
    x[1], w[:, 1] = code_range(bits)[1], code_range(bits)[1]
    bound = 2 ** (bits - 1)
    found = integers.integer_matmul(x, w, max_abs_x=bound, max_abs_w=bound, dtype=dtype)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, multiply(x, w))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", [(64, 64), (127, 32), (7, 7)])
def test_products_are_exact_up_to_the_bound(bounds, dtype):
    # K = 4096 terms reach 2^24 with (64, 64), and odd numbers just below it with (127, 32).
    x = np.full((2, 4096), bounds[0], np.int8)
    w = np.full((4096, 3), bounds[1], np.int8)
    x[1, ::3] *= -1
    w[0, 1] -= 1
    w[1:, 2] -= np.random.default_rng(0).integers(0, 4, 4095, np.int8)
    found = integers.integer_matmul(x, w, max_abs_x=bounds[0], max_abs_w=bounds[1], dtype=dtype)
    np.testing.assert_array_equal(found, multiply(x, w))
    if bounds == (64, 64):
        assert found[0, 0] == 2**24


def test_float32_products_of_wide_codes_are_exact():
    # 12-bit operands, more digits than bfloat16 or TF32 hold.
    x = np.random.default_rng(0).integers(-4095, 4095, (3, 4096), endpoint=True).astype(np.float32)
    w = np.random.default_rng(1).integers(-1, 1, (4096, 2), endpoint=True).astype(np.float32)
    x[0], w[:, 0] = 4095, 1
    found = integers.integer_matmul(x, w, max_abs_x=4095, max_abs_w=1)
    np.testing.assert_array_equal(found, multiply(x, w))
    jaxpr = jax.make_jaxpr(lambda x: integers.integer_matmul(x, w, max_abs_x=4095, max_abs_w=1))(x)
    assert "HIGHEST" in str(jaxpr)


def test_bfloat16_and_int8_reach_the_ends_of_their_ranges():
    x = np.array([[256, -256, 255, 129]], np.float32)
    found = integers.integer_matmul(x, x.T, max_abs_x=256, max_abs_w=256, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(found, multiply(x, x.T))
    # Beyond 2^24 the exact int32 sum is rounded once.
    x = random_codes(0, 8, (4, 4096))
    x[0] = -128
    found = integers.integer_matmul(x, x.T, max_abs_x=128, max_abs_w=128, dtype=jnp.int8)
    assert found[0, 0] == 2**26
    np.testing.assert_array_equal(found, multiply(x, x.T).astype(np.float32))


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [*itertools.pairwise((*DTYPES, DTYPES[0]))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_of_any_dtype(x_dtype, w_dtype, dtype):
    x, w = random_codes(0, 4, (3, 9)), random_codes(1, 4, (9, 2))
    found = integers.integer_matmul(
        jnp.asarray(x, x_dtype), jnp.asarray(w, w_dtype), max_abs_x=8, max_abs_w=8, dtype=dtype
    )
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, multiply(x, w))


@pytest.mark.parametrize(
    ("x_shape", "w_shape"),
    [((9,), (9, 2)), ((2, 3, 9), (9, 2)), ((3, 9), (4, 9, 2)), ((2, 1, 3, 9), (4, 9, 2))],
)
def test_leading_axes_broadcast(x_shape, w_shape):
    x, w = random_codes(0, 4, x_shape), random_codes(1, 4, w_shape)
    found = integers.integer_matmul(x, w, max_abs_x=8, max_abs_w=8)
    np.testing.assert_array_equal(found, multiply(x, w))


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_jit_once_and_map(dtype):
    traces = []

    @jax.jit
    def run(x, w):
        traces.append(dtype)
        return integers.integer_matmul(x, w, max_abs_x=8, max_abs_w=8, dtype=dtype)

    for seed in (0, 1):
        x, w = random_codes(seed, 4, (3, 9)), random_codes(seed, 4, (9, 2))
        np.testing.assert_array_equal(run(x, w), multiply(x, w))
    assert len(traces) == 1
    mapped = jax.vmap(run, in_axes=(0, None))(np.stack([x, -x // 2]), w)
    np.testing.assert_array_equal(mapped[0], multiply(x, w))


def test_gradients_in_float32_are_those_of_a_dot():
    generator = np.random.default_rng(0)
    x, w, cotangent = (
        generator.standard_normal(shape, np.float32) for shape in ((3, 9), (9, 2), (3, 2))
    )

    def product(x, w, dtype=jnp.float32):
        return integers.integer_matmul(x, w, max_abs_x=8, max_abs_w=8, dtype=dtype)

    x_gradient, w_gradient = jax.vjp(product, x, w)[1](cotangent)
    np.testing.assert_allclose(x_gradient, cotangent @ w.T, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(w_gradient, x.T @ cotangent, rtol=1e-6, atol=1e-6)
    assert not jax.grad(lambda x: product(x, w, jnp.int8).sum())(x).any()


def test_refuses_contractions_that_may_round():
    def product(length, dtype, bound):
        x = jax.ShapeDtypeStruct((1, length), jnp.int8)
        w = jax.ShapeDtypeStruct((length, 1), jnp.int8)
        return jax.eval_shape(
            lambda x, w: integers.integer_matmul(
                x, w, max_abs_x=bound, max_abs_w=bound, dtype=dtype
            ),
            x,
            w,
        )

    for dtype, bound, longest in [
        (jnp.float32, 7, 342_392),
        (jnp.bfloat16, 8, 262_144),
        (jnp.int8, 128, 131_071),
    ]:
        assert product(longest, dtype, bound).shape == (1, 1)
        with pytest.raises(
            ValueError, match=rf"`x` must have at most {longest} .* got {longest + 1}"
        ):
            product(longest + 1, dtype, bound)


def test_capabilities_on_this_back_end():
    found = integers.capabilities()
    assert list(found) == ["float32", "bfloat16", "int8", "int4"]
    assert found["float32"]
    assert found["bfloat16"]
    assert found["int8"]

    inside = []
    jax.jit(lambda x: (inside.append(integers.capabilities()), x)[1])(1.0)
    assert inside == [found]


def test_a_rounding_product_is_no_capability(monkeypatch):
    def rounding_matmul(x, w, dtype):
        return jnp.matmul(x.astype(jnp.float16), w.astype(jnp.float16)).astype(jnp.float32)

    monkeypatch.setattr(integers, "_matmul", rounding_matmul)
    assert not any(integers.capabilities().values())
