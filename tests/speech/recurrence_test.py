import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import blocks, quantization, quantizers
from gossamer.core.quantized import Quantized, dequantize, matmul
from gossamer.speech.recurrence import lstm_scan, quantize_frames

HIDDEN = {
    "fixed": quantizers.fixed(4),
    "shared": quantizers.pact_plus(4, symmetric=True, clip=0.4),
    "per direction": quantizers.pact_plus(4, blocks.MATRIX, symmetric=True, clip=0.3),
    "outside only": quantizers.pact(4, clip=0.4),
    "asymmetric": quantizers.pact_plus(4),
    "lsq": quantizers.lsq(4, blocks.MATRIX),
}


def normal(key, *shape):
    """Drawn in a row: draws of four dimensions take ten times longer to compile."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


@pytest.fixture
def problem(key):
    """Projected inputs of 6 frames, 2 directions, 4 rows and 3 cells; weights; a first state."""
    keys = jax.random.split(key, 5)
    projected = normal(keys[0], 6, 2, 4, 12)
    recurrent = normal(keys[1], 2, 3, 12)
    state = (
        0.5 * normal(keys[2], 2, 4, 3),
        normal(keys[3], 2, 4, 3),
    )
    return projected, recurrent, state, normal(keys[4], 6, 2, 4, 3)


def plain_scan(projected, recurrent, state, clips, quantizer):
    """The recursion by fake quantization, differentiated automatically."""

    def step(carry, z):
        hidden, cell = carry
        seen = hidden if quantizer is None else quantizer.apply(clips, hidden)
        i, f, g, o = jnp.split(z + seen @ dequantize(recurrent), 4, axis=-1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    last, hidden = jax.lax.scan(step, state, projected)
    return hidden, last


def objective(scan, weights):
    def value(*arguments):
        hidden, (last_hidden, last_cell) = scan(*arguments)
        return jnp.sum(weights * hidden) + jnp.sum(jnp.sin(last_hidden)) + jnp.sum(last_cell**2)

    return value


def test_gradient_equals_automatic_differentiation(problem, float64):
    projected, recurrent, state, weights = jax.tree.map(lambda x: x.astype(jnp.float64), problem)
    arguments = projected, recurrent, state
    ours = jax.grad(objective(lambda *a: lstm_scan(*a, {}), weights), argnums=(0, 1, 2))
    plain = jax.grad(objective(lambda *a: plain_scan(*a, {}, None), weights), argnums=(0, 1, 2))
    chex.assert_trees_all_close(
        jax.jit(ours)(*arguments), jax.jit(plain)(*arguments), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("quantizer", HIDDEN.values(), ids=HIDDEN)
def test_quantized_gradient_equals_automatic_differentiation(problem, quantizer):
    projected, recurrent, state, weights = problem
    clips = quantizer.init(0.3 * normal(jax.random.key(9), 2, 4, 3))
    transform = quantization.fake_quantize(
        quantization.Policy(weights=((".*", quantizers.sawb_plus(4, blocks.gates(4))),))
    )

    def value(scan):
        def of(projected, recurrent, state, clips):
            codes = transform.codes({"w": recurrent}, {})["w"]
            return objective(lambda *a: scan(*a, quantizer), weights)(
                projected, codes, state, clips
            )

        return of

    arguments = projected, recurrent, state, clips
    (ours, gradients), (plain, expected) = (
        jax.jit(jax.value_and_grad(value(scan), argnums=(0, 1, 2, 3)))(*arguments)
        for scan in (lstm_scan, plain_scan)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-6)
    # Sums over frames run in another order, and clips sum terms of both signs.
    chex.assert_trees_all_close(gradients, expected, rtol=2e-5, atol=2e-5)
    if clips:
        assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradients[3]))


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("quantizer", HIDDEN.values(), ids=HIDDEN)
def test_deployed_codes_give_the_same_bits_for_a_thousand_frames(key, quantizer):
    keys = jax.random.split(key, 3)
    projected = 2 * normal(keys[0], 1000, 2, 3, 32)
    recurrent = normal(keys[1], 2, 8, 32)
    state = (jnp.zeros((2, 3, 8)), jnp.zeros((2, 3, 8)))
    clips = quantizer.init(0.3 * normal(keys[2], 2, 3, 8))
    transform = quantization.fake_quantize(
        quantization.Policy(weights=((".*", quantizers.sawb_plus(4, blocks.gates(4))),))
    )

    @jax.jit
    def train(recurrent):  # codes are computed in the program, as in training
        codes = transform.codes({"w": recurrent}, {})["w"]
        return lstm_scan(projected, codes, state, clips, quantizer)

    @jax.jit
    def deployed(codes):
        return lstm_scan(projected, codes, state, clips, quantizer)

    codes = quantization.deploy(jax.jit(transform.codes)({"w": recurrent}, {}))["w"]
    assert codes.codes.dtype == jnp.int8
    chex.assert_trees_all_equal(deployed(codes), train(recurrent))


def test_integers_alone_give_the_same_codes(problem):
    """The product of a frame, from int64 codes in numpy."""
    _, recurrent, state, _ = problem
    quantizer = quantizers.fixed(4)
    weight = quantizers.sawb(4, blocks.gates(4)).codes({}, recurrent)
    seen = quantizer.codes({}, state[0])
    exact = np.einsum(
        "dbh,dhz->dbz", np.asarray(seen.codes, np.int64), np.asarray(weight.codes, np.int64)
    )
    expected = exact.astype(np.float32) * (np.float32(seen.scale) * np.asarray(weight.scale))
    np.testing.assert_array_equal(matmul(seen, weight), expected)


def test_weights_alone_may_be_codes(problem):
    projected, recurrent, state, _ = problem
    codes = quantizers.sawb(4).codes({}, recurrent)
    hidden, _ = lstm_scan(projected, codes, state, {})
    expected, _ = plain_scan(projected, codes, state, {}, None)
    np.testing.assert_allclose(hidden, expected, rtol=1e-5, atol=1e-6)


def test_frames_have_the_codes_that_the_recursion_saw(problem):
    hidden = jnp.tanh(problem[0][..., :3])
    quantizer = HIDDEN["per direction"]
    clips = {"clip": jnp.array([0.5, 0.8])}
    quantized = quantize_frames(quantizer, clips, hidden)
    for frame in range(len(hidden)):
        np.testing.assert_array_equal(
            quantized.codes[frame], quantizer.codes(clips, hidden[frame]).codes
        )
    assert isinstance(quantized, Quantized)
    assert quantized.scale.shape == (2, 1, 1)


def test_a_scale_that_moves_with_the_values_is_refused(problem):
    with pytest.raises(ValueError, match="scale of its own"):
        quantize_frames(quantizers.max_abs(4), {}, problem[0])


def test_no_weight_is_rounded_inside_the_loop(problem):
    projected, recurrent, state, _ = problem
    quantizer = quantizers.fixed(4)

    def run(recurrent):
        return lstm_scan(
            projected, quantizers.sawb_plus(4).codes({}, recurrent), state, {}, quantizer
        )

    (loop,) = [eqn for eqn in _equations(jax.make_jaxpr(run)(recurrent).jaxpr) if _is_scan(eqn)]
    rounded = [
        eqn.outvars[0].aval.shape
        for eqn in _equations(loop.params["jaxpr"].jaxpr)
        if eqn.primitive.name == "round"
    ]
    assert rounded == [(2, 4, 3)]  # the hidden state, and no weight [2, 3, 12]


def _is_scan(eqn):
    return eqn.primitive.name == "scan"


def _equations(jaxpr):
    """All equations of a program and of the programs within it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)


def test_bfloat16_weights_leave_cells_and_gradients_in_float32(problem):
    projected, recurrent, state, weights = problem

    def gradients(dtype):
        def value(projected, recurrent):
            hidden, last = lstm_scan(projected, recurrent.astype(dtype), state, {})
            assert hidden.dtype == last[1].dtype == jnp.float32
            return jnp.vdot(hidden, weights)

        return jax.jit(jax.grad(value, argnums=(0, 1)))(projected, recurrent)

    half, single = gradients(jnp.bfloat16), gradients(jnp.float32)
    chex.assert_trees_all_equal_dtypes(half, single)
    chex.assert_trees_all_close(half, single, atol=0.05)
    assert any(np.any(a != b) for a, b in zip(half, single, strict=True))
