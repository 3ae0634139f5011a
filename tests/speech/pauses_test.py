import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.speech import pauses

RATE = 8000


def test_short_recordings_stay_whole():
    assert pauses.cut(np.ones(RATE), RATE, max_seconds=2.0) == [0, RATE]


def test_cuts_inside_the_pause():
    waveform = np.random.default_rng(0).normal(size=10 * RATE).astype(np.float32)
    waveform[int(4.2 * RATE) : int(4.6 * RATE)] *= 1e-3
    boundaries = pauses.cut(waveform, RATE, max_seconds=6.0)
    assert len(boundaries) == 3
    assert 4.2 * RATE < boundaries[1] < 4.6 * RATE


@given(st.integers(1, 60 * RATE), st.floats(0.5, 20.0), st.integers(0, 5))
def test_pieces_cover_the_recording_and_are_short_enough(samples, max_seconds, seed):
    waveform = np.random.default_rng(seed).normal(size=samples).astype(np.float32)
    boundaries = pauses.cut(waveform, RATE, max_seconds=max_seconds)
    pieces = np.diff(boundaries)
    assert boundaries[0] == 0
    assert boundaries[-1] == samples
    assert np.all(pieces > 0)
    assert np.all(pieces <= max_seconds * RATE)


def test_refuses_no_length():
    with pytest.raises(ValueError, match="max_seconds"):
        pauses.cut(np.ones(8), RATE, max_seconds=0.0)
