import numpy as np
import pytest

from gossamer.speech.tempo import tempo_perturb

RATE = 8000


def dominant(sound):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16))
    return np.argmax(spectrum) * RATE / (1 << 16)


@pytest.mark.parametrize("tempo", [0.5, 0.9, 1.1, 2.0])
@pytest.mark.parametrize("hertz", [137.0, 440.0, 1234.5])
def test_a_tone_keeps_its_pitch_and_level(tempo, hertz):
    tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
    found = tempo_perturb(tone, RATE, tempo=tempo)
    assert found.dtype == np.float32
    assert len(found) == int(RATE / tempo)
    inside = found[400:-400]
    assert dominant(inside) == pytest.approx(hertz, abs=3)
    periods = np.abs(inside[: len(inside) // 160 * 160]).reshape(-1, 160).max(axis=1)
    assert periods.min() > 0.9  # continuing frames add up, others cancel
    assert periods.max() < 1.01


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_what_is_said_when_moves_with_the_tempo(tempo):
    time = np.arange(2 * RATE) / RATE
    sound = np.where(time < 1, np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 900 * time))
    found = tempo_perturb(sound.astype(np.float32), RATE, tempo=tempo)
    change = round(RATE / tempo)
    assert dominant(found[: change - 300]) == pytest.approx(300, abs=3)
    assert dominant(found[change + 300 :]) == pytest.approx(900, abs=3)


def test_tempo_one_changes_nothing_and_short_recordings_pass():
    sound = np.linspace(-1, 1, 50, dtype=np.float32)
    assert tempo_perturb(sound, RATE, tempo=1.0) is sound
    assert len(tempo_perturb(sound, RATE, tempo=0.8)) == 62
    assert len(tempo_perturb(sound[:0], RATE, tempo=0.8)) == 0
    with pytest.raises(ValueError, match="`tempo` must be positive, got 0"):
        tempo_perturb(sound, RATE, tempo=0)
