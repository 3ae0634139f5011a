"""Speed, sequence noise in energies, and SpecAugment's masks on features without a zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.augmentation import sequence_noise, spec_augment, speed_perturb

LENGTHS = np.array([200, 57, 9, 0])
NO_MASKS = {"num_time_masks": 0, "num_frequency_masks": 0}


@pytest.fixture
def features():
    return jnp.asarray(1 + np.random.default_rng(0).random((4, 200, 40)), jnp.float32)


@pytest.fixture
def paddings():
    return jnp.asarray(np.arange(200)[None] >= LENGTHS[:, None], jnp.float32)


def test_no_masks_is_the_identity(key, features, paddings):
    np.testing.assert_array_equal(spec_augment(key, features, paddings, **NO_MASKS), features)


@pytest.mark.parametrize(("width", "fraction"), [(20, 0.1), (3, 1.0), (1000, 1.0), (0, 0.5)])
def test_a_time_mask_is_one_bounded_run_of_valid_frames(key, features, paddings, width, fraction):
    options = NO_MASKS | {"num_time_masks": 1}
    for draw in jax.random.split(key, 20):
        masked = spec_augment(
            draw, features, paddings, **options, max_time_width=width, max_time_fraction=fraction
        )
        zero = np.asarray(masked == 0)
        frames = zero.all(axis=2)
        np.testing.assert_array_equal(zero.any(axis=2), frames)  # whole frames
        for row, length in enumerate(LENGTHS):
            where = np.flatnonzero(frames[row])
            assert len(where) <= min(width, int(np.float32(fraction) * length))
            assert (np.diff(where) == 1).all()
            assert (where < length).all()


def test_a_frequency_mask_is_one_bounded_band(key, features, paddings):
    options = NO_MASKS | {"num_frequency_masks": 1}
    for draw in jax.random.split(key, 20):
        zero = np.asarray(
            spec_augment(draw, features, paddings, **options, max_frequency_width=10) == 0
        )
        for row, length in enumerate(LENGTHS):
            where = np.flatnonzero(zero[row].any(axis=0))
            assert len(where) <= 10
            assert (np.diff(where) == 1).all()
            assert zero[row][:length, where].all()


def test_several_masks_stay_below_the_sum_of_their_bounds(key, features, paddings):
    zero = np.asarray(spec_augment(key, features, paddings) == 0)
    masked = zero.all(axis=2).sum(axis=1)
    assert (masked <= 4 * np.minimum(20, LENGTHS // 10)).all()


def test_unmasked_entries_and_padding_are_untouched(key, features, paddings):
    masked = np.asarray(spec_augment(key, features, paddings))
    np.testing.assert_array_equal(masked[masked != 0], np.asarray(features)[masked != 0])
    padded = np.asarray(paddings) == 1
    np.testing.assert_array_equal(masked[padded], np.asarray(features)[padded])


def test_masks_depend_on_the_key_alone(key, features, paddings):
    first = spec_augment(key, features, paddings)
    again = spec_augment(key, 2 * features, paddings)
    other = spec_augment(jax.random.key(1), features, paddings)
    np.testing.assert_array_equal(2 * first, again)
    assert (first != other).any()


def test_recordings_of_a_batch_get_different_masks(key):
    masked = spec_augment(key, jnp.ones((4, 200, 40)), jnp.zeros((4, 200)))
    assert len({row.tobytes() for row in np.asarray(masked)}) == 4


def test_widths_are_uniform(key):
    # Of 4000 draws each of 11 widths expects 364 with a standard deviation of 18; five make 91.
    masked = spec_augment(
        key,
        jnp.ones((4000, 100, 1)),
        jnp.zeros((4000, 100)),
        **NO_MASKS | {"num_time_masks": 1},
        max_time_width=10,
        max_time_fraction=1.0,
    )
    widths = np.bincount(np.asarray((masked == 0).sum(axis=(1, 2))), minlength=11)
    assert len(widths) == 11
    assert (abs(widths - 4000 / 11) < 91).all()


def test_sequence_noise_adds_the_energies_of_another_recording(key):
    generator = np.random.default_rng(0)
    lengths = np.array([30, 20, 25, 3])
    energies = generator.gamma(2.0, size=(4, 30, 5))
    valid = np.arange(30)[None] < lengths[:, None]
    log_mel = jnp.asarray(np.where(valid[:, :, None], np.log(energies), 0), jnp.float32)
    noisy = sequence_noise(
        key, log_mel, jnp.asarray(~valid, jnp.float32), probability=1.0, weight=0.4
    )
    partners = []
    for row, length in enumerate(lengths):
        candidates = {}
        for other in set(range(4)) - {row}:
            sounding = valid[other][:length, None]
            candidates[other] = energies[row, :length] + np.where(
                sounding, 0.4 * energies[other, :length], 0
            )
        found = np.exp(np.asarray(noisy[row, :length]))
        # Float32 logarithms and back cost a few of the last bits.
        matches = [o for o, expected in candidates.items() if np.allclose(found, expected, 1e-5)]
        assert len(matches) == 1
        partners += matches
        np.testing.assert_array_equal(noisy[row, length:], 0)
    again = sequence_noise(
        key,
        jnp.pad(log_mel, ((0, 0), (0, 4), (0, 0))),
        jnp.pad(jnp.asarray(~valid, jnp.float32), ((0, 0), (0, 4)), constant_values=1),
        probability=1.0,
        weight=0.4,
    )
    np.testing.assert_array_equal(again[:, :30], noisy)


def test_sequence_noise_comes_with_its_probability_from_all_others_alike(key):
    rows = 2000
    log_mel = jnp.log(1.0 + jnp.arange(rows, dtype=jnp.float32))[:, None, None]
    noisy = sequence_noise(key, log_mel, jnp.zeros((rows, 1)), probability=0.3, weight=1.0)
    partners = np.asarray(jnp.exp(noisy) - jnp.exp(log_mel))[:, 0, 0]
    noisy_rows = partners > 0.5
    assert abs(noisy_rows.sum() - 0.3 * rows) < 5 * np.sqrt(rows * 0.3 * 0.7)
    spread = rows / np.sqrt(12 * noisy_rows.sum())  # of the mean of uniform draws
    assert abs(partners[noisy_rows].mean() - (rows + 1) / 2) < 5 * spread


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"probability": 0.0}])
def test_no_sequence_noise_is_the_identity(key, features, paddings, options):
    noisy = sequence_noise(key, features, paddings, **{"probability": 1.0} | options)
    np.testing.assert_allclose(noisy, features, rtol=1e-6)


def test_a_recording_alone_gets_no_noise(key, features):
    noisy = sequence_noise(key, features[:1], jnp.zeros((1, 200)), probability=1.0)
    np.testing.assert_array_equal(noisy, features[:1])


def test_speed_divides_the_length():
    waveform = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    assert len(speed_perturb(waveform, 8000, speed=1.25)) == 6400
    assert speed_perturb(waveform, 8000, speed=1.0) is waveform
    with pytest.raises(ValueError, match="`speed` must be positive, got 0"):
        speed_perturb(waveform, 8000, speed=0)
