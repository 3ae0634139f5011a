"""A quantized stack against plain fake quantization and automatic differentiation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.blocks import MATRIX, TENSOR, gates
from gossamer.core.quantization import Policy
from gossamer.core.quantized import Quantized, dequantize
from gossamer.core.quantizers import pact_plus, sawb_plus
from gossamer.speech.lstm import LSTM

BLOCKS = {"shared": TENSOR, "per direction": MATRIX}


def quantized_layer(blocks, **options):
    hidden = pact_plus(4, blocks, symmetric=True)
    return LSTM(
        3, policy=Policy(activations=(("input", pact_plus(4)), ("hidden", hidden))), **options
    )


def quantized_weights(params):
    quantizer = sawb_plus(4, gates(4))
    return {n: x if n == "bias" else quantizer.codes({}, x) for n, x in params.items()}


def quantized_stack(blocks, params, clips, inputs, paddings):
    """Two layers, of which only the first has an "input" to quantize."""
    for index, (layer, sites) in enumerate(zip(params, clips, strict=True)):
        lstm = quantized_layer(blocks, bidirectional=True, returns_codes=index == 0)
        variables = {"params": quantized_weights(layer), "clips": sites}
        inputs, _ = lstm.apply(variables, inputs, paddings)
    return inputs


class Fake:
    """Fake quantization by numpy, or with straight-through gradients by `jax.numpy`."""

    def __init__(self, xp):
        self.xp = xp

    def straight_through(self, value, seen):
        """`seen`, with the gradient of `value`."""
        return seen if self.xp is np else value + jax.lax.stop_gradient(seen - value)

    def quantize(self, x, scale, low, high):
        u = self.xp.clip(x / scale, low, high)
        return scale * self.straight_through(u, self.xp.round(u))

    def asymmetric(self, x, low, high):
        scale = (high - low) / 15
        lowest = self.straight_through(low / scale, self.xp.round(low / scale))
        return self.quantize(x, scale, lowest, lowest + 15)

    def weights(self, matrix):
        """SAWB+ in 4 bits, one clip for each direction and gate; all gradients pass."""
        xp = self.xp
        gate = matrix.reshape(*matrix.shape[:-1], 4, 3)
        root_mean_square = xp.sqrt(xp.mean(gate**2, axis=(-3, -1), keepdims=True))
        mean = xp.mean(xp.abs(gate), axis=(-3, -1), keepdims=True)
        top = xp.max(xp.abs(gate), axis=(-3, -1), keepdims=True)
        clip = 12.035 * root_mean_square - 12.03 * mean
        clip = xp.where((clip <= 0) | (clip > top), top, clip)
        seen = self.straight_through(gate, self.quantize(gate, clip / 7, -7, 7))
        return seen.reshape(matrix.shape)

    def stack(self, params, clips, inputs):
        """Two layers frame by frame, from ``[time, batch, features]`` without padding."""
        xp, first = self.xp, clips[0]["input"]
        seen = list(self.asymmetric(inputs, first["clip_low"], first["clip_high"]))
        for layer, sites in zip(params, clips, strict=True):
            kernels, recurrents = (self.weights(layer[name]) for name in ("kernel", "recurrent"))
            halves = []
            for direction in range(2):
                clip = sites["hidden"]["clip"]
                clip = clip[direction] if clip.ndim else clip
                bias = layer["bias"][direction][None]
                codes = cell = xp.zeros((inputs.shape[1], 3))
                frames = []
                for frame in seen[:: 1 - 2 * direction]:
                    z = frame @ kernels[direction] + codes @ recurrents[direction] + bias
                    i, f, g, o = xp.split(z, 4, axis=-1)
                    i, f, o = (1 / (1 + xp.exp(-z)) for z in (i, f, o))
                    cell = f * cell + i * xp.tanh(g)
                    hidden = o * xp.tanh(cell)
                    # Quantized once, for the next frame and for the next layer.
                    codes = self.quantize(hidden, clip / 7, -7, 7)
                    frames.append((hidden, codes))
                halves.append(frames[:: 1 - 2 * direction])
            both = list(zip(*halves, strict=True))
            outputs = [xp.concatenate([a[0], b[0]], axis=-1) for a, b in both]
            seen = [xp.concatenate([a[1], b[1]], axis=-1) for a, b in both]
        return xp.stack(outputs)


@pytest.fixture(params=list(BLOCKS))
def stack(request):
    """Blocks, parameters and clips of two layers."""
    generator = np.random.default_rng(0)

    def draw(*shape):
        return generator.normal(size=shape).astype(np.float32)

    params = [
        {"kernel": draw(2, size, 12), "recurrent": draw(2, 3, 12), "bias": 0.5 * draw(2, 12)}
        for size in (5, 6)
    ]
    hidden = {"shared": np.array(0.3), "per direction": np.array([0.25, 0.4])}[request.param]
    clips = [
        {
            "input": {"clip_low": np.float32(-0.8), "clip_high": np.float32(1.9)},
            "hidden": {"clip": hidden.astype(np.float32)},
        },
        {"hidden": {"clip": (0.9 * hidden).astype(np.float32)}},
    ]
    return BLOCKS[request.param], params, clips


def test_a_quantized_stack_agrees_with_plain_fake_quantization(stack, batch):
    blocks, params, clips = stack
    inputs, paddings, lengths = batch
    outputs = jax.jit(quantized_stack, static_argnums=0)(blocks, params, clips, inputs, paddings)
    exact = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, clips))
    for row, length in enumerate(lengths):
        assert not np.any(outputs[row, length:])
        if length:
            sequence = np.asarray(inputs, np.float64)[row, :length, None]
            expected = Fake(np).stack(*exact, sequence)[:, 0]
            # No code lies so close to a tie that float32 would flip it.
            np.testing.assert_allclose(outputs[row, :length], expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(outputs[0])) > 15  # numbers, not codes


@pytest.mark.parametrize("stack", ["per direction"], indirect=True)
def test_gradients_of_a_quantized_stack_equal_automatic_differentiation(stack):
    blocks, *variables = stack
    arguments = *variables, np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)

    def ours(params, clips, inputs):
        return jnp.sum(jnp.sin(quantized_stack(blocks, params, clips, inputs, None)))

    def plain(params, clips, inputs):
        return jnp.sum(jnp.sin(Fake(jnp).stack(params, clips, jnp.swapaxes(inputs, 0, 1))))

    gradients, expected = (
        jax.jit(jax.grad(function, argnums=(0, 1, 2)))(*arguments) for function in (ours, plain)
    )
    # Sums over frames, rows and gates run in another order, and clips sum terms of both signs.
    chex.assert_trees_all_close(gradients, expected, rtol=2e-5, atol=2e-5)
    assert all(np.all(np.isfinite(x)) and np.any(x != 0) for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize("stack", ["per direction"], indirect=True)
def test_padding_changes_nothing_with_codes(stack, batch):
    """Not even far beyond the clips; that lengths do not matter, the plain recursion shows."""
    blocks, params, clips = stack
    inputs, paddings, _ = batch

    @jax.jit
    def run(inputs):
        def objective(params, clips):
            outputs = quantized_stack(blocks, params, clips, inputs, paddings)
            return jnp.sum(jnp.sin(outputs)), outputs

        return jax.grad(objective, argnums=(0, 1), has_aux=True)(params, clips)

    padded = np.asarray(paddings, bool)[:, :, None]
    silent, loud = (run(np.where(padded, np.float32(x), inputs)) for x in (0, 1e3))
    chex.assert_trees_all_close(loud, silent, rtol=1e-6, atol=1e-7)
    assert np.any(silent[1] != 0)


def test_codes_of_a_layer_are_its_quantized_outputs(stack, batch):
    """What the next layer multiplies, with the scale of each half of a frame."""
    blocks, params, clips = stack
    inputs, paddings, _ = batch
    variables = {"params": params[0], "clips": clips[0]}
    layer = quantized_layer(blocks, bidirectional=True)

    @jax.jit
    def run(variables):
        codes, _ = layer.copy(returns_codes=True).apply(variables, inputs, paddings)
        return layer.apply(variables, inputs, paddings)[0], codes

    outputs, codes = run(variables)
    assert isinstance(codes, Quantized)
    scales = np.repeat(np.broadcast_to(clips[0]["hidden"]["clip"], 2), 3) / 7
    expected = np.clip(np.round(np.asarray(outputs) / scales), -7, 7)
    np.testing.assert_array_equal(codes.codes, expected)
    np.testing.assert_allclose(dequantize(codes), expected * scales, rtol=1e-6)


@pytest.mark.parametrize("returns_codes", [False, True])
@pytest.mark.parametrize("stack", ["per direction"], indirect=True)
def test_quantized_steps_equal_the_whole_sequence(stack, batch, returns_codes):
    blocks, (params, _), (clips, _) = stack
    inputs, _, _ = batch
    layer = quantized_layer(blocks, returns_codes=returns_codes)
    params = jax.tree.map(lambda leaf: leaf[:1], params)
    clips = clips | {"hidden": {"clip": clips["hidden"]["clip"][:1]}}
    variables = {"params": jax.jit(quantized_weights)(params), "clips": clips}
    whole, last = jax.jit(layer.apply)(variables, inputs)
    assert isinstance(whole, Quantized) == returns_codes
    step = jax.jit(lambda *arguments: layer.apply(variables, *arguments, method="step"))
    state = (np.zeros((1, 4, 3), np.float32), np.zeros((1, 4, 3), np.float32))
    for time in range(inputs.shape[1]):
        output, state = step(inputs[:, time], state)
        np.testing.assert_allclose(
            dequantize(output), dequantize(whole)[:, time], rtol=1e-6, atol=1e-7
        )
    chex.assert_trees_all_close(state, last, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stack", ["per direction"], indirect=True)
def test_calibration_of_a_layer_stays_in_float(stack, batch):
    blocks, (params, _), (clips, _) = stack
    inputs, _, _ = batch
    layer = quantized_layer(blocks, bidirectional=True, returns_codes=True)

    @jax.jit
    def run(params):
        variables = {"params": params, "clips": clips}
        plain = LSTM(3, bidirectional=True).apply({"params": params}, inputs)
        return layer.apply(variables, inputs, mutable=["calibration"]), plain

    ((outputs, _), noted), (expected, _) = run(params)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-7)
    (found,) = noted["calibration"]["hidden"]
    halves = np.abs(np.asarray(expected, np.float64)).reshape(4, 7, 2, 3)
    np.testing.assert_allclose(
        found["clip"], np.percentile(halves, 99.9, axis=(0, 1, 3)), rtol=1e-6
    )
