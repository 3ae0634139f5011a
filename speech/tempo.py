"""Changing the tempo of speech and not its pitch, by overlapping pieces of the waveform.

Output frame k is cut from near k H tempo, H being the distance between output frames, where it
continues frame k - 1 best: at the largest correlation with what follows that frame in the
recording.

References:
    Verhelst, Roelands, An overlap-add technique based on waveform similarity (WSOLA) for high
    quality time-scale modification of speech, ICASSP 1993.
"""

import numpy as np

HOP_SECONDS = 0.015  # H; frames are twice as long
REACH_SECONDS = 0.008  # how far around its place a frame is looked for: a pitch period of 125 Hz


def tempo_perturb(waveform: np.ndarray, sample_rate: int, *, tempo: float) -> np.ndarray:
    """Plays a recording faster or slower at the same pitch.

    Args:
        waveform: ``[samples]`` float32.
        sample_rate: samples per second.
        tempo: over 1: faster.

    Returns:
        ``[samples / tempo]`` float32, rounded down; the same array if the tempo is 1.

    Raises:
        ValueError: if the tempo is not positive.

    Example:
        >>> len(tempo_perturb(np.zeros(8000, np.float32), 8000, tempo=1.25))
        6400
    """
    if not tempo > 0:
        raise ValueError(f"`tempo` must be positive, got {tempo}.")
    if tempo == 1:
        return waveform
    hop, reach = round(HOP_SECONDS * sample_rate), round(REACH_SECONDS * sample_rate)
    size, num_samples = 2 * hop, int(len(waveform) / tempo)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    # Frames start a hop early, so that every sample of the result lies under two windows.
    recording = np.pad(waveform, (hop + reach, 2 * size + hop + reach))
    num_frames = -(-num_samples // hop) + 1
    result = np.zeros((num_frames + 1) * hop, np.float32)
    start = reach
    for frame in range(num_frames):
        if frame:
            first = min(round(frame * hop * tempo), len(recording) - size - 2 * reach)
            near = recording[first : first + size + 2 * reach]
            follows = recording[start + hop : start + hop + size]
            start = first + int(np.argmax(np.correlate(near, follows, "valid")))
        result[frame * hop : frame * hop + size] += window * recording[start : start + size]
    return result[hop : hop + num_samples]
