"""Allocations against every combination of widths, and the policies made of them."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer.core import bit_allocation as ba
from gossamer.core import blocks, quantizers
from gossamer.core.quantization import Policy, as_json, fake_quantize, from_json, weight_paths

from .bit_allocation_cases import (
    WIDTHS,
    convex_problem,
    cost,
    edges,
    least_cost,
    noisy_problem,
    spent,
)

PROBLEMS = {"convex": convex_problem, "noisy": noisy_problem}
problems = pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
seeds = st.integers(0, 2**32 - 1)


@problems
@settings(max_examples=50)
@given(seed=seeds)
def test_allocation_is_optimal_where_the_budget_ends_a_step(make, seed):
    costs, sizes = make(np.random.default_rng(seed))
    steps = [edge for path in costs for edge in edges(costs[path], sizes[path])]
    budget = spent(sizes, dict.fromkeys(sizes, WIDTHS[0]))
    for _, added, _ in [(0, 0, 0), *sorted(steps, reverse=True)]:
        budget += added
        found = cost(costs, ba.allocate(costs, sizes, budget_bits=budget))
        np.testing.assert_allclose(found, least_cost(costs, sizes, budget), rtol=0, atol=1e-12)


@problems
@settings(max_examples=100)
@given(seed=seeds, average=st.floats(2, 9))
def test_allocation_is_within_one_step_of_the_optimum(make, seed, average):
    costs, sizes = make(np.random.default_rng(seed))
    budget = average * sum(sizes.values())
    widths = ba.allocate(costs, sizes, budget_bits=budget)
    falls = [fall for path in costs for _, _, fall in edges(costs[path], sizes[path])]
    assert widths.keys() == costs.keys()
    assert spent(sizes, widths) <= budget
    excess = cost(costs, widths) - least_cost(costs, sizes, budget)
    assert -1e-12 <= excess <= max(falls, default=0.0) + 1e-12


@problems
@settings(max_examples=100)
@given(seed=seeds, average=st.floats(2, 9))
def test_allocation_is_no_worse_than_uniform_widths(make, seed, average):
    costs, sizes = make(np.random.default_rng(seed), tensors=10)
    budget = average * sum(sizes.values())
    found = cost(costs, ba.allocate(costs, sizes, budget_bits=budget))
    for bits in WIDTHS:
        if bits <= average:
            assert found <= cost(costs, dict.fromkeys(costs, bits)) + 1e-12


def test_allocation_is_no_worse_than_uniform_widths_where_greed_alone_is():
    # The small tensor's step is steeper, and after it the large one's, worth more, does not fit.
    costs = {"small": {3: 2.0, 4: 1.4, 5: 0.5}, "large": {3: 5.0, 4: 0.0}}
    sizes = {"small": 1, "large": 10}
    assert ba.allocate(costs, sizes, budget_bits=44) == {"small": 4, "large": 4}


@settings(max_examples=100)
@given(seed=seeds, average=st.floats(2, 9))
def test_width_no_better_than_a_narrower_one_is_never_taken(seed, average):
    costs, sizes = noisy_problem(np.random.default_rng(seed))
    widths = ba.allocate(costs, sizes, budget_bits=average * sum(sizes.values()))
    for path, bits in widths.items():
        assert all(costs[path][b] > costs[path][bits] for b in WIDTHS if b < bits)


def test_equal_costs_and_costs_that_are_not_finite_are_passed_over():
    costs = {
        "flat": {2: 0.1, 4: 0.1, 8: 0.1},
        "broken": {2: math.nan, 4: 0.3, 6: math.nan, 8: math.inf},
        "bump": {2: 0.5, 4: 0.9, 8: 0.2},
    }
    widths = ba.allocate(costs, dict.fromkeys(costs, 3), budget_bits=math.inf)
    assert widths == {"flat": 2, "broken": 4, "bump": 8}


def test_allocation_may_offer_each_tensor_other_widths():
    costs = {"a": {4: 1.0, 8: 0.0}, "b": {2: 1.0, 3: 0.5}, "c": {6: 1.0}}
    sizes = {"a": 2, "b": 2, "c": 1}
    assert ba.allocate(costs, sizes, budget_bits=18) == {"a": 4, "b": 2, "c": 6}
    assert ba.allocate(costs, sizes, budget_bits=20) == {"a": 4, "b": 3, "c": 6}
    assert ba.allocate(costs, sizes, budget_bits=28) == {"a": 8, "b": 3, "c": 6}
    assert ba.allocate({}, {}, budget_bits=0) == {}


def test_allocation_checks_its_arguments():
    costs = {"a": {3: 1.0, 8: 0.0}, "b": {2: 1.0}}
    with pytest.raises(ValueError, match=r"`budget_bits` must be at least 38.*got 37.5"):
        ba.allocate(costs, {"a": 10, "b": 4}, budget_bits=37.5)
    with pytest.raises(ValueError, match=r"`budget_bits` must be at least 38.*got nan"):
        ba.allocate(costs, {"a": 10, "b": 4}, budget_bits=math.nan)
    with pytest.raises(ValueError, match=r"`sizes` must have the paths of `costs`.*lacks b, c"):
        ba.allocate(costs, {"a": 10, "c": 4}, budget_bits=100)
    with pytest.raises(ValueError, match="`costs` must have a finite cost for 'b'"):
        ba.allocate(costs | {"b": {2: math.nan}}, {"a": 1, "b": 1}, budget_bits=100)


def test_allocated_policy_changes_no_other_rule():
    policy = Policy(
        weights=((".*/0/kernel", None), (".*kernel", quantizers.sawb_plus(4, blocks.CHANNEL))),
        activations=((".*/hidden", quantizers.fixed(4)),),
    )
    found = ba.apply_allocation(policy, {"layers/1/kernel": 3, "layers.1/kernel": 8})
    assert found.weight("layers/1/kernel") == quantizers.sawb_plus(3, blocks.CHANNEL)
    assert found.weight("layers.1/kernel") == quantizers.max_abs(8, blocks.CHANNEL)
    assert found.weight("layers/2/kernel") == quantizers.sawb_plus(4, blocks.CHANNEL)
    assert found.weight("layersx1/kernel") == quantizers.sawb_plus(4, blocks.CHANNEL)
    assert found.weight("layers/0/kernel") is None
    assert found.weights[2:] == policy.weights
    assert found.activations == policy.activations
    assert from_json(json.loads(json.dumps(as_json(found)))) == found
    again = ba.apply_allocation(found, {"layers/1/kernel": 5})
    assert again.weight("layers/1/kernel") == quantizers.sawb_plus(5, blocks.CHANNEL)


def test_allocation_of_a_tensor_left_in_float_is_refused():
    policy = Policy(weights=(("output", None), (".*", quantizers.sawb(4))))
    with pytest.raises(ValueError, match=r"`policy` must quantize.*'output'"):
        ba.apply_allocation(policy, {"output": 4})


def test_from_a_loss_to_a_policy_of_four_and_a_half_bits():
    names = ("input", "hidden", "deep", "output")
    *kernels, inputs = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    params = {name: jnp.asarray(x / 4) for name, x in zip(names, kernels, strict=True)}

    def model(params):
        x = jnp.tanh(inputs @ params["input"])
        x = jnp.tanh(x @ params["hidden"])
        return (x + 0.1 * jnp.tanh(x @ params["deep"])) @ params["output"]

    targets = model(params)

    @jax.jit
    def loss(params):
        return jnp.mean(jnp.square(model(params) - targets))

    def quantized_loss(policy):
        transform = fake_quantize(policy)
        return float(loss(transform.apply(params, transform.init(params))))

    policy = Policy(weights=((".*", quantizers.sawb(4)),))
    paths = weight_paths(policy, params)
    sizes = {tensor.path: tensor.size for tensor in ba.sensitivity(loss, params, paths)}
    costs = ba.candidate_errors(loss, params, paths)
    widths = ba.allocate(costs, sizes, budget_bits=4.5 * sum(sizes.values()))
    assert 4.25 < spent(sizes, widths) / sum(sizes.values()) <= 4.5
    assert widths["deep"] < widths["output"]  # it adds a tenth to the output
    assert quantized_loss(ba.apply_allocation(policy, widths)) < quantized_loss(policy)
