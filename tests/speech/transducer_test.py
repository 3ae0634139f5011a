import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.transducer import Transducer, join_pairs
from gossamer.speech.transducer_config import PRESETS, TransducerConfig

CONFIG = TransducerConfig(
    encoder_layers=2,
    encoder_size=6,
    reduce_after=(1,),
    embedding_size=4,
    predictor_size=5,
    joiner_size=7,
)


def num_parameters(config, vocabulary_size, features):
    model = Transducer(config, vocabulary_size=vocabulary_size)
    shapes = jax.eval_shape(
        model.init,
        jax.random.key(0),
        jnp.zeros((1, 4, features)),
        jnp.zeros((1, 4)),
        jnp.zeros((1, 2), jnp.int32),
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.fixture(params=["multiplicative", "additive"])
def setup(request, key):
    config = TransducerConfig(**{**vars(CONFIG), "joiner": request.param})
    model = Transducer(config, vocabulary_size=9)
    features = jax.random.normal(key, (54,)).reshape(2, 9, 3)
    paddings = jnp.asarray([[0.0] * 9, [0.0] * 5 + [1.0] * 4])
    labels = jnp.asarray([[1, 2, 8], [3, 0, 0]], jnp.int32)
    params = jax.jit(model.init)(key, features, paddings, labels)
    return model, params, features, paddings, labels


def run(model, *arguments, **options):
    """The method of a model, compiled."""
    return jax.jit(functools.partial(model.apply, **options))(*arguments)


def test_shapes_and_paddings(setup):
    model, params, features, paddings, labels = setup
    logits, frame_paddings, connectionist = run(model, params, features, paddings, labels)
    assert logits.shape == (2, 5, 4, 9)
    assert connectionist.shape == (2, 5, 9)
    np.testing.assert_array_equal(frame_paddings, [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]])


@pytest.mark.parametrize(("reduce_after", "frames"), [((), 9), ((0,), 5), ((2,), 5), ((0, 1), 3)])
def test_every_reduction_halves_the_rate(key, reduce_after, frames):
    config = TransducerConfig(**{**vars(CONFIG), "reduce_after": reduce_after})
    model = Transducer(config, vocabulary_size=9)
    arguments = jnp.ones((1, 9, 3)), jnp.zeros((1, 9)), jnp.zeros((1, 2), jnp.int32)
    params = jax.eval_shape(model.init, key, *arguments)
    encode = functools.partial(model.apply, method="encode")
    encoded, _ = jax.eval_shape(encode, params, *arguments[:2])
    assert encoded.shape == (1, frames, 7)
    assert frames == -(-9 // config.reduction)


def test_predictor_steps_equal_the_whole_sequence(setup):
    model, params, _, _, labels = setup
    whole = run(model, params, labels, method="predict")
    step = jax.jit(functools.partial(model.apply, method="predict_step"))
    state = model.initial_state(2)
    tokens = jnp.pad(labels, ((0, 0), (1, 0)))
    for position in range(tokens.shape[1]):
        predicted, state = step(params, tokens[:, position], state)
        np.testing.assert_allclose(predicted, whole[:, position], rtol=1e-5, atol=1e-6)


def test_the_predictor_sees_only_earlier_labels(setup):
    model, params, _, _, labels = setup
    changed = labels.at[:, 1].set(7)
    before = run(model, params, labels, method="predict")
    after = run(model, params, changed, method="predict")
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.all(np.any(before[:, 2:] != after[:, 2:], axis=-1))


def test_padding_changes_no_valid_frame(setup):
    model, params, features, paddings, _ = setup
    encoded, _ = run(model, params, features, paddings, method="encode")
    longer = jnp.pad(features, ((0, 0), (0, 6), (0, 0)), constant_values=9.0)
    longer_paddings = jnp.pad(paddings, ((0, 0), (0, 6)), constant_values=1.0)
    padded, frame_paddings = run(model, params, longer, longer_paddings, method="encode")
    np.testing.assert_allclose(padded[0, :5], encoded[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded[1, :3], encoded[1, :3], rtol=1e-5, atol=1e-6)
    assert np.sum(1 - frame_paddings) == 8


def test_joiners_are_sum_and_product(setup):
    model, params, _, _, _ = setup
    encoded, predicted = jnp.full((1, 7), 0.5), jnp.full((1, 7), 0.25)
    joint = 0.125 if model.config.joiner == "multiplicative" else 0.75
    output = params["params"]["output"]
    expected = jnp.tanh(jnp.full((1, 7), joint)) @ output["kernel"] + output["bias"][None]
    logits = model.apply(params, encoded, predicted, method="join")
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_only(setup):
    model, params, features, paddings, labels = setup
    rngs = {"dropout": jax.random.key(3)}
    for method, arguments in (("encode", (features, paddings)), ("predict", (labels,))):
        quiet = run(model, params, *arguments, method=method)
        noisy = run(model, params, *arguments, deterministic=False, rngs=rngs, method=method)
        assert jax.tree.leaves(quiet)[0].shape == jax.tree.leaves(noisy)[0].shape
        assert np.any(jax.tree.leaves(quiet)[0] != jax.tree.leaves(noisy)[0])


def test_paper_preset_has_57_million_parameters():
    # 240 spectral features and 100 of the speaker, 45 characters and the blank (arXiv:2103.09935 as
    # remembered); 57.13 M and the 256 x 46 + 46 of the auxiliary output.
    assert num_parameters(PRESETS["paper"], 46, 340) == pytest.approx(57.14e6, rel=1e-3)


def test_pairs_are_joined_and_odd_ends_kept():
    frames = jnp.arange(6.0).reshape(1, 3, 2)
    joined, paddings = join_pairs(frames, jnp.zeros((1, 3)))
    np.testing.assert_array_equal(joined, [[[0, 1, 2, 3], [4, 5, 0, 0]]])
    np.testing.assert_array_equal(paddings, [[0, 0]])


STREAMING = TransducerConfig(
    **{**vars(CONFIG), "bidirectional": False, "lookahead": 2, "reduce_after": (0,)}
)


def test_parts_of_a_recording_are_encoded_as_the_whole(key):
    model = Transducer(STREAMING, vocabulary_size=9)
    features = jax.random.normal(key, (2, 31, 3))
    paddings = jnp.asarray([[0.0] * 31, [0.0] * 26 + [1.0] * 5])
    params = model.init(key, features, paddings, jnp.zeros((2, 1), jnp.int32))
    params["params"] |= {
        name: {"weights": jax.random.normal(jax.random.key(i), (3, 6))}
        for i, name in enumerate(["lookahead_1", "lookahead_2"])
    }
    whole, whole_paddings = model.apply(params, features, paddings, method="encode")
    assert whole.shape == (2, 16, 7)
    state, parts = None, []
    for start, end in ((0, 12), (12, 16), (16, 20), (20, 31)):
        *part, state = model.apply(
            params, features[:, start:end], paddings[:, start:end], state,
            is_last=end == 31, method="encode_part",
        )  # fmt: skip
        parts.append(part)
    assert [encoded.shape[1] for encoded, _ in parts] == [2, 2, 2, 10]
    encoded, part_paddings = (jnp.concatenate(x, axis=1) for x in zip(*parts, strict=True))
    np.testing.assert_array_equal(part_paddings, whole_paddings)
    valid = np.asarray(whole_paddings == 0)
    np.testing.assert_allclose(encoded[valid], whole[valid], rtol=1e-5, atol=1e-6)
    # A frame depends on the 2 x 2 next ones and on no later one.
    later = features.at[:, 20:].add(1.0)
    changed, _ = model.apply(params, later, jnp.zeros((2, 31)), method="encode")
    plain, _ = model.apply(params, features, jnp.zeros((2, 31)), method="encode")
    differs = np.abs(changed - plain).max(axis=(0, 2)) > 1e-6
    assert np.flatnonzero(differs)[0] == 10 - 4


def test_what_cannot_be_encoded_in_parts_is_refused(key):
    features, paddings = jnp.ones((1, 5, 3)), jnp.zeros((1, 5))
    for config, message in ((CONFIG, "whole recordings"), (STREAMING, "within a pair of frames")):
        model = Transducer(config, vocabulary_size=9)
        params = model.init(key, features, paddings, jnp.zeros((1, 1), jnp.int32))
        with pytest.raises(ValueError, match=message):
            model.apply(params, features, paddings, None, is_last=False, method="encode_part")
