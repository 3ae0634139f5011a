"""Audits of small programs against counts by hand."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from gossamer.core.audit import Product, audit, float_share, site_of, table
from gossamer.core.blocks import groups
from gossamer.core.quantization import Policy, deploy, fake_quantize
from gossamer.core.quantized import matmul, take
from gossamer.core.quantizers import lsq, max_abs, sawb_plus

from .audit_cases import (
    FIXED,
    LABELS,
    PLAIN,
    POLICY,
    W,
    X,
    make_params,
    network,
    products,
    quantized,
)


def counts(function, *arguments):
    return [(found.count, found.macs) for found in products(function, *arguments)]


def branch(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ W @ W, lambda x: x @ W, x)


def halve(x):
    return jax.lax.while_loop(lambda x: jnp.sum(x @ W) > 1, lambda x: x @ W, x)


@jax.custom_jvp
def custom(x):
    return x @ W


custom.defjvp(lambda primals, tangents: (custom(*primals), custom(*tangents)))


def scan(function, length):
    def repeat(x):
        return jax.lax.scan(lambda x, _: (function(x), None), x, None, length=length)[0]

    return repeat


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda x: x @ W, 1),
        (jax.jit(lambda x: jax.jit(lambda x: x @ W)(x) @ W), 2),
        (scan(lambda x: x @ W, 7), 7),
        (scan(scan(jax.jit(lambda x: x @ W @ W), 3), 4), 24),
        (lambda x: jax.lax.fori_loop(0, 6, lambda _, x: x @ W, x), 6),
        (branch, 3),
        (scan(branch, 2), 6),
        (halve, 2),  # one of the test, one of the body
        (custom, 1),
        (jax.checkpoint(lambda x: jnp.tanh(x @ W)), 1),
        (lambda x: x * 2, 0),
    ],
)
def test_sub_programs_are_counted(function, count):
    assert counts(function, X) == ([(count, 75 * count)] if count else [])


def test_vmap_and_batched_products_count_every_matrix():
    batched = jnp.ones((2, 3, 5))
    assert counts(jax.vmap(lambda x: x @ W), batched) == [(1, 150)]
    assert counts(jnp.matmul, batched, jnp.ones((2, 5, 4))) == [(1, 120)]
    assert counts(functools.partial(jnp.einsum, "bti,bui->btu"), batched, batched) == [(1, 90)]


def test_shard_map_counts_one_device():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("data")
    function = jax.shard_map(lambda x: x @ W, mesh=mesh, in_specs=spec, out_specs=spec)
    assert counts(function, jnp.ones((12, 5))) == [(1, 75)]


def test_convolution():
    # 6 outputs of 4 channels, each a sum over 3 taps and half of the 10 input channels.
    function = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1,),
        padding="VALID",
        feature_group_count=2,
    )
    assert counts(function, jnp.ones((1, 10, 8)), jnp.ones((4, 5, 3))) == [(1, 6 * 4 * 3 * 5)]


def test_only_while_loops_are_open_ended():
    assert [found.open_ended for found in products(halve, X)] == [True]
    assert [found.open_ended for found in products(scan(halve, 3), X)] == [True]
    assert [found.count for found in products(scan(halve, 3), X)] == [6]
    assert [found.open_ended for found in products(branch, X)] == [False]


EXPECTED = (
    Product("embedding", "lookup", ((11, 6), (2, 9)), 8, 0, 1, 0, False, "max_abs 8 bit, tensor"),
    Product(
        "cell/kernel",
        "product",
        ((2, 9, 6), (6, 8)),
        *(4, 4, 1, 2 * 9 * 6 * 8, False),
        "sawb+ 4 bit, gate",
    ),
    Product(
        "cell/recurrent",
        "product",
        ((2, 8), (8, 8)),
        *(4, 4, 9, 9 * 2 * 8 * 8, False),
        "sawb+ 4 bit, gate",
    ),
)


@pytest.mark.parametrize("form", ["shapes", "arrays", "deployed"])
def test_quantized_network(form):
    transform = fake_quantize(POLICY)
    codes = {
        "shapes": lambda: quantized(make_params),
        "arrays": lambda: transform.codes(make_params(), {}),
        "deployed": lambda: deploy(transform.codes(make_params(), {})),
    }[form]()
    found = audit(network, codes, LABELS, policy=POLICY, params=make_params())
    assert found.products == EXPECTED
    assert float_share(found) == 0


def test_params_may_be_codes_or_shapes():
    codes = quantized(make_params)
    for params in (codes, jax.eval_shape(make_params)):
        assert products(network, codes, LABELS, policy=POLICY, params=params) == EXPECTED


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint])
def test_marks_survive_calls(transform):
    codes = quantized(make_params)
    found = products(transform(network), codes, LABELS, policy=POLICY, params=codes)
    assert found == EXPECTED


def test_marks_survive_vmap():
    codes, labels = quantized(make_params), jnp.zeros((3, 2, 9), jnp.int32)
    found = products(
        jax.vmap(network, in_axes=(None, 0)), codes, labels, policy=POLICY, params=codes
    )
    assert [product.name for product in found] == [product.name for product in EXPECTED]
    assert [product.macs for product in found] == [3 * product.macs for product in EXPECTED]


def test_marks_survive_forward_mode():
    codes = quantized(make_params)

    def tangents(codes):
        return jax.jvp(lambda codes: network(codes, LABELS), (codes,), (codes,))

    found = products(tangents, codes, policy=POLICY, params=codes)
    assert {product.name for product in found} == {product.name for product in EXPECTED}


def test_reverse_mode_products_of_cotangents_are_in_float():
    codes = quantized(make_params)

    def gradient(codes, labels):
        return jax.grad(lambda codes: network(codes, labels).sum())(codes)

    found = audit(gradient, codes, LABELS, policy=POLICY, params=codes)
    marked = [product for product in found.products if product.weight_bits < 32]
    assert sum(product.macs for product in marked) == sum(product.macs for product in EXPECTED)
    assert 0.5 < float_share(found) < 1


def test_jitted_functions_that_share_a_trace_keep_their_names():
    # The weights have equal shapes, so that `jit` traces their product once.
    params = {"a": {"kernel": jnp.ones((5, 8))}, "b": {"kernel": jnp.ones((5, 8))}}

    def function(codes, x):
        x = FIXED(x)
        return [matmul(x, codes[name]["kernel"], name=f"{name}/kernel") for name in "ab"]

    policy = Policy(weights=((".*", sawb_plus(4)),))
    found = products(function, quantized(params, policy), X, policy=policy, params=params)
    assert [(product.name, product.count) for product in found] == [
        ("a/kernel", 1),
        ("b/kernel", 1),
    ]


def test_equal_products_are_merged():
    policy = Policy(weights=(("kernel", sawb_plus(4)),))
    params = {"kernel": jnp.ones((2, 5, 8))}

    def function(codes, x):
        x = FIXED(x)
        kernel = codes["kernel"]
        return [matmul(x, kernel.replace(kernel.codes[index]), name="kernel") for index in range(2)]

    (found,) = products(function, quantized(params, policy), X, policy=policy, params=params)
    assert (found.shapes, found.count, found.macs) == (((3, 5), (5, 8)), 2, 240)


def test_grouped_scales():
    policy = Policy(weights=(("kernel", lsq(3, groups(2))),))
    params = {"kernel": jnp.ones((6, 8))}

    def function(codes, x):
        return matmul(FIXED(x), codes["kernel"], name="kernel")

    (found,) = products(
        function, quantized(params, policy), jnp.ones((3, 6)), policy=policy, params=params
    )
    assert (found.shapes, found.macs) == (((3, 2), (2, 8)), 3 * 6 * 8)
    assert (found.weight_bits, found.activation_bits) == (3, 4)
    assert found.quantizer == "lsq 3 bit, group"


@pytest.mark.parametrize(
    ("index", "shape"), [(LABELS, (2, 9)), (LABELS[:1, 0], (1,)), (LABELS[0, 0], ()), (3, ())]
)
def test_every_kind_of_index_is_a_lookup(index, shape):
    policy = Policy(weights=(("embedding", max_abs(4)),))
    params = {"embedding": jnp.ones((11, 6))}

    def lookup(codes, *indices):
        return take(codes["embedding"], *(indices or (index,)), name="embedding")

    indices = (index,) if isinstance(index, jax.Array) else ()
    (found,) = products(lookup, quantized(params, policy), *indices, policy=policy, params=params)
    assert (found.kind, found.shapes) == ("lookup", ((11, 6), shape))


def test_sites():
    assert site_of("encoder_1/kernel") == "encoder_1/input"
    assert site_of("encoder_1/recurrent") == "encoder_1/hidden"
    assert site_of("kernel") == "input"


def test_table_of_an_audit():
    codes = quantized(make_params)
    text = table(audit(network, codes, LABELS, policy=POLICY, params=codes))
    assert text.splitlines() == [
        "name            operands            runs   MACs  w  x  quantizer",
        "embedding       (11, 6) at (2, 9)      1      0  8  -  max_abs 8 bit, tensor",
        "cell/kernel     (2, 9, 6) x (6, 8)     1    864  4  4  sawb+ 4 bit, gate",
        "cell/recurrent  (2, 8) x (8, 8)        9  1,152  4  4  sawb+ 4 bit, gate",
        "total                                     2,016        0.0% in float",
    ]
    assert "  2+  " in table(audit(halve, X, policy=PLAIN, params=()))
    assert "0.0% in float" in table(audit(lambda x: x, X, policy=PLAIN, params=()))
