"""Spoken text: a synthesizer's voice at any speed and pitch, without the silence around it.

Speed is set in the synthesizer. Pitch, with the formants, is moved by reading the samples faster or
slower, which the speed makes up for.
"""

import pathlib
import tempfile

import numpy as np
import soxr

from . import audio
from .voices import ENGINES, SynthesisError, Voice, run

SILENCE = -45.0  # dB, below the loudest 10 ms
MARGIN = 0.03  # s, kept around speech


def speak(
    text: str, voice: Voice, *, sample_rate: int, speed: float = 1.0, pitch: float = 1.0
) -> np.ndarray:
    """Says a text.

    Args:
        text: normalized, in the language of the voice.
        voice: see `voices.find_voices`.
        sample_rate: Hz of the result.
        speed: how much faster than the voice is by itself.
        pitch: how much higher.

    Returns:
        ``[samples]`` float32 in [-1, 1], from where speech begins to where it ends.

    Raises:
        SynthesisError: if the program fails or writes no sound.
    """
    with tempfile.TemporaryDirectory(prefix="gossamer-") as folder:
        source, target = pathlib.Path(folder, "text.txt"), pathlib.Path(folder, "speech.wav")
        source.write_text(f"{text}\n", encoding="utf-8")
        command = ENGINES[voice.engine].command(voice.name, speed / pitch, source, target)
        run(command)
        try:
            waveform = audio.read(target, 2 * sample_rate)
        except audio.AudioError as error:
            raise SynthesisError(f"{voice.engine} wrote no sound for {text!r}: {error}") from None
    # As if it had been recorded at a higher rate.
    waveform = soxr.resample(waveform, 2 * sample_rate * pitch, sample_rate, quality="HQ")
    return trim(waveform, sample_rate)


def trim(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Cuts silence off the beginning and the end.

    Args:
        waveform: ``[samples]``.
        sample_rate: Hz.

    Returns:
        A part of it; all of silence is silence.
    """
    frame = max(1, sample_rate // 100)
    padded = np.pad(waveform, (0, -len(waveform) % frame))
    energy = np.mean(padded.reshape(-1, frame).astype(np.float64) ** 2, axis=1)
    loud = np.flatnonzero(energy > 10 ** (SILENCE / 10) * energy.max(initial=0))
    if not len(loud):
        return waveform[:0]
    margin = round(MARGIN * sample_rate)
    return waveform[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]
