"""The application of a policy against the quantizers themselves, and its deployed codes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import learners, quantizers
from gossamer.core.quantization import Policy, deploy, dequantize_tree, fake_quantize, is_quantized
from gossamer.core.quantized import Quantized, matmul

from .quantization_cases import POLICY, make_params

ENGINES = ("vmap", "shard_map", "pmap")
CLIP_SHAPES = {
    "encoder/recurrent": {"clip": (2, 8)},
    "layers/0": {"clip_low": (), "clip_high": ()},
    "layers/1": {"step_size": (3, 2)},
}
QUANTIZED = {"encoder/kernel", *CLIP_SHAPES}


@functools.cache
def applied():
    """Parameters, clips below the first ones, codes and numbers."""
    params = make_params()
    transform = fake_quantize(POLICY)
    clips = jax.tree.map(lambda clip: 0.8 * clip, transform.init(params))
    return params, clips, transform.codes(params, clips), transform.apply(params, clips)


def assert_trees_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def assert_same_codes(found, expected):
    """Of two programs, whose scales may differ in the last digits."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, one in flat(found).items():
        other = flat(expected)[path]
        if path not in QUANTIZED:
            np.testing.assert_array_equal(one, other)
            continue
        np.testing.assert_array_equal(one.codes, other.codes)
        # The clip of SAWB is a difference of terms five times as large, each a few units off.
        rtol = 4e-6 if path == "encoder/kernel" else 1e-6
        np.testing.assert_allclose(one.scale, other.scale, rtol=rtol)


def flat(tree):
    """The six tensors of a tree like SHAPES by their paths, `Quantized` or not."""
    paths = ("encoder/bias", "encoder/kernel", "encoder/recurrent", "layers/0", "layers/1")
    leaves = jax.tree.leaves(tree, is_leaf=is_quantized)
    return dict(zip((*paths, "output/kernel"), leaves, strict=True))


# Application.


def test_first_clips_are_those_of_the_quantizers():
    params = make_params()
    clips = fake_quantize(POLICY).init(params)
    assert jax.tree.map(jnp.shape, clips) == CLIP_SHAPES
    for path, found in clips.items():
        assert_trees_equal(found, POLICY.weight(path).init(flat(params)[path]))


def test_clips_have_shapes_before_there_are_parameters():
    shapes = jax.eval_shape(make_params)
    clips = jax.eval_shape(fake_quantize(POLICY).init, shapes)
    assert jax.tree.map(lambda clip: clip.shape, clips) == CLIP_SHAPES


def test_codes_are_those_of_the_quantizers():
    params, clips, codes, numbers = applied()
    assert_trees_equal(numbers, dequantize_tree(codes))
    for path, leaf in flat(params).items():
        quantizer, found = POLICY.weight(path), flat(codes)[path]
        assert is_quantized(found) == (path in QUANTIZED)
        if quantizer is None:
            assert found is leaf
            assert flat(numbers)[path] is leaf
        else:
            assert_trees_equal(found, quantizer.codes(clips.get(path, {}), leaf))
            np.testing.assert_array_equal(
                flat(numbers)[path], quantizer.apply(clips.get(path, {}), leaf)
            )
            assert flat(numbers)[path].dtype == leaf.dtype


def test_an_empty_policy_is_the_identity():
    params = make_params()
    transform = fake_quantize(Policy())
    assert transform.init(params) == {}
    found = transform.apply(params, {})
    assert all(map(lambda one, other: one is other, *map(jax.tree.leaves, (found, params))))


def test_quantizing_changes_nothing_but_the_result():
    """Nothing is patched: parameters, clips and a second model in float are as before."""

    def model(params, x):
        return matmul(jnp.tanh(matmul(x, params["hidden"])), params["output"])

    generator = np.random.default_rng(0)
    draw = [generator.standard_normal(s).astype(np.float32) for s in ((6, 8), (8, 3), (5, 6))]
    params, x = {"hidden": jnp.asarray(draw[0]), "output": jnp.asarray(draw[1])}, draw[2]
    second = {name: leaf + 1 for name, leaf in params.items()}
    kept = jax.tree.map(np.array, (params, second))
    plain = model(params, x), model(second, x)

    transform = fake_quantize(Policy(weights=((".*", quantizers.pact_plus(2)),)))
    clips = transform.init(params)
    kept_clips = jax.tree.map(np.array, clips)
    quantized = [model(f(params, clips), x) for f in (transform.apply, transform.codes)]
    assert_trees_equal((params, second), kept)
    assert_trees_equal(clips, kept_clips)
    assert_trees_equal((model(params, x), model(second, x)), plain)
    for outputs in quantized:
        assert np.abs(outputs - plain[0]).max() > 0.1


def test_compiles_once():
    transform, traces = fake_quantize(POLICY), []

    @jax.jit
    def codes(params, clips):
        traces.append(params)
        return transform.codes(params, clips)

    params, clips, expected, _ = applied()
    assert_same_codes(codes(params, clips), expected)
    codes(make_params(1), clips)
    assert len(traces) == 1


@functools.cache
def first_codes(engine):
    """Codes and clips of four learners; without an engine, of one after the other."""
    transform = fake_quantize(POLICY)

    def run(params):
        clips = transform.init(params)
        return transform.codes(params, clips), clips

    params = make_params(leading=(4,))
    if engine:
        return learners.spread(run, 4, engine=engine)(params)
    run = jax.jit(run)
    each = [run(jax.tree.map(lambda leaf, i=i: leaf[i], params)) for i in range(4)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


@pytest.mark.parametrize("engine", ENGINES)
def test_learners_quantize_as_one_does(engine):
    (found, clips), (expected, expected_clips) = map(first_codes, (engine, None))
    assert_same_codes(found, expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), clips, expected_clips)


# Deployment.


@pytest.mark.usefixtures("optimized_code")
def test_deployed_codes_are_int8_and_multiply_with_the_same_bits():
    codes = applied()[2]
    small = deploy(codes)
    generator = np.random.default_rng(1)
    x = Quantized(
        jnp.asarray(generator.integers(-7, 8, (5, 6)), jnp.float32), jnp.asarray(0.3), 4, 7
    )
    for path, leaf in flat(codes).items():
        found = flat(small)[path]
        if path not in QUANTIZED:
            assert found is leaf
            continue
        assert found.codes.dtype == jnp.int8
        assert (found.bits, found.max_abs_code) == (leaf.bits, leaf.max_abs_code)
        np.testing.assert_array_equal(found.codes, leaf.codes)
        assert found.scale is leaf.scale
        if leaf.shape[0] == 6:
            np.testing.assert_array_equal(matmul(x, found), matmul(x, leaf))
    assert_trees_equal(dequantize_tree(small), dequantize_tree(codes))


def test_all_of_int8_is_deployed():
    codes = Quantized(jnp.asarray([[-128.0, 0.0, 127.0]]), jnp.asarray(0.5), 8, 128)
    found = deploy([codes])[0].codes
    assert found.dtype == jnp.int8
    assert found.tolist() == [[-128, 0, 127]]


@pytest.mark.parametrize("bits", [7, 8])
def test_codes_beyond_int8_are_refused(bits):
    """Asymmetric codes of 7 bits reach 127, those of 8 bits 255."""
    transform = fake_quantize(Policy(weights=(("kernel", quantizers.pact_plus(bits)),)))
    params = {"kernel": jnp.ones((2, 3))}
    codes = jax.eval_shape(lambda: transform.codes(params, transform.init(params)))
    if bits == 7:
        assert jax.eval_shape(deploy, codes)["kernel"].codes.dtype == jnp.int8
    else:
        with pytest.raises(ValueError, match=r"-128 to 127, got magnitudes up to 255; .*symmetric"):
            deploy(codes)


def test_is_quantized():
    assert is_quantized(Quantized(jnp.ones(2), jnp.ones([])))
    assert not is_quantized(jnp.ones(2))
    assert not is_quantized({"codes": 1, "scale": 2})
