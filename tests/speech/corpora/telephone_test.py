import numpy as np
import pytest

from gossamer.speech.corpora import telephone
from gossamer.speech.corpora.telephone import Line

CLEAN = Line(low=300.0, high=3400.0, level=-20.0, snr=90.0, color=0.0, codec="mu-law")


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(8000 * seconds)) / 8000)


def test_level_and_band():
    generator = np.random.default_rng(0)
    chord = tone(100) + tone(1000) + tone(3900)
    heard = telephone.transmit(chord, CLEAN, generator)
    assert heard.dtype == np.float32
    power = np.abs(np.fft.rfft(heard)) ** 2
    # Butterworth of order 3 (a band-pass has twice the poles): 18 dB an octave, 100 Hz is 1.6
    # octaves under the edge; near the upper end of the spectrum the filter is steeper still.
    for hertz in (100, 3900):
        assert power[hertz] < power[1000] * 10**-2.5
    # mu-law has 38 dB of precision, so a level errs by less than 0.1 dB.
    assert telephone.active_level(heard) == pytest.approx(-20, abs=0.1)


def test_noise_at_its_ratio():
    generator = np.random.default_rng(0)
    line = CLEAN._replace(snr=10.0, color=1.0)
    speech = tone(1000, 4.0)
    heard = telephone.transmit(speech, line, generator)
    clean = telephone.transmit(speech, CLEAN, generator)
    # Codec noise is 28 dB below the noise; speech has an error of 0.1 dB.
    ratio = 10 * np.log10(np.mean(clean**2) / np.mean((heard - clean) ** 2))
    assert ratio == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("color", [0.0, 1.0, 2.0])
def test_noise_of_each_color(color):
    noise = telephone.draw_noise(1 << 17, color, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(1 << 17, 1 / 8000)
    low, high = (
        power[(frequencies > at / 1.1) & (frequencies < at * 1.1)].mean() for at in (200, 3200)
    )
    # Means over 640 or more exponential variables: 4% each; four octaves of 3 dB times the color.
    assert np.log2(low / high) == pytest.approx(4 * color, abs=0.4)


@pytest.mark.parametrize("codec", telephone.CODECS)
def test_codecs_keep_length_and_sound(codec):
    # Any length, also of broken blocks.
    for samples in (8000, 4001, 1):
        waveform = 0.3 * tone(700)[:samples]
        heard = telephone.encode(waveform, codec)
        assert heard.shape == waveform.shape
        if samples > 1:
            error = np.mean((heard - waveform) ** 2) / np.mean(waveform**2)
            # 38 dB for G.711; the others are for speech, and give 10 dB or more for a tone.
            assert error < (10**-3.5 if codec in ("mu-law", "a-law") else 0.1)


def test_pauses_do_not_lower_the_level():
    spoken = np.concatenate([tone(500), np.zeros(24000)])
    assert telephone.active_level(spoken) == pytest.approx(-3.01, abs=0.01)
    assert telephone.active_level(np.zeros(800)) == -np.inf
    with pytest.raises(ValueError, match="must hold sound"):
        telephone.transmit(np.zeros(800), CLEAN, np.random.default_rng(0))


def test_lines_are_drawn_in_their_ranges():
    generator = np.random.default_rng(0)
    lines = [telephone.draw_line(generator, snr=(5.0, 6.0)) for _ in range(400)]
    assert {line.codec for line in lines} == set(telephone.CODECS)
    assert all(5 <= line.snr <= 6 and -32 <= line.level <= -18 for line in lines)
    again = telephone.draw_line(np.random.default_rng(0), snr=(5.0, 6.0))
    assert again == lines[0]
