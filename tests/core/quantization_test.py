"""Policies by hand, and their application against the quantizers themselves."""

import dataclasses
import functools
import inspect
import json
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import blocks, gossip, learners, quantizers, topology, training
from gossamer.core.quantization import (
    Policy,
    as_json,
    clip_labels,
    deploy,
    dequantize_tree,
    fake_quantize,
    from_json,
    is_quantized,
    weight_paths,
)
from gossamer.core.quantized import Quantized, matmul

A, B = quantizers.sawb_plus(4, blocks.gates(4)), quantizers.max_abs(8)
ENGINES = ("vmap", "shard_map", "pmap")

# One tensor in float, scales from statistics, and learned ones: each way that `codes` can go.
POLICY = Policy(
    weights=(
        ("output/.*", None),
        (".*/recurrent", quantizers.pact(4, blocks.CHANNEL)),
        (".*/kernel", A),
        ("layers/0", quantizers.pact_plus(4)),
        ("layers/.*", quantizers.lsq(3, blocks.groups(3))),
    )
)
SHAPES = {
    "encoder": {"kernel": (6, 8), "recurrent": (2, 8, 8), "bias": (8,)},
    "layers": [(6, 2), (9, 2)],
    "output": {"kernel": (8, 3)},
}
CLIP_SHAPES = {
    "encoder/recurrent": {"clip": (2, 8)},
    "layers/0": {"clip_low": (), "clip_high": ()},
    "layers/1": {"step_size": (3, 2)},
}
QUANTIZED = {"encoder/kernel", *CLIP_SHAPES}

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


def make_params(seed=0, leading=()):
    generator = np.random.default_rng(seed)

    def draw(shape):
        return generator.standard_normal((*leading, *shape)).astype(np.float32)

    return jax.tree.map(draw, SHAPES, is_leaf=lambda node: isinstance(node, tuple))


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


def test_gradients_reach_weights_and_clips():
    transform = fake_quantize(Policy(weights=(("a", quantizers.pact(4)), ("b", A))))
    generator = np.random.default_rng(0)
    params = {name: generator.standard_normal((6, 8)).astype(np.float32) for name in "abc"}
    clips = {"a": {"clip": jnp.asarray(0.9)}}

    def total(params, clips):
        return sum(map(jnp.sum, jax.tree.leaves(transform.apply(params, clips))))

    by_params, by_clips = jax.jit(jax.grad(total, argnums=(0, 1)))(params, clips)
    inside = np.abs(params["a"]) <= 0.9
    np.testing.assert_allclose(by_params["a"], inside.astype(np.float32), rtol=1e-6)
    np.testing.assert_allclose(by_params["b"], np.ones((6, 8)), rtol=1e-6)  # straight through
    np.testing.assert_array_equal(by_params["c"], np.ones((6, 8)))
    outside = np.sum(np.sign(params["a"])[~inside])
    assert outside != 0
    np.testing.assert_allclose(by_clips["a"]["clip"], outside, rtol=1e-6)


def test_training_moves_clips_at_a_rate_of_their_own():
    transform = fake_quantize(Policy(weights=(("kernel", quantizers.pact_plus(3)),)))
    generator = np.random.default_rng(0)
    x, target, kernel = (
        generator.standard_normal(shape).astype(np.float32) for shape in ((32, 6), (6, 4), (6, 4))
    )
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(4)}
    tree = {"model": params, "clips": transform.init(params)}
    rates = {"weights": 0.1, "clips": 0.01}
    optimizer = optax.partition({label: optax.sgd(rates[label]) for label in rates}, clip_labels)

    def loss(tree):
        quantized = transform.apply(tree["model"], tree["clips"])
        outputs = x @ quantized["kernel"] + quantized["bias"][None]
        return jnp.mean(jnp.square(outputs - x @ target))

    @jax.jit
    def step(tree, state):
        value, gradient = jax.value_and_grad(loss)(tree)
        updates, state = optimizer.update(gradient, state, tree)
        return optax.apply_updates(tree, updates), state, gradient, value

    state, losses = optimizer.init(tree), []
    for _ in range(5):
        before = tree
        tree, state, gradient, value = step(tree, state)
        losses.append(value)
        for branch, label in (("model", "weights"), ("clips", "clips")):
            for new, old, slope in zip(
                *map(jax.tree.leaves, (tree[branch], before[branch], gradient[branch])), strict=True
            ):
                assert np.any(new != old)
                np.testing.assert_allclose(new, old - rates[label] * slope, rtol=1e-6, atol=1e-7)
    assert losses[-1] < 0.9 * losses[0]
    # What is trained are numbers of all digits; eight levels are all that the model multiplies.
    assert len(np.unique(tree["model"]["kernel"])) == 24
    assert len(np.unique(transform.apply(tree["model"], tree["clips"])["kernel"])) <= 8


def test_clip_labels():
    tree = {"model": {"a": 1, "b": [2, 3]}, "scales": {"a": {"clip": 4}}, "bias": 5}
    assert clip_labels(tree, key="scales") == {
        "model": {"a": "weights", "b": ["weights", "weights"]},
        "scales": {"a": {"clip": "clips"}},
        "bias": "weights",
    }
    assert clip_labels({"model": 1, "clips": {}}) == {"model": "weights", "clips": {}}


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


@pytest.mark.parametrize("engine", ["shard_map", "pmap"])
def test_training_under_gossip_is_the_same_on_devices_as_simulated(engine):
    """Weights, clips and codes of four learners on a ring, bit for bit."""
    policy = Policy(weights=((".*kernel", quantizers.lsq(4, blocks.gates(4))),))
    site = quantizers.pact_plus(4, symmetric=True)
    params = {"lstm": {"kernel": jax.random.normal(jax.random.key(0), (6, 8))}}
    clips = {"weights": fake_quantize(policy).init(params), "input": site.init(jnp.ones(1))}

    def loss(variables, batch, key):
        del key
        codes = fake_quantize(policy).codes(variables["params"], variables["clips"]["weights"])
        inputs = site.codes(variables["clips"]["input"], batch)
        return jnp.mean((matmul(inputs, codes["lstm"]["kernel"]) - 1) ** 2), {}

    rules = {"weights": optax.adamw(1e-2), "clips": optax.adam(1e-2)}
    optimizer = gossip.dpsgd(optax.partition(rules, clip_labels), topology.ring(4))
    state = training.init_state(
        {"params": params, "clips": clips}, optimizer, jax.random.key(1), num_learners=4
    )
    batches = jax.random.normal(jax.random.key(2), (360,)).reshape(5, 4, 3, 6)

    def run(engine):
        step = training.train_step(loss, optimizer, axis_name="learner")
        step, found = learners.spread(step, 4, engine=engine), state
        for batch in batches:
            found, _ = step(found, batch)
        return found.params

    simulated = run("vmap")
    chex.assert_trees_all_equal(run(engine), simulated)
    moved = jax.tree.map(lambda new, old: jnp.any(new != old), simulated, state.params)
    assert all(jax.tree.leaves(moved))


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
