import numpy as np
import pytest

from gossamer.speech.corpora import synthesis, voices
from gossamer.speech.corpora.voices import SynthesisError, Voice

MALE = Voice("espeak-ng", "en-gb+m1")


def loudest_hertz(waveform, sample_rate):
    spectrum = np.abs(np.fft.rfft(waveform))
    return np.argmax(spectrum) * sample_rate / len(waveform)


@pytest.mark.usefixtures("fake_espeak")
@pytest.mark.parametrize(("speed", "pitch"), [(1.0, 1.0), (1.25, 1.0), (1.0, 1.1), (0.8, 0.9)])
def test_speed_and_pitch_are_independent(speed, pitch):
    waveform = synthesis.speak("hello there", MALE, sample_rate=8000, speed=speed, pitch=pitch)
    # The rate is a whole number of words a minute, 0.3%; trimming goes by 10 ms.
    assert len(waveform) / 8000 == pytest.approx(11 / 16 / speed + 0.06, rel=0.005, abs=0.011)
    assert loudest_hertz(waveform, 8000) == pytest.approx(400 * pitch, abs=2)
    again = synthesis.speak("hello there", MALE, sample_rate=8000, speed=speed, pitch=pitch)
    np.testing.assert_array_equal(again, waveform)


@pytest.mark.usefixtures("fake_espeak")
def test_failures_are_told():
    with pytest.raises(SynthesisError, match="espeak-ng failed with status 1: cannot say it"):
        synthesis.speak("fail", MALE, sample_rate=8000)
    assert len(synthesis.speak("silent", MALE, sample_rate=8000)) == 0


def test_silence_is_trimmed():
    sound = np.concatenate([np.full(800, 1e-4), np.ones(160), np.zeros(80), np.ones(80)])
    sound = np.concatenate([sound, np.zeros(900)])
    np.testing.assert_array_equal(synthesis.trim(sound, 8000), sound[560:1360])
    assert len(synthesis.trim(np.zeros(100), 8000)) == 0


@pytest.mark.parametrize("engine", voices.ENGINES)
def test_real_synthesizers(engine):
    if not voices.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    voice = voices.find_voices([engine])[-1]
    usual = synthesis.speak("please hold the line", voice, sample_rate=8000)
    fast = synthesis.speak("please hold the line", voice, sample_rate=8000, speed=1.5)
    assert 0.7 < len(usual) / 8000 < 2.5
    assert len(fast) < 0.85 * len(usual)
    assert np.sqrt(np.mean(usual**2)) > 0.01
