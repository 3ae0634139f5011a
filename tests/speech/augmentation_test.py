"""Properties of SpecAugment's masks, checked on features without a zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.augmentation import spec_augment

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
    zero = np.asarray(spec_augment(key, features, paddings, num_frequency_masks=0) == 0)
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
    masked = spec_augment(key, jnp.ones((8, 200, 40)), jnp.zeros((8, 200)))
    assert len({row.tobytes() for row in np.asarray(masked)}) == 8


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
