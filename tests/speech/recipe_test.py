import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, training
from gossamer.speech import experiment, features, recipe
from gossamer.speech.run_config import (
    AugmentationConfig,
    CompressionConfig,
    LabelNoiseConfig,
    LearnersConfig,
    LengthPerturbationConfig,
    OptimizerConfig,
    SequenceNoiseConfig,
    SpeechConfig,
)
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig
from gossamer.speech.transducer_loss import transducer_loss

MODEL = TransducerConfig(
    encoder_layers=1,
    encoder_size=8,
    reduce_after=(0,),
    embedding_size=4,
    predictor_size=8,
    joiner_size=8,
    dropout=0.0,
    embedding_dropout=0.0,
    dropconnect=0.0,
)
QUIET = AugmentationConfig(num_time_masks=0, num_frequency_masks=0)
CONFIG = SpeechConfig(
    model=MODEL,
    augmentation=QUIET,
    optimizer=OptimizerConfig(steps=20, peak_learning_rate=1e-2, ctc_weight=0.5),
    learners=LearnersConfig(number=2),
)
NETWORK = Transducer(MODEL, vocabulary_size=5)
apply = jax.jit(NETWORK.apply)
extract = jax.jit(features.extract)
loss_of = jax.jit(recipe.loss_function(CONFIG, NETWORK))


def make_batch(seed, batch=3, samples=4000, num_labels=4):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, num_labels + 1, size=batch)
    label_paddings = (np.arange(num_labels)[None] >= lengths[:, None]).astype(np.float32)
    labels = generator.integers(1, 5, size=(batch, num_labels)) * (label_paddings == 0)
    num_samples = generator.integers(3000, samples + 1, size=batch)
    waveform_paddings = (np.arange(samples)[None] >= num_samples[:, None]).astype(np.float32)
    waveform = generator.normal(scale=0.1, size=(batch, samples)) * (1 - waveform_paddings)
    return {
        "waveform": jnp.asarray(waveform, jnp.float32),
        "waveform_paddings": jnp.asarray(waveform_paddings),
        "labels": jnp.asarray(labels, jnp.int32),
        "label_paddings": jnp.asarray(label_paddings),
    }


@pytest.fixture(scope="module")
def params():
    return experiment.initial_parameters(NETWORK, seed=0)


def test_loss_equals_the_sum_of_its_parts(params, key):
    batch = make_batch(0)
    total, parts = loss_of(params, batch, key)
    inputs, paddings = extract(batch["waveform"], waveform_paddings=batch["waveform_paddings"])
    logits, frame_paddings, connectionist = apply(params, inputs, paddings, batch["labels"])
    num_labels = float(jnp.sum(1 - batch["label_paddings"]))
    labels = batch["labels"], batch["label_paddings"]
    expected = float(jnp.sum(transducer_loss(logits, frame_paddings, *labels))) / num_labels
    expected_ctc = (
        float(jnp.sum(optax.ctc_loss(connectionist, frame_paddings, *labels))) / num_labels
    )
    assert float(parts["transducer_loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(parts["ctc_loss"]) == pytest.approx(expected_ctc, rel=1e-5)
    assert float(total) == pytest.approx(expected + 0.5 * expected_ctc, rel=1e-5)


def test_more_labels_than_frames_leaves_the_auxiliary_loss_out(params, key):
    batch = make_batch(0, num_labels=60)
    batch["labels"] = jnp.full_like(batch["labels"], 2)
    batch["label_paddings"] = jnp.zeros_like(batch["label_paddings"])
    total, parts = loss_of(params, batch, key)
    assert float(parts["ctc_loss"]) == 0.0
    assert np.isfinite(float(total))


def test_an_empty_batch_costs_nothing(params, key):
    batch = jax.tree.map(jnp.zeros_like, make_batch(0))
    batch["waveform_paddings"] = jnp.ones_like(batch["waveform_paddings"])
    batch["label_paddings"] = jnp.ones_like(batch["label_paddings"])
    differentiate = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (total, _), gradient = differentiate(params, batch, key)
    assert float(total) == 0.0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_noise_reaches_the_predictor_and_leaves_targets_and_encoder_alone(params, key):
    batch = make_batch(0)
    clean, clean_parts = loss_of(params, batch, key)
    noise = LabelNoiseConfig(switchout=100.0)
    config = dataclasses.replace(CONFIG, label_noise=noise)
    noisy, parts = jax.jit(recipe.loss_function(config, NETWORK))(params, batch, key)
    assert float(parts["ctc_loss"]) == float(clean_parts["ctc_loss"])
    assert float(noisy) != float(clean)
    inputs, paddings = extract(batch["waveform"], waveform_paddings=batch["waveform_paddings"])
    prefixes = jnp.full_like(batch["labels"], 3)
    losses, _ = jax.jit(recipe.utterance_losses, static_argnums=0)(
        NETWORK, params, inputs, paddings, batch, prefixes=prefixes
    )
    logits, frame_paddings, _ = apply(params, inputs, paddings, prefixes)
    expected = transducer_loss(logits, frame_paddings, batch["labels"], batch["label_paddings"])
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_sampling_needs_a_language_model():
    config = dataclasses.replace(CONFIG, label_noise=LabelNoiseConfig(scheduled_sampling=0.2))
    with pytest.raises(ValueError, match="`token_logits` must be given"):
        recipe.loss_function(config, NETWORK)


@pytest.mark.parametrize("algorithm", ["dpsgd", "ssgd", "delay_by_one"])
def test_learners_learn_together(params, algorithm):
    noise = 1e-3 if algorithm == "ssgd" else 0.0
    chosen = LearnersConfig(number=2, algorithm=algorithm, weight_noise=noise, diagnose_every=5)
    config = dataclasses.replace(CONFIG, learners=chosen)
    optimizer = recipe.optimizer(config)
    state = training.init_state(params, optimizer, jax.random.key(1), num_learners=2)
    step = learners.spread(recipe.training_step(config, NETWORK, optimizer), 2)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), make_batch(0), make_batch(1))
    losses, rates = [], []
    for _ in range(CONFIG.optimizer.steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"][0]))
        rates.append(float(metrics["effective_learning_rate"][0]))
    assert losses[-1] < 0.7 * losses[0]
    apart = float(metrics["consensus_distance"][0]) > 0
    assert apart == (algorithm != "ssgd")
    measured = np.isfinite(rates)
    np.testing.assert_array_equal(measured, (np.arange(len(rates)) + 1) % 5 == 0)
    if algorithm == "ssgd":  # All learners are at the mean.
        expected = [recipe.schedule(config.optimizer)(step) for step in np.flatnonzero(measured)]
        np.testing.assert_allclose(np.asarray(rates)[measured], expected, rtol=1e-4)


@pytest.mark.parametrize("scheme", ["scalecom", "power_sgd"])
def test_learners_learn_from_compressed_gradients(params, scheme):
    config = dataclasses.replace(
        CONFIG,
        learners=LearnersConfig(number=2, algorithm="ssgd", diagnose_every=5),
        compression=CompressionConfig(scheme=scheme, rate=8.0, beta=0.5),
    )
    optimizer = recipe.optimizer(config)
    state = training.init_state(params, optimizer, jax.random.key(1), num_learners=2)
    step = learners.spread(recipe.training_step(config, NETWORK, optimizer), 2)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), make_batch(0), make_batch(1))
    losses, ratios = [], []
    for _ in range(CONFIG.optimizer.steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"][0]))
        ratios.append(float(metrics["residual_ratio"][0]))
    assert losses[-1] < 0.8 * losses[0]
    assert float(metrics["consensus_distance"][0]) == 0
    dense_steps = round(0.1 * len(ratios))
    measured = np.flatnonzero(np.isfinite(ratios))
    np.testing.assert_array_equal(np.asarray(ratios)[measured] > 0, measured > dense_steps)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (LengthPerturbationConfig(drop_fraction=2.0), r"length_perturb\.drop_fraction.*got 2\.0"),
        (LengthPerturbationConfig(drop_run=-1), r"length_perturb\.drop_run.*got -1"),
        (SequenceNoiseConfig(probability=-0.1), r"sequence_noise\.probability.*got -0\.1"),
        (SequenceNoiseConfig(weight=-1.0), r"sequence_noise\.weight.*got -1\.0"),
        (LabelNoiseConfig(switchout=-1.0), r"label_noise\.switchout.*got -1\.0"),
        (LabelNoiseConfig(scheduled_sampling=1.5), r"label_noise\.scheduled_sampling.*got 1\.5"),
        (LabelNoiseConfig(language_model_steps=0), r"language_model_steps.*got 0"),
        (LabelNoiseConfig(nbest=0.1), "`label_noise.nbest` needs alternatives; name their file"),
    ],
)
def test_noise_out_of_range_is_refused_before_training(part, message):
    if isinstance(part, LengthPerturbationConfig):
        part = AugmentationConfig(length_perturb=part)
    elif isinstance(part, SequenceNoiseConfig):
        part = AugmentationConfig(sequence_noise=part)
    with pytest.raises(ValueError, match=message):
        part.check()
    type(part)().check()


def test_schedule_rises_to_the_peak_and_falls():
    schedule = jax.jit(recipe.schedule(CONFIG.optimizer))
    rates = [float(schedule(step)) for step in range(20)]
    assert max(rates) == pytest.approx(1e-2, rel=1e-3)
    assert 0 < np.argmax(rates) < 10
    assert rates[-1] < rates[0] < rates[np.argmax(rates)]


def test_initialization_trains_the_encoder_by_the_auxiliary_loss_alone(params, key):
    batch = make_batch(0)
    _, parts = loss_of(params, batch, key)
    loss = recipe.loss_function(CONFIG, NETWORK, initializes=True)
    differentiate = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (total, details), gradients = differentiate(params, batch, key)
    assert float(total) == pytest.approx(float(parts["ctc_loss"]), rel=1e-6)
    assert np.isnan(details["transducer_loss"])
    moved = {name for name, part in gradients["params"].items() if optax.tree.norm(part) > 0}
    assert moved == {"encoder_1", "encoder_projection", "ctc_output"}


def test_bfloat16_products_barely_change_loss_and_gradients(params, key):
    batch = make_batch(0)
    half = dataclasses.replace(CONFIG, precision="bfloat16")
    ((loss, _), gradients), ((expected, _), reference) = (
        jax.jit(jax.value_and_grad(recipe.loss_function(config, NETWORK), has_aux=True))(
            params, batch, key
        )
        for config in (half, CONFIG)
    )
    assert loss != expected
    assert float(loss) == pytest.approx(float(expected), rel=0.01)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradients))
    difference = optax.tree.norm(optax.tree.sub(gradients, reference))
    assert float(difference / optax.tree.norm(reference)) < 0.05


@pytest.mark.parametrize(
    ("options", "learners_options", "message"),
    [
        ({"ctc_steps": 20}, {}, r"`optimizer.ctc_steps` must be at least 0 and below"),
        ({"ctc_steps": 5, "ctc_weight": 0.0}, {}, r"`optimizer.ctc_steps` needs a positive"),
        ({"ctc_steps": 5}, {"engine": "threads"}, r"learners in step, got .* engine threads"),
        ({"microbatches": 5}, {}, r"`optimizer.microbatches` must .* got 5 for 16 of 32 rows"),
        ({"microbatches": 0}, {}, r"`optimizer.microbatches` must be positive"),
    ],
)
def test_impossible_stages_and_parts_are_refused(options, learners_options, message):
    optimizer = dataclasses.replace(CONFIG.optimizer, **options)
    some = dataclasses.replace(CONFIG.learners, **learners_options)
    with pytest.raises(ValueError, match=message):
        optimizer.check(CONFIG.data, some)
