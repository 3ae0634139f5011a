import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.blocks import MATRIX
from gossamer.core.quantization import Policy
from gossamer.core.quantizers import pact_plus
from gossamer.speech import features
from gossamer.speech.calibration import calibrate, clip_metrics, draw_variables, first_clips
from gossamer.speech.front_end import transducer_inputs
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.policies import named_policy
from gossamer.speech.run_config import DataConfig
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

MODEL = TransducerConfig(
    encoder_layers=1,
    encoder_size=4,
    reduce_after=(0,),
    embedding_size=3,
    predictor_size=4,
    joiner_size=5,
)
# Weights have learned clips here, besides those of `int4_paper` for activations.
LEARNED = Policy(
    weights=(
        (r"(encoder_1|predictor)/kernel", pact_plus(4, MATRIX, symmetric=True)),
        ("output/kernel", pact_plus(4)),
    ),
    activations=named_policy("int4_paper").activations,
)
NETWORK = Transducer(MODEL, vocabulary_size=6, policy=LEARNED)
INPUTS = functools.partial(transducer_inputs, DataConfig())


def make_batch(seed, learners=()):
    generator = np.random.default_rng(seed)
    samples = generator.integers(1500, 2001, size=(*learners, 2))
    paddings = (np.arange(2000) >= samples[..., None]).astype(np.float32)
    waveform = generator.normal(scale=0.1 * seed, size=paddings.shape) * (1 - paddings)
    return {
        "waveform": waveform.astype(np.float32),
        "waveform_paddings": paddings,
        "labels": generator.integers(1, 6, size=(*learners, 2, 3)).astype(np.int32),
        "label_paddings": np.zeros((*learners, 2, 3), np.float32),
    }


@pytest.fixture(scope="module")
def params():
    def draw(key):
        inputs = np.zeros((1, 8, 240), np.float32), np.zeros((1, 8), np.float32)
        return NETWORK.init(key, *inputs, np.zeros((1, 2), np.int32))["params"]

    return jax.jit(draw)(jax.random.key(0))


@pytest.fixture(scope="module")
def clips(params):
    """Of the first two of many batches, each for two learners."""
    batches = (make_batch(seed, learners=(2,)) for seed in itertools.count(1))
    return calibrate(NETWORK, params, batches, INPUTS, number=2)


def test_clips_are_means_of_percentiles_over_batches(clips):
    ends = []
    for seed in (1, 2):
        batch = {name: x.reshape(4, -1) for name, x in make_batch(seed, learners=(2,)).items()}
        frames, _ = jax.jit(features.extract)(
            batch["waveform"], waveform_paddings=batch["waveform_paddings"]
        )
        frames = np.asarray(frames, np.float64)
        if frames.shape[1] % 2:  # the encoder joins pairs of frames
            frames = np.concatenate([frames, np.zeros_like(frames[:, :1])], axis=1)
        values = np.sort(frames.ravel())
        place = 0.001 * (values.size - 1)  # between two values
        below, share = int(place), place - int(place)
        ends.append(
            [
                values[below] * (1 - share) + values[below + 1] * share,
                values[-1 - below] * (1 - share) + values[-2 - below] * share,
            ]
        )
    low, high = np.mean(ends, axis=0)
    found = clips["encoder_1"]["input"]
    assert set(found) == {"clip_low", "clip_high"}
    assert low < 0 < high
    # The position between the two values is a float32 number up to 10^4, of 7 digits.
    np.testing.assert_allclose(found["clip_low"], low, rtol=1e-4)
    np.testing.assert_allclose(found["clip_high"], high, rtol=1e-4)


def test_learners_are_more_rows(params, clips):
    rows = [
        {name: x.reshape(4, -1) for name, x in make_batch(seed, learners=(2,)).items()}
        for seed in (1, 2)
    ]
    found = calibrate(NETWORK, params, iter(rows), INPUTS)
    chex.assert_trees_all_close(found, clips, rtol=1e-6)


def test_every_site_with_clips_has_them(params, clips):
    inputs = np.zeros((1, 8, 240)), np.zeros((1, 8)), np.zeros((1, 2), np.int32)
    expected = jax.eval_shape(lambda: first_clips(NETWORK, params, *inputs))
    chex.assert_trees_all_equal_shapes(clips, expected)
    assert clips["encoder_1"]["hidden"]["clip"].shape == (2,)
    assert "output" not in clips  # bounded: a constant clip
    assert "ctc_output" not in clips
    assert all(np.all(np.isfinite(clip)) for clip in jax.tree.leaves(clips))


def test_weights_have_clips_where_these_are_learned(params, clips):
    weights = clips["weights"]
    assert set(weights) == {"encoder_1/kernel", "predictor/kernel", "output/kernel"}
    for path in ("encoder_1/kernel", "predictor/kernel"):
        layer, name = path.split("/")
        kernel = np.abs(np.asarray(params[layer][name], np.float64))
        expected = np.percentile(kernel, 99.9, axis=(1, 2))
        np.testing.assert_allclose(weights[path]["clip"], expected, rtol=1e-5)
    ends = np.percentile(np.asarray(params["output"]["kernel"], np.float64), [0.1, 99.9])
    found = weights["output/kernel"]
    np.testing.assert_allclose([found["clip_low"], found["clip_high"]], ends, rtol=1e-5)


def test_clips_of_a_language_model():
    config = LanguageModelConfig(layers=2, size=5, embedding_size=3, dropout=0.0)
    model = LanguageModel(config, 6, named_policy("int4_paper"))
    shape = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    variables = draw_variables(model, jax.random.key(0), shape)
    params = variables["params"]
    batches = [{"labels": make_batch(seed, learners=(2,))["labels"]} for seed in (1, 2)]
    clips = calibrate(model, params, iter(batches), lambda batch: (batch["labels"],))
    chex.assert_trees_all_equal_shapes(clips, variables["clips"])
    assert set(clips) == {"layer_1", "layer_2", "weights"}  # the output's input is bounded

    plain = model.copy(policy=None)
    run = functools.partial(plain.apply, capture_intermediates=True, mutable=["intermediates"])

    def clip(batch):
        _, noted = jax.jit(run)({"params": params}, batch["labels"].reshape(4, 3))
        hidden, _ = noted["intermediates"]["layer_2"]["__call__"][0]
        return np.percentile(np.abs(np.asarray(hidden, np.float64)), 99.9)

    np.testing.assert_allclose(
        clips["layer_2"]["hidden"]["clip"], [np.mean([clip(batch) for batch in batches])], rtol=1e-5
    )


def test_metrics_name_the_sites(clips):
    metrics = clip_metrics({"params": {}, "clips": clips})
    assert metrics["clip/encoder_1/input/clip_low"] == clips["encoder_1"]["input"]["clip_low"]
    for direction in range(2):  # a clip for each
        name = f"clip/encoder_1/hidden/clip/{direction}"
        assert metrics[name] == clips["encoder_1"]["hidden"]["clip"][direction]
    assert not any("weights" in name for name in metrics)
    assert clip_metrics({"params": {}}) == {}


def test_a_model_without_policy_or_without_batches_is_refused(params):
    with pytest.raises(ValueError, match="`model` must have a policy"):
        calibrate(NETWORK.copy(policy=None), params, iter([]), INPUTS)
    with pytest.raises(ValueError, match="`batches` must hold at least one"):
        calibrate(NETWORK, params, iter([]), INPUTS)
