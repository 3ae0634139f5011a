"""Length perturbation against lists of frames in Python, and against exact probabilities."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.augmentation import length_perturb
from gossamer.speech.random_subsets import draw_subset

LENGTHS = np.array([60, 41, 7, 1, 0])
ROWS = len(LENGTHS)
PADDINGS = jnp.asarray(np.arange(60)[None] >= LENGTHS[:, None], jnp.float32)
# Every frame is told apart by its number, and none is zero.
NUMBERS = np.tile(1.0 + np.arange(60)[None, :, None], (ROWS, 1, 3))
FEATURES = jnp.asarray(NUMBERS * (PADDINGS[:, :, None] == 0), jnp.float32)
OPTIONS = {"drop_fraction": 0.1, "drop_run": 4, "insert_fraction": 0.2, "insert_run": 2}


def count(fraction, length):
    return math.floor(fraction * length + 0.5)


def reference(key, drop_fraction, drop_run, insert_fraction, insert_run):
    """The steps of the patent's claim, with the frames that the same key draws."""
    _, drop_key, insert_key = jax.random.split(key, 3)
    valid = PADDINGS == 0
    counts = jnp.asarray([count(drop_fraction, n) for n in LENGTHS])
    drops = np.asarray(draw_subset(drop_key, valid, counts))
    kept = np.zeros(drops.shape, bool)
    for row, length in enumerate(LENGTHS):
        frames = set(range(length))
        for start in np.flatnonzero(drops[row]):
            frames -= set(range(start, start + drop_run))
        kept[row, sorted(frames) if frames else list(range(length))] = True
    counts = jnp.asarray([count(insert_fraction, n) for n in kept.sum(axis=1)])
    inserts = np.asarray(draw_subset(insert_key, jnp.asarray(kept), counts))
    rows = []
    for row in range(ROWS):
        frames = []
        for frame in np.flatnonzero(kept[row]):
            frames.append(frame + 1)
            frames += [0] * insert_run * bool(inserts[row, frame])
        rows.append(frames)
    return rows


def frames_of(features, paddings):
    """The numbers of each row's valid frames; padding lies on the right and is zero."""
    features, paddings = np.asarray(features), np.asarray(paddings)
    assert (features == features[:, :, :1]).all()
    assert (np.diff(paddings, axis=1) >= 0).all()
    assert not features[paddings == 1].any()
    return [row[padding == 0, 0].tolist() for row, padding in zip(features, paddings, strict=True)]


@pytest.mark.parametrize(
    "changes", [{}, {"drop_run": 0}, {"insert_run": 0}, {"drop_fraction": 0.5}]
)
def test_equals_the_reference(key, changes):
    options = OPTIONS | changes
    for draw in jax.random.split(key, 5):
        result, paddings = length_perturb(draw, FEATURES, PADDINGS, **options)
        assert frames_of(result, paddings) == reference(draw, **options)
    longest = 60 + count(options["insert_fraction"], 60) * options["insert_run"]
    assert result.shape == (ROWS, longest, 3)
    assert (result.dtype, paddings.dtype) == (FEATURES.dtype, PADDINGS.dtype)


@pytest.mark.parametrize("with_replacement", [False, True])
def test_the_number_of_inserted_frames_is_exact(key, with_replacement):
    options = OPTIONS | {"with_replacement": with_replacement, "drop_run": 0}
    result, paddings = length_perturb(key, FEATURES, PADDINGS, **options)
    for length, frames in zip(LENGTHS, frames_of(result, paddings), strict=True):
        assert frames.count(0) == 2 * count(0.2, length)
        assert [frame for frame in frames if frame] == list(range(1, length + 1))


@pytest.mark.parametrize("with_replacement", [False, True])
def test_overlapping_runs_leave_the_exact_fraction(key, with_replacement):
    rows, length, run = 4000, 50, 7
    drops = count(0.1, length)
    _, paddings = length_perturb(
        key,
        jnp.ones((rows, length, 1)),
        jnp.zeros((rows, length)),
        drop_fraction=0.1,
        drop_run=run,
        insert_run=0,
        with_replacement=with_replacement,
    )
    windows = [min(run, frame + 1) for frame in range(length)]
    if with_replacement:
        expected = sum((1 - window / length) ** drops for window in windows)
    else:
        expected = sum(math.comb(length - window, drops) for window in windows)
        expected /= math.comb(length, drops)
    kept = np.asarray((paddings == 0).sum(axis=1))
    assert kept.mean() == pytest.approx(expected, abs=5 * kept.std() / math.sqrt(rows))
    assert abs(kept.mean() - length * (1 - 0.1 * run)) > 5  # runs merge


@pytest.mark.parametrize("changes", [{"probability": 0.0}, {"drop_run": 0, "insert_run": 0}])
def test_nothing_to_do_is_the_identity(key, changes):
    result, paddings = length_perturb(key, FEATURES, PADDINGS, **OPTIONS | changes)
    np.testing.assert_array_equal(result[:, :60], FEATURES)
    np.testing.assert_array_equal(paddings[:, :60], PADDINGS)
    assert (paddings[:, 60:] == 1).all()


def test_a_part_of_the_recordings_is_perturbed(key):
    rows = 2000
    _, paddings = length_perturb(
        key, jnp.ones((rows, 20, 1)), jnp.zeros((rows, 20)), probability=0.3, insert_run=0
    )
    perturbed = np.asarray((paddings == 0).sum(axis=1) < 20).sum()
    assert abs(perturbed - 600) < 5 * math.sqrt(rows * 0.3 * 0.7)


def test_too_short_a_rest_keeps_all_frames(key):
    result, paddings = length_perturb(
        key, FEATURES, PADDINGS, drop_fraction=1.0, drop_run=1, insert_run=0
    )
    assert [len(frames) for frames in frames_of(result, paddings)] == LENGTHS.tolist()
    least = jnp.asarray([60, 30, 1, 1, 1])
    options = {"drop_fraction": 0.1, "drop_run": 1, "insert_run": 0, "min_frames": least}
    result, paddings = length_perturb(key, FEATURES, PADDINGS, **options)
    assert [len(frames) for frames in frames_of(result, paddings)] == [60, 37, 6, 1, 0]


@pytest.mark.parametrize("with_replacement", [False, True])
def test_padding_further_changes_nothing(key, with_replacement):
    options = OPTIONS | {"with_replacement": with_replacement}
    wider = jnp.pad(FEATURES, ((0, 0), (0, 11), (0, 0)))
    wider_paddings = jnp.pad(PADDINGS, ((0, 0), (0, 11)), constant_values=1)
    first = frames_of(*length_perturb(key, FEATURES, PADDINGS, **options))
    assert frames_of(*length_perturb(key, wider, wider_paddings, **options)) == first
    other = length_perturb(jax.random.key(1), FEATURES, PADDINGS, **options)
    assert frames_of(*other) != first


def test_compiles_once(key):
    options = OPTIONS | {"insert_run": 5}
    length_perturb(key, FEATURES, PADDINGS, **options)
    size = length_perturb._cache_size()
    length_perturb(jax.random.key(1), 2 * FEATURES, PADDINGS, **options)
    assert length_perturb._cache_size() == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_fraction": 1.1}, r"`drop_fraction` must be in \[0, 1\], got 1.1"),
        ({"insert_fraction": -0.1}, r"`insert_fraction` must be in \[0, 1\], got -0.1"),
        ({"drop_run": -1}, "`drop_run` must be at least 0, got -1; 0 turns it off"),
        ({"insert_run": -2}, "`insert_run` must be at least 0, got -2"),
    ],
)
def test_options_are_checked(key, options, message):
    with pytest.raises(ValueError, match=message):
        length_perturb(key, FEATURES, PADDINGS, **options)
