"""Reading recordings: any format libsndfile knows, any sample rate, one channel of float samples.

Recordings are resampled by soxr's high-quality band-limited interpolation.  Whatever cannot be a
recording of one voice is refused in one line that names the file and the remedy.
"""

import os
import pathlib

import numpy as np
import soundfile

from . import sphere

MAX_SECONDS = 3600.0


class AudioError(ValueError):
    """A file that cannot be read as speech; the message names it and the remedy."""


def read(
    path: str | os.PathLike[str],
    sample_rate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """Reads a recording, or a part of it.

    Args:
        path: a WAV, FLAC, Ogg, MP3, SPHERE (linear or mu-law) or other file that libsndfile reads.
        sample_rate: Hz of the result; others are resampled.
        start: where to begin, in seconds; the beginning if ``None``.
        end: where to stop, in seconds; the end if ``None``.
        channel: which channel to take, from 0; ``None`` accepts mono files only.
        max_seconds: longest part to accept.

    Returns:
        ``[samples]`` float32 in [-1, 1].

    Raises:
        AudioError: if the file is missing, unreadable, empty, too long, has several channels and no
            ``channel`` was chosen, or holds other than finite samples.
        ValueError: if ``sample_rate`` is not positive.

    Example:
        >>> waveform = read("greeting.flac", 8000, end=2.0)  # doctest: +SKIP
    """
    if sample_rate <= 0:
        raise ValueError(f"`sample_rate` must be positive, got {sample_rate}.")
    path = pathlib.Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: there is no such file; correct the path.")
    try:
        with soundfile.SoundFile(path) as file:
            first, last = _find_range(path, file, start, end, max_seconds)
            chosen = _choose_channel(path, file.channels, channel)
            file.seek(first)
            samples = file.read(last - first, dtype="float32", always_2d=True)[:, chosen]
            file_rate = file.samplerate
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: of a name in .raw
        reason = getattr(error, "error_string", "").strip() or "of no known format"
        remedy = sphere.find_remedy(path) or f"{reason}; convert it to FLAC or WAV"
        raise AudioError(f"{path}: not readable as audio: {remedy}.") from None
    if len(samples) < last - first:
        raise AudioError(
            f"{path}: ends after {(first + len(samples)) / file_rate:.2f} s of "
            f"{last / file_rate:.2f} s; the file is cut off, copy it again."
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; convert it again.")
    if file_rate != sample_rate:
        samples = _resample(path, samples, file_rate, sample_rate)
    if not len(samples):
        raise AudioError(
            f"{path}: the part holds less than one sample at {sample_rate} Hz; leave it out."
        )
    return np.clip(samples, -1.0, 1.0)


def _resample(
    path: pathlib.Path, samples: np.ndarray, file_rate: int, sample_rate: int
) -> np.ndarray:
    try:
        import soxr  # an exported recognizer works without, on recordings of its own rate
    except ImportError:
        raise AudioError(
            f"{path}: has {file_rate} samples per second instead of {sample_rate}; convert it, or "
            "install soxr."
        ) from None
    return soxr.resample(samples, file_rate, sample_rate, quality="HQ")


def _find_range(
    path: pathlib.Path,
    file: soundfile.SoundFile,
    start: float | None,
    end: float | None,
    max_seconds: float,
) -> tuple[int, int]:
    """The first frame and the one past the last."""
    seconds = file.frames / file.samplerate
    if file.frames <= 0:
        raise AudioError(f"{path}: holds 0 samples; leave it out or record it again.")
    first = 0 if start is None else round(start * file.samplerate)
    last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
    # Times are printed to the millisecond, so an end may pass the last sample by half of one.
    if not 0 <= first < last or (end is not None and end > seconds + 0.001):
        raise AudioError(
            f"{path}: cannot cut from {start or 0} s to {seconds if end is None else end} s "
            f"out of {seconds:.3f} s; `start` and `end` must satisfy 0 <= start < end <= duration."
        )
    if last - first > max_seconds * file.samplerate:
        raise AudioError(
            f"{path}: {(last - first) / file.samplerate:.0f} s exceed the limit of "
            f"{max_seconds:g} s; cut it with `start` and `end`, or raise `max_seconds`."
        )
    return first, last


def _choose_channel(path: pathlib.Path, channels: int, channel: int | None) -> int:
    """The index of the channel to take."""
    if channel is None and channels > 1:
        raise AudioError(
            f"{path}: has {channels} channels; pass `channel=0` (or another), "
            "or mix it down to mono."
        )
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(
            f"{path}: has {channels} channel(s), so `channel` must be in 0..{channels - 1}, "
            f"got {channel}."
        )
    return channel or 0
