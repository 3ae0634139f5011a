"""Sensitivities against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import bit_allocation as ba
from gossamer.core import blocks, quantizers
from gossamer.core.quantization import Policy, fake_quantize

from .bit_allocation_cases import WIDTHS

BITS = {"layers/0/kernel": 3, "layers/1/kernel": 4, "output": 2}
SHAPES = {"layers/0/kernel": (4, 6), "layers/1/kernel": (6, 5), "output": (5,)}


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
