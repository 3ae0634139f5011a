"""Cutting long recordings at their quietest moments.

A recognizer trained on sentences reads badly over minutes.  A recording longer than ``max_seconds``
is cut where its short-time energy is lowest, so that words stay whole, and the pieces are read one
by one.
"""

import numpy as np

FRAME_SECONDS = 0.02


def cut(waveform: np.ndarray, sample_rate: int, *, max_seconds: float = 10.0) -> list[int]:
    """Finds where to cut a recording.

    Greedy from the left: each piece ends in the quietest 0.2 s of the second half of what it may
    hold.

    Args:
        waveform: ``[samples]``.
        sample_rate: samples per second.
        max_seconds: longest piece.

    Returns:
        Piece boundaries in samples, the first 0 and the last ``len(waveform)``.

    Raises:
        ValueError: if ``max_seconds`` is not positive.
    """
    if max_seconds <= 0:
        raise ValueError(f"`max_seconds` must be positive, got {max_seconds}.")
    longest = int(max_seconds * sample_rate)
    frame = int(FRAME_SECONDS * sample_rate)
    boundaries = [0]
    while len(waveform) - boundaries[-1] > longest:
        start = boundaries[-1] + longest // 2
        window = np.asarray(waveform[start : boundaries[-1] + longest], np.float32)
        energy = np.square(window[: len(window) // frame * frame]).reshape(-1, frame).mean(axis=1)
        smooth = np.convolve(energy, np.ones(min(10, len(energy))), mode="same")
        boundaries.append(start + int(np.argmin(smooth)) * frame + frame // 2)
    return [*boundaries, len(waveform)]
