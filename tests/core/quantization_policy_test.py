"""Policies by hand: their rules, and their form as values and as JSON."""

import dataclasses
import functools
import inspect
import json
import re

import jax
import jax.numpy as jnp
import pytest

from gossamer.core import blocks, quantizers
from gossamer.core.quantization import Policy, as_json, fake_quantize, from_json, weight_paths

from .quantization_cases import POLICY, A, B, make_params

FACTORIES = {
    "sawb": quantizers.sawb,
    "sawb_plus": quantizers.sawb_plus,
    "max_abs": quantizers.max_abs,
    "fixed": functools.partial(quantizers.Fixed, clip=1.3),
    "calibrated": functools.partial(quantizers.calibrated, method="mse"),
    "pact": functools.partial(quantizers.pact, clip=2.5),
    "pact_plus_symmetric": functools.partial(quantizers.pact_plus, symmetric=True),
    "pact_plus": quantizers.pact_plus,
    "pact_asymmetric": functools.partial(quantizers.AsymmetricClipped, residual=False),
    "lsq": quantizers.lsq,
}


# Rules.


def test_the_first_rule_wins():
    policy = Policy(weights=(("encoder_1/.*", A), (".*/kernel", B), (".*", A)))
    assert policy.weight("encoder_1/kernel") is A
    assert policy.weight("encoder_2/kernel") is B
    assert policy.weight("encoder_2/recurrent") is A


def test_none_exempts():
    policy = Policy(weights=(("output/.*", None), (".*", A)))
    assert policy.weight("output/kernel") is None
    assert policy.weight("encoder/kernel") is A


def test_without_a_rule_tensors_stay_in_float():
    assert Policy().weight("kernel") is None
    assert Policy().activation("input") is None


def test_weights_and_activations_have_rules_of_their_own():
    policy = Policy(weights=((".*kernel", A),), activations=((".*/hidden", B), ("input", None)))
    assert policy.activation("encoder/hidden") is B
    assert policy.activation("encoder/kernel") is None
    assert policy.weight("encoder/hidden") is None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("kernel", "encoder/kernel", False),
        ("encoder", "encoder/kernel", False),
        ("encoder/kernel", "encoder/kernel", True),
        ("encoder|encoder/kernel", "encoder/kernel", True),
        (r"encoder_\d/.*", "encoder_12/kernel", False),
        (".*kernel", "kernel", True),
        ("", "", True),
    ],
)
def test_patterns_match_the_whole_path(pattern, path, matches):
    assert (Policy(weights=((pattern, A),)).weight(path) is A) == matches


def test_predicates_are_patterns():
    policy = Policy(
        weights=((str.isupper, None), (lambda path: "kernel" in path, A)),
        activations=((lambda site: site.startswith("a"), B),),
    )
    assert policy.weight("KERNEL") is None
    assert policy.weight("encoder/kernel/0") is A
    assert policy.weight("bias") is None
    assert policy.activation("a/input") is B
    params = {"a": {"kernel": jnp.ones((2, 4))}, "b": jnp.ones(3)}
    assert weight_paths(policy, params) == {"a/kernel": A}


def test_weight_paths():
    assert weight_paths(POLICY, make_params()) == {
        "encoder/kernel": POLICY.weights[2][1],
        "encoder/recurrent": POLICY.weights[1][1],
        "layers/0": POLICY.weights[3][1],
        "layers/1": POLICY.weights[4][1],
    }


@pytest.mark.parametrize("pattern", ["encodr/.*", "encoder", lambda path: path == "encoder"])
def test_a_rule_that_matches_no_parameter_is_refused(pattern):
    params = make_params()
    policy = Policy(weights=((".*/kernel", A), (pattern, B)))
    transform = fake_quantize(policy)
    message = f"rule for weights {re.escape(repr(pattern))} that matches no.*paths are encoder/bias"
    for call in (
        lambda: transform.init(params),
        lambda: transform.codes(params, {}),
        lambda: transform.apply(params, {}),
        lambda: weight_paths(policy, params),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_rule_without_effect_passes_if_it_matches():
    params = make_params()
    behind = Policy(weights=((".*/kernel", A), ("output/kernel", B)))
    assert weight_paths(behind, params) == {"encoder/kernel": A, "output/kernel": A}
    exempt = Policy(weights=(("decoder/.*", None), ("output/.*", B)))
    assert weight_paths(exempt, params) == {"output/kernel": B}


# Policies as values.


def test_every_kind_is_tried():
    kinds = {
        member
        for _, member in inspect.getmembers(quantizers, inspect.isclass)
        if issubclass(member, quantizers.Quantizer) and not inspect.isabstract(member)
    }
    assert {type(factory()) for factory in FACTORIES.values()} == kinds


@pytest.mark.parametrize("of_weight", [blocks.TENSOR, blocks.gates(4), blocks.groups(16)])
@pytest.mark.parametrize("name", FACTORIES)
def test_json_round_trip(name, of_weight):
    quantizer = dataclasses.replace(FACTORIES[name](), bits=3, blocks=of_weight)
    policy = Policy(
        weights=(("output/.*", None), (r".*/kernel\d+", quantizer)),
        activations=(("input", quantizer), (".*", None)),
    )
    found = from_json(json.loads(json.dumps(as_json(policy), allow_nan=False)))
    assert found == policy
    assert type(found.weights[1][1]) is type(quantizer)
    assert hash(found) == hash(policy)


def test_json_of_an_empty_policy():
    assert as_json(Policy()) == {"weights": [], "activations": []}
    assert from_json(as_json(Policy())) == Policy()


@pytest.mark.parametrize("which", ["weights", "activations"])
def test_predicates_have_no_json(which):
    policy = Policy(**{which: ((".*", A), (str.isupper, B))})
    with pytest.raises(TypeError, match=r"`policy` must have regular expressions .*isupper"):
        as_json(policy)


def test_policies_are_values():
    assert len({POLICY, dataclasses.replace(POLICY), Policy(), Policy()}) == 2
    assert Policy(weights=((".*", A),)) != Policy(weights=((".*", B),))
    assert Policy(weights=((".*", A),)) != Policy(activations=((".*", A),))
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def apply(policy, params):
        traces.append(policy)
        return fake_quantize(policy).apply(params, {})

    for _ in range(2):
        apply(Policy(weights=((".*", quantizers.max_abs(8)),)), {"kernel": jnp.ones((2, 4))})
    assert len(traces) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        POLICY.weights = ()
