"""Recordings of any length as batches of few shapes, since each shape is compiled once."""

from collections.abc import Iterator, Sequence

import numpy as np

BATCH_SECONDS = 40.0  # audio of a batch
SHORTEST_SECONDS = 0.1  # waveforms are padded to at least this


def group(waveforms: Sequence[np.ndarray], sample_rate: int) -> Iterator[list[int]]:
    """Indices of recordings of similar length, the longest first, for a batch each.

    Args:
        waveforms: ``[samples]`` each.
        sample_rate: samples per second.
    """
    order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
    while order:
        bound = _bound(len(waveforms[order[0]]), sample_rate)
        rows = max(1, int(BATCH_SECONDS * sample_rate / bound))
        yield order[:rows]
        order = order[rows:]


def stack(waveforms: Sequence[np.ndarray], sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """One batch of recordings, with rows of nothing up to a power of two.

    Args:
        waveforms: ``[samples]`` each.
        sample_rate: samples per second.

    Returns:
        Samples and paddings, both ``[rows, samples]`` float32.
    """
    bound = _bound(max(map(len, waveforms)), sample_rate)
    rows = 1 << (len(waveforms) - 1).bit_length()
    batch = np.zeros((rows, bound), np.float32)
    paddings = np.ones((rows, bound), np.float32)
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = waveform
        paddings[row, : len(waveform)] = 0
    return batch, paddings


def _bound(num_samples: int, sample_rate: int) -> int:
    """Pads lengths to few values, half an octave apart."""
    bound = SHORTEST_SECONDS * sample_rate
    while bound < num_samples:
        bound *= 1.5
    return int(bound)
