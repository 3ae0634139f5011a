"""Each switch changes its own part of a batch, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.speech import features, perturbation
from gossamer.speech.run_config import (
    AugmentationConfig,
    LabelNoiseConfig,
    LengthPerturbationConfig,
    SequenceNoiseConfig,
    SpeechConfig,
)

QUIET = AugmentationConfig(num_time_masks=0, num_frequency_masks=0)
CONFIG = SpeechConfig(augmentation=QUIET)
VOCABULARY = 5


def with_augmentation(**options):
    return dataclasses.replace(CONFIG, augmentation=dataclasses.replace(QUIET, **options))


def with_noise(**options):
    return dataclasses.replace(CONFIG, label_noise=LabelNoiseConfig(**options))


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    samples = np.array([8000, 6000, 4000])
    lengths = np.array([6, 3, 4])
    paddings = np.arange(8000)[None] >= samples[:, None]
    label_paddings = np.arange(6)[None] >= lengths[:, None]
    labels = generator.integers(1, VOCABULARY, size=(3, 6)) * ~label_paddings
    waveform = generator.normal(scale=0.1, size=paddings.shape) * ~paddings
    return {
        "waveform": jnp.asarray(waveform, jnp.float32),
        "waveform_paddings": jnp.asarray(paddings, jnp.float32),
        "labels": jnp.asarray(labels, jnp.int32),
        "label_paddings": jnp.asarray(label_paddings, jnp.float32),
        "alternatives": jnp.full((3, 2, 6), 4, jnp.int32),
        "alternative_paddings": jnp.zeros((3, 2, 6)),
        "step": jnp.full(3, 50, jnp.int32),
    }


def test_masks_differ_by_key_and_only_when_asked_for(batch):
    quiet, _ = perturbation.augmented_features(CONFIG, batch, jax.random.key(0))
    plain, _ = features.extract(batch["waveform"], waveform_paddings=batch["waveform_paddings"])
    np.testing.assert_allclose(quiet, plain, rtol=1e-5, atol=1e-5)
    masked = dataclasses.replace(CONFIG, augmentation=AugmentationConfig())
    first, _ = perturbation.augmented_features(masked, batch, jax.random.key(1))
    second, _ = perturbation.augmented_features(masked, batch, jax.random.key(2))
    assert np.any(first != second)


def test_length_perturbation_only_moves_the_stacked_frames_with_the_same_masks(batch, key):
    length = LengthPerturbationConfig(probability=1.0, drop_run=3, insert_run=2)
    masks = with_augmentation(num_frequency_masks=2)
    plain, paddings = perturbation.augmented_features(masks, batch, key)
    config = with_augmentation(num_frequency_masks=2, length_perturb=length)
    moved, moved_paddings = perturbation.augmented_features(config, batch, key)
    assert moved.shape[1] > plain.shape[1]
    assert not plain[0].any(axis=0).all()  # some filters are masked
    for row in range(3):
        source = np.asarray(plain[row][paddings[row] == 0])
        result = np.asarray(moved[row][moved_paddings[row] == 0])
        inserted = ~result.any(axis=1)
        assert inserted.any()
        where = [np.flatnonzero((source == frame).all(axis=1)) for frame in result[~inserted]]
        assert all(len(found) == 1 for found in where)
        assert (np.diff(np.concatenate(where)) > 0).all()
        assert len(where) < len(source)


def test_sequence_noise_comes_before_normalization(batch, key):
    noise = SequenceNoiseConfig(probability=1.0, weight=0.5)
    plain, paddings = perturbation.augmented_features(CONFIG, batch, key)
    config = with_augmentation(sequence_noise=noise)
    noisy, noisy_paddings = perturbation.augmented_features(config, batch, key)
    np.testing.assert_array_equal(noisy_paddings, paddings)
    assert np.abs(noisy - plain).max() > 0.1
    for row in range(3):  # The static part of the first frame of each pair: normalized.
        static = np.asarray(noisy[row, :, :40][paddings[row] == 0])
        assert abs(static.mean()) < 0.1


def test_the_frames_needed_are_those_of_the_auxiliary_loss():
    labels = jnp.asarray([[1, 1, 2, 2, 2], [1, 2, 3, 1, 2], [3, 0, 0, 0, 0]])
    paddings = jnp.asarray([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]], jnp.float32)
    np.testing.assert_array_equal(perturbation.frames_needed(labels, paddings, 2), [15, 9, 1])
    needed = perturbation.frames_needed(labels, paddings, 1)
    np.testing.assert_array_equal(needed, [8, 5, 1])
    for missing in (0, 1):
        frame_paddings = np.arange(10)[None] >= np.asarray(needed)[:, None] - missing
        losses = optax.ctc_loss(
            jnp.zeros((3, 10, 4)), jnp.asarray(frame_paddings, jnp.float32), labels, paddings
        )
        assert ((losses > 1e4) == bool(missing)).all()


def test_switched_off_nothing_changes(batch, key):
    assert perturbation.smoothed_targets(CONFIG, batch, key) is batch
    prefixes = perturbation.noisy_prefixes(CONFIG, batch, key, VOCABULARY, None)
    assert prefixes is batch["labels"]


def test_switchout_and_sampling_change_what_the_predictor_reads(batch, key):
    def certain(labels):  # of the label 3
        return jnp.tile(jnp.eye(VOCABULARY)[3] * 100, (3, labels.shape[1] + 1, 1))

    config = with_noise(scheduled_sampling=1.0, ramp="constant")
    prefixes = perturbation.noisy_prefixes(config, batch, key, VOCABULARY, certain)
    np.testing.assert_array_equal(prefixes, jnp.where(batch["label_paddings"] == 0, 3, 0))
    config = with_noise(switchout=100.0)
    prefixes = perturbation.noisy_prefixes(config, batch, key, VOCABULARY, None)
    assert np.any(prefixes != batch["labels"])


def test_the_rate_of_sampling_rises_with_the_step(batch, key):
    def certain(labels):
        return jnp.tile(jnp.eye(VOCABULARY)[4] * 100, (3, labels.shape[1] + 1, 1))

    config = with_noise(scheduled_sampling=1.0)
    early = batch | {"step": jnp.zeros(3, jnp.int32)}
    late = batch | {"step": jnp.full(3, config.optimizer.steps, jnp.int32)}
    prefixes = perturbation.noisy_prefixes(config, early, key, VOCABULARY, certain)
    np.testing.assert_array_equal(prefixes, batch["labels"])
    prefixes = perturbation.noisy_prefixes(config, late, key, VOCABULARY, certain)
    np.testing.assert_array_equal(prefixes, jnp.where(batch["label_paddings"] == 0, 4, 0))


def test_alternatives_become_targets(batch, key):
    config = with_noise(nbest=1.0, alternatives="nbest.jsonl")
    smoothed = perturbation.smoothed_targets(config, batch, key)
    np.testing.assert_array_equal(smoothed["labels"], np.full((3, 6), 4))
    np.testing.assert_array_equal(smoothed["label_paddings"], np.zeros((3, 6)))
    np.testing.assert_array_equal(smoothed["waveform"], batch["waveform"])
