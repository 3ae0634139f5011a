import numpy as np
import pytest

from gossamer.speech import features
from gossamer.speech.deployment.export import front_end
from gossamer.speech.transcriber.front_end import FeatureStream, FrontEnd

# Logarithms of sums in another order.
CLOSE = {"rtol": 1e-4, "atol": 2e-4}


@pytest.mark.parametrize("seconds", [0.03, 0.05, 0.4, 1.013])
@pytest.mark.parametrize("normalization", ["recording", "running"])
def test_features_equal_those_in_jax(make_recognizer, noise, normalization, seconds):
    waveform = noise(seconds)
    expected, _ = features.extract(waveform, 8000, normalization=normalization)
    constants = front_end(make_recognizer(normalization=normalization))
    found = FeatureStream(constants).feed(waveform, is_last=True)
    np.testing.assert_allclose(found, np.asarray(expected), **CLOSE)
    assert found.dtype == np.float32


@pytest.mark.parametrize("piece", [50, 81, 1000])
def test_pieces_give_the_whole(make_recognizer, noise, piece):
    constants, waveform = front_end(make_recognizer(normalization="running")), noise(0.613)
    whole = FeatureStream(constants).feed(waveform, is_last=True)
    stream = FeatureStream(constants)
    parts = [
        stream.feed(waveform[start : start + piece]) for start in range(0, len(waveform), piece)
    ]
    parts.append(stream.feed(np.zeros(0), is_last=True))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6, atol=1e-5)
    assert len(parts[-1]) < len(whole)


@pytest.mark.parametrize("normalization", ["recording", "running"])
def test_nothing_gives_nothing(make_recognizer, normalization):
    constants = front_end(make_recognizer(normalization=normalization))
    for samples in (0, 199):  # less than a window
        found = FeatureStream(constants).feed(np.zeros(samples, np.float32), is_last=True)
        assert found.shape == (0, 240)


def test_whole_recordings_come_whole(make_recognizer, noise):
    with pytest.raises(ValueError, match="whole recording"):
        FeatureStream(front_end(make_recognizer())).feed(noise(1.0))


def test_file(make_recognizer, tmp_path):
    constants = front_end(make_recognizer(normalization="running"))
    constants.save(tmp_path / "front_end.npz")
    again = FrontEnd.load(tmp_path / "front_end.npz")
    for before, after in zip(constants, again, strict=True):
        np.testing.assert_array_equal(before, after)
    assert again.is_running is True
