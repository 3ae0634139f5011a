"""Sensitivities against numpy, allocations against every combination of widths."""

import functools
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

BITS = {"layers/0/kernel": 3, "layers/1/kernel": 4, "output": 2}
SHAPES = {"layers/0/kernel": (4, 6), "layers/1/kernel": (6, 5), "output": (5,)}
WIDTHS = (2, 3, 4, 5, 6, 8)


def arrays(seed=0):
    generator = np.random.default_rng(seed)
    return {path: generator.normal(size=shape) for path, shape in SHAPES.items()}


def tree_of(values):
    """The same tensors as a tree, with a tensor that nobody quantizes."""
    kernels = [{"kernel": jnp.asarray(values[f"layers/{i}/kernel"], jnp.float32)} for i in (0, 1)]
    output = jnp.asarray(values["output"], jnp.float32)
    return {"layers": kernels, "output": output, "bias": jnp.ones(3)}


def by_path(tree):
    return {
        "layers/0/kernel": tree["layers"][0]["kernel"],
        "layers/1/kernel": tree["layers"][1]["kernel"],
        "output": tree["output"],
    }


def quadratic(values):
    """Half the squared distance from optimal weights, and a term that couples the tensors."""
    best = arrays(seed=1)
    apart = sum(((values[path] - best[path]) ** 2).sum() for path in SHAPES)
    together = sum(values[path].sum() for path in SHAPES)
    return 0.5 * apart + 0.5 * together**2


def quadratic_loss(params):
    best = tree_of(arrays(seed=1))
    squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, best)
    together = sum(jnp.sum(x) for x in by_path(params).values())
    return 0.5 * sum(jax.tree.leaves(squares)) + 0.5 * together**2


def rounded(x, bits):
    """Quantization by the largest magnitude."""
    scale = np.abs(x).max() / (2 ** (bits - 1) - 1)
    return np.round(x / scale) * scale


def max_abs_quantizers():
    return {path: quantizers.max_abs(bits) for path, bits in BITS.items()}


def spent(sizes, widths):
    return sum(sizes[path] * bits for path, bits in widths.items())


def cost(costs, widths):
    return sum(costs[path][bits] for path, bits in widths.items())


def least_cost(costs, sizes, budget):
    """By enumeration of every combination of widths."""

    def sums(rows):
        return functools.reduce(np.add.outer, rows)

    total = sums([np.array(list(losses.values())) for losses in costs.values()])
    bits = sums([sizes[path] * np.array(list(losses)) for path, losses in costs.items()])
    return total[bits <= budget].min()


def convex_problem(generator, tensors=4):
    """Costs that fall ever more slowly with the width, as those of rounding noise do."""
    paths = [f"w{i}" for i in range(tensors)]
    sizes = {path: int(generator.integers(1, 20)) for path in paths}
    costs = {}
    for path in paths:
        gaps = np.diff(WIDTHS)
        slopes = np.sort(generator.exponential(size=len(gaps)))[::-1]
        falls = np.concatenate([[0.0], np.cumsum(slopes * gaps)])
        costs[path] = {b: float(10 - f) for b, f in zip(WIDTHS, falls, strict=True)}
    return costs, sizes


def noisy_problem(generator, tensors=4):
    paths = [f"w{i}" for i in range(tensors)]
    sizes = {path: int(generator.integers(1, 20)) for path in paths}
    costs = {path: {b: float(generator.normal()) for b in WIDTHS} for path in paths}
    return costs, sizes


def edges(costs, size):
    """The lower hull of one tensor from its narrowest width on: (slope, bits added, fall)."""
    points = [(size * bits, value) for bits, value in sorted(costs.items())]
    found = []
    while True:
        (x, y), later = points[0], points[1:]
        falling = [((y - v) / (u - x), u - x, y - v) for u, v in later if v < y]
        if not falling:
            return found
        found.append(max(falling))
        points = [p for p in points if p[0] >= x + found[-1][1]]


PROBLEMS = {"convex": convex_problem, "noisy": noisy_problem}
problems = pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("compile_loss", [False, True])
@pytest.mark.parametrize("mode", ["only", "all_but"])
def test_sensitivity_is_that_computed_by_hand(mode, compile_loss):
    loss = jax.jit(quadratic_loss) if compile_loss else quadratic_loss
    x = arrays()
    x_hat = {path: rounded(x[path], bits) for path, bits in BITS.items()}
    found = ba.sensitivity(loss, tree_of(x), max_abs_quantizers(), mode=mode)
    assert [tensor.path for tensor in found] == list(BITS)
    for path, change, relative_error, size in found:
        if mode == "only":
            expected = quadratic(x | {path: x_hat[path]}) - quadratic(x)
        else:
            expected = quadratic(x_hat | {path: x[path]}) - quadratic(x_hat)
        # A difference of two float32 losses, each a sum of less than a hundred terms.
        tolerance = 100 * np.finfo(np.float32).eps * quadratic(x)
        np.testing.assert_allclose(change, expected, rtol=1e-6, atol=tolerance)
        error = ((x_hat[path] - x[path]) ** 2).sum() / (x[path] ** 2).sum()
        np.testing.assert_allclose(relative_error, error, rtol=1e-5)  # x_hat - x cancels digits
        assert size == x[path].size


def test_both_modes_agree_on_one_tensor():
    params, quantizer = tree_of(arrays()), {"output": quantizers.sawb(2)}
    (only,) = ba.sensitivity(quadratic_loss, params, quantizer)
    (all_but,) = ba.sensitivity(quadratic_loss, params, quantizer, mode="all_but")
    assert only.loss_change == -all_but.loss_change != 0


@pytest.mark.parametrize(
    "quantizer",
    [
        quantizers.sawb_plus(4, blocks.CHANNEL),
        quantizers.calibrated(4, blocks.gates(3), method="mse"),
        quantizers.pact_plus(4),
        quantizers.lsq(4, blocks.groups(2)),
        quantizers.fixed(4, 2.0),
    ],
    ids=lambda quantizer: quantizer.kind,
)
def test_any_quantizer_costs_what_fake_quantization_does(quantizer):
    params, path = tree_of(arrays()), "layers/0/kernel"
    transform = fake_quantize(Policy(weights=((path, quantizer),)))
    expected = quadratic_loss(transform.apply(params, transform.init(params)))
    expected -= quadratic_loss(params)
    (found,) = ba.sensitivity(quadratic_loss, params, {path: quantizer})
    tolerance = 100 * np.finfo(np.float32).eps * float(quadratic_loss(params))
    np.testing.assert_allclose(found.loss_change, expected, rtol=1e-6, atol=tolerance)


def test_tensor_of_zeros_has_no_error():
    params = {"w": jnp.zeros((2, 3))}
    (found,) = ba.sensitivity(lambda tree: jnp.sum(tree["w"]), params, {"w": quantizers.sawb(4)})
    assert found == ("w", 0.0, 0.0, 6)


def test_loss_is_compiled_once_and_steps_are_reported():
    traced, steps = [], []

    @jax.jit
    def loss(params):
        traced.append(params)
        return quadratic_loss(params)

    def on_step(done, total):
        steps.append((done, total))

    params = tree_of(arrays())
    ba.sensitivity(loss, params, max_abs_quantizers(), on_step=on_step)
    assert steps == [(i, 4) for i in range(1, 5)]
    steps.clear()
    ba.candidate_errors(loss, params, max_abs_quantizers(), (2, 4), on_step=on_step)
    assert steps == [(i, 7) for i in range(1, 8)]
    assert len(traced) == 1


def test_candidate_errors_are_those_computed_by_hand():
    x = arrays()
    found = ba.candidate_errors(quadratic_loss, tree_of(x), max_abs_quantizers(), (8, 2, 5))
    assert list(found) == list(BITS)
    tolerance = 100 * np.finfo(np.float32).eps * quadratic(x)
    for path, losses in found.items():
        assert list(losses) == [2, 5, 8]
        for bits, change in losses.items():
            expected = quadratic(x | {path: rounded(x[path], bits)}) - quadratic(x)
            np.testing.assert_allclose(change, expected, rtol=1e-6, atol=tolerance)


def test_sawb_becomes_max_abs_where_it_is_not_defined():
    sawb = quantizers.sawb_plus(4, blocks.CHANNEL)
    assert ba.with_bits(sawb, 6) == quantizers.sawb_plus(6, blocks.CHANNEL)
    assert ba.with_bits(sawb, 7) == quantizers.max_abs(7, blocks.CHANNEL)
    assert ba.with_bits(quantizers.lsq(4), 8) == quantizers.lsq(8)
    params, path = tree_of(arrays()), "layers/0/kernel"
    by_sawb, by_max_abs = (
        ba.candidate_errors(quadratic_loss, params, {path: quantizer})[path]
        for quantizer in (sawb, quantizers.max_abs(8, blocks.CHANNEL))
    )
    assert list(by_sawb) == list(WIDTHS)
    assert by_sawb[8] == by_max_abs[8]
    assert by_sawb[4] != by_max_abs[4]


def test_paths_modes_and_widths_are_checked():
    params = tree_of(arrays())
    with pytest.raises(ValueError, match=r"`quantizers` must have paths of `params`.*'layers/2'"):
        ba.sensitivity(quadratic_loss, params, {"layers/2": quantizers.sawb(4)})
    with pytest.raises(ValueError, match="`mode` must be one of"):
        ba.sensitivity(quadratic_loss, params, max_abs_quantizers(), mode="one")  # type: ignore
    with pytest.raises(ValueError, match="`bits` must be 2 to 8, got 9"):
        ba.candidate_errors(quadratic_loss, params, max_abs_quantizers(), (4, 9))


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
