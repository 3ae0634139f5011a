"""What a telephone line does to speech: band, level, noise, codec.

    y = codec(g (x * h) + n)

with h a band-pass of about 300 to 3400 Hz, g a gain that brings speech to a level, n noise whose
spectrum falls as 1 / f^color (0 white, 1 pink, 2 brown) through the same band, and a codec of the
telephone network: G.711 mu-law or A-law, G.721 ADPCM of 32 kbit/s, or GSM 06.10 full rate.

References:
    ITU-T G.711, pulse code modulation of voice frequencies, 1988.
    ITU-T G.712, transmission performance characteristics of pulse code modulation channels, 2001.
    ETSI EN 300 961, full rate speech transcoding (GSM 06.10), 2000.
"""

import io
from typing import NamedTuple

import numpy as np
import scipy.signal
import soundfile

SAMPLE_RATE = 8000  # Hz

# Name -> libsndfile's container and encoding.
CODECS = {
    "mu-law": ("WAV", "ULAW"),
    "a-law": ("WAV", "ALAW"),
    "g721": ("AU", "G721_32"),
    "gsm": ("WAV", "GSM610"),
}
_SHARES = {"mu-law": 0.55, "a-law": 0.15, "g721": 0.15, "gsm": 0.15}


class Line(NamedTuple):
    """One telephone line."""

    low: float  # Hz, edges of the band
    high: float
    level: float  # dB, of speech over full scale
    snr: float  # dB, speech over noise
    color: float  # exponent of the noise's spectrum
    codec: str  # one of CODECS


def draw_line(generator: np.random.Generator, *, snr: tuple[float, float] = (10.0, 40.0)) -> Line:
    """Draws a line: its band near 300 to 3400 Hz, -32 to -18 dB, noise of any color up to brown.

    Args:
        generator: random numbers; six are taken.
        snr: range of the signal-to-noise ratio in dB.
    """
    return Line(
        low=generator.uniform(200, 400),
        high=generator.uniform(3200, 3600),
        level=generator.uniform(-32, -18),
        snr=generator.uniform(*snr),
        color=generator.uniform(0, 2),
        codec=str(generator.choice(list(_SHARES), p=list(_SHARES.values()))),
    )


def transmit(waveform: np.ndarray, line: Line, generator: np.random.Generator) -> np.ndarray:
    """Sends speech over a line.

    Args:
        waveform: ``[samples]`` at `SAMPLE_RATE`, with some sound in it.
        line: the line.
        generator: random numbers of the noise.

    Returns:
        ``[samples]`` float32 in [-1, 1], as many.

    Raises:
        ValueError: if the waveform is silent.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> tone = np.sin(np.arange(8000) / 2)
        >>> transmit(tone, draw_line(generator), generator).shape
        (8000,)
    """
    speech = _pass_band(np.asarray(waveform, np.float64), line)
    loudness = active_level(speech)
    if not np.isfinite(loudness):
        raise ValueError("`waveform` must hold sound, got silence.")
    speech *= 10 ** ((line.level - loudness) / 20)
    noise = _pass_band(draw_noise(len(speech), line.color, generator), line)
    noise *= 10 ** ((line.level - line.snr) / 20) / max(np.sqrt(np.mean(noise**2)), 1e-12)
    return encode(np.clip(speech + noise, -1, 1), line.codec)


def active_level(waveform: np.ndarray) -> float:
    """The level of speech without its pauses, in dB over full scale.

    Args:
        waveform: ``[samples]`` at `SAMPLE_RATE`.

    Returns:
        That of the frames of 20 ms no more than 30 dB below the loudest; minus infinity for
        silence.
    """
    frame = SAMPLE_RATE // 50
    padded = np.pad(waveform, (0, -len(waveform) % frame))
    energy = np.mean(padded.reshape(-1, frame) ** 2, axis=1)
    active = energy[energy > 1e-3 * energy.max()]
    return 10 * float(np.log10(active.mean())) if len(active) else -np.inf


def draw_noise(length: int, color: float, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power falls as ``1 / f**color``.

    Args:
        length: samples.
        color: 0 white, 1 pink, 2 brown.
        generator: random numbers.

    Returns:
        ``[length]`` float64.
    """
    white = np.fft.rfft(generator.standard_normal(length))
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    return np.fft.irfft(white / np.maximum(frequencies, 50.0) ** (color / 2), length)


def encode(waveform: np.ndarray, codec: str) -> np.ndarray:
    """Encodes and decodes.

    Args:
        waveform: ``[samples]`` in [-1, 1] at `SAMPLE_RATE`.
        codec: one of `CODECS`.

    Returns:
        ``[samples]`` float32.
    """
    container, encoding = CODECS[codec]
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format=container, subtype=encoding)
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    # Blocks of a codec may end later than the sound.
    return np.pad(decoded[: len(waveform)], (0, max(0, len(waveform) - len(decoded))))


def _pass_band(waveform: np.ndarray, line: Line) -> np.ndarray:
    sections = scipy.signal.butter(
        3, (line.low, line.high), "bandpass", fs=SAMPLE_RATE, output="sos"
    )
    return np.asarray(scipy.signal.sosfilt(sections, waveform))
