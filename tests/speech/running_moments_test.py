import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech import features, running_moments
from gossamer.speech.running_moments import PRIOR_FRAMES, PRIOR_MEAN, PRIOR_VARIANCE


def make_features(frames=50):
    rng = np.random.default_rng(0)
    x = 12 + 4 * rng.standard_normal((2, frames, 3)).astype(np.float32)
    paddings = np.zeros((2, frames), np.float32)
    paddings[1, 30:] = 1
    return jnp.asarray(x), jnp.asarray(paddings)


def test_each_frame_is_normalized_by_those_up_to_it():
    x, paddings = make_features()
    found, _ = jax.jit(running_moments.normalize)(x, paddings)
    for row, length in ((0, 50), (1, 30)):
        for frame in (0, 7, length - 1):
            seen = np.asarray(x[row, : frame + 1], np.float64)
            weight = PRIOR_FRAMES + frame + 1
            mean = (PRIOR_FRAMES * PRIOR_MEAN + seen.sum(axis=0)) / weight
            squares = PRIOR_FRAMES * (PRIOR_VARIANCE + PRIOR_MEAN**2) + (seen**2).sum(axis=0)
            expected = (seen[-1] - mean) / np.sqrt(squares / weight - mean**2 + 1e-5)
            np.testing.assert_allclose(found[row, frame], expected, rtol=1e-4, atol=1e-5)
    assert not found[1, 30:].any()


def test_parts_give_the_whole():
    x, paddings = make_features()
    whole, last = running_moments.normalize(x, paddings)
    moments, parts = None, []
    for part in (slice(0, 1), slice(1, 33), slice(33, 50)):
        found, moments = running_moments.normalize(x[:, part], paddings[:, part], moments)
        parts.append(found)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moments, last)


def test_an_hour_of_speech_loses_no_digits():
    rng = np.random.default_rng(1)
    x = (12 + 4 * rng.standard_normal((1, 360_000, 1))).astype(np.float32)
    found, _ = jax.jit(running_moments.normalize)(jnp.asarray(x), jnp.zeros((1, 360_000)))
    expected = (x[0, -1] - x.mean(dtype=np.float64)) / x.std(dtype=np.float64)
    np.testing.assert_allclose(found[0, -1], expected, rtol=2e-3, atol=2e-3)


def test_the_whole_recording_is_normalized_by_default():
    x, paddings = make_features()
    by_name = features.normalize(x, paddings, "recording")
    np.testing.assert_array_equal(features.normalize(x, paddings), by_name)
    running, _ = running_moments.normalize(x, paddings)
    np.testing.assert_array_equal(features.normalize(x, paddings, "running"), running)
    assert np.abs(by_name - running).max() > 0.1
