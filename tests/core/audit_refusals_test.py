"""What an audit must not pass over in silence: weights and activations in float."""

import functools

import jax
import jax.numpy as jnp
import pytest

from gossamer.core.audit import audit, float_share
from gossamer.core.quantization import Policy
from gossamer.core.quantized import dequantize, matmul
from gossamer.core.quantizers import fixed, sawb_plus

from .audit_cases import FIXED, LABELS, POLICY, W, X, make_params, network, products, quantized


@pytest.mark.parametrize("name", ["kernel", "recurrent"])
def test_a_weight_that_was_dequantized_raises(name):
    params = make_params()
    codes = quantized(params)
    codes["cell"][name] = jax.eval_shape(dequantize, codes["cell"][name])
    with pytest.raises(ValueError, match=rf"did not with cell/{name} \(float\)\. Give it the tree"):
        audit(network, codes, LABELS, policy=POLICY, params=params)


def test_an_embedding_in_float_raises():
    params = make_params()
    codes = quantized(params) | {"embedding": params["embedding"]}
    with pytest.raises(ValueError, match=r"embedding \(in no marked product\)"):
        audit(network, codes, LABELS, policy=POLICY, params=params)


def test_products_without_marks_raise_and_all_tensors_are_named():
    params = make_params()
    with pytest.raises(ValueError, match=r"cell/kernel.*, cell/recurrent.*, embedding.*allow_unus"):
        audit(lambda codes, x: x @ dequantize(codes["cell"]["recurrent"]), quantized(params),
              jnp.ones((2, 8)), policy=POLICY, params=params)  # fmt: skip


def test_one_product_in_float_among_others_raises():
    policy, params = Policy(weights=(("kernel", sawb_plus(4)),)), {"kernel": W}

    def function(codes, x):
        x = FIXED(x)
        product = matmul(x, codes["kernel"], name="kernel")
        return product + matmul(x, dequantize(codes["kernel"]), name="kernel")

    with pytest.raises(ValueError, match=r"kernel \(float\)"):
        audit(function, quantized(params, policy), X, policy=policy, params=params)


def test_other_bits_than_the_policy_says_raise():
    codes = quantized(make_params)
    policy = Policy(weights=((".*/kernel", sawb_plus(2)),))
    with pytest.raises(ValueError, match=r"did not with cell/kernel \(4 bits\)"):
        audit(network, codes, LABELS, policy=policy, params=codes)


def test_a_rule_without_a_parameter_raises():
    policy = Policy(weights=(("cell/kernal", sawb_plus(4)),))
    with pytest.raises(ValueError, match=r"cell/kernal.*matches no parameter"):
        audit(network, make_params(), LABELS, policy=policy, params=make_params())


def test_an_activation_in_float_raises():
    params = make_params()
    function = functools.partial(network, quantizer=None)
    codes = quantized(params)
    with pytest.raises(ValueError, match=r"in float: cell/hidden \(at cell/recurrent\)\."):
        audit(function, codes, LABELS, policy=POLICY, params=params)
    policy = Policy(POLICY.weights, (("state", fixed(4)),))
    with pytest.raises(ValueError, match=r"in float: state \(at cell/recurrent\)\."):
        audit(function, codes, LABELS, policy=policy, params=params, sites=lambda _: "state")


def test_activations_that_the_policy_leaves_in_float_are_listed():
    params = make_params()
    policy = Policy(weights=POLICY.weights)
    function = functools.partial(network, quantizer=None)
    found = audit(function, quantized(params), LABELS, policy=policy, params=params)
    # The rows of the embedding are codes as they come.
    assert [product.activation_bits for product in found.products] == [0, 8, 32]
    _, kernel, recurrent = found.products
    assert float_share(found) == recurrent.macs / (kernel.macs + recurrent.macs)


def test_allowed_parameters_may_be_unused():
    params = make_params()

    def function(codes, x):
        x = FIXED(x)
        return matmul(x, codes["cell"]["kernel"], name="cell/kernel")

    arguments = quantized(params), jnp.ones((2, 6))
    allow_unused = {"embedding", "cell/recurrent"}
    found = products(function, *arguments, policy=POLICY, params=params, allow_unused=allow_unused)
    assert [product.name for product in found] == ["cell/kernel"]
    with pytest.raises(ValueError, match=r"did not with cell/recurrent \(in no"):
        audit(function, *arguments, policy=POLICY, params=params, allow_unused=["embedding"])
