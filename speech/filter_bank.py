"""The constant matrices of log-mel features.

Kaldi takes a frame's mean away, emphasizes high frequencies, multiplies by a window and transforms.
All four steps are linear, so one matrix ``A`` holds them; ``M`` has the triangular mel filters.

References:
    Povey et al., The Kaldi speech recognition toolkit, ASRU 2011.
"""

from functools import lru_cache

import numpy as np


def build(
    sample_rate: int,
    window: int,
    *,
    num_filters: int = 40,
    preemphasis: float = 0.97,
    low_frequency: float = 20.0,
    high_frequency: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices ``A`` and ``M``, see the module.

    Args:
        sample_rate: samples per second.
        window: samples of a frame.
        num_filters: mel filters.
        preemphasis: coefficient c of x[n] - c x[n - 1], within each frame.
        low_frequency: lower edge of the first filter in Hz.
        high_frequency: upper edge of the last filter in Hz; None stands for half the sample rate.

    Returns:
        ``[window, 2 * bins]`` and ``[bins, num_filters]``.
    """
    analysis = _analysis_matrix(window, preemphasis)
    nyquist = sample_rate / 2
    high_frequency = nyquist if high_frequency is None else high_frequency
    filters = _mel_filters(
        len(analysis[0]) // 2, num_filters, low_frequency, high_frequency, nyquist
    )
    return analysis, filters


@lru_cache
def _analysis_matrix(window: int, preemphasis: float) -> np.ndarray:
    """Mean removal, pre-emphasis, Povey's window and Fourier transform, ``[window, 2 * bins]``."""
    remove_mean = np.eye(window) - 1 / window
    emphasize = np.eye(window) - preemphasis * np.eye(window, k=-1)
    emphasize[0, 0] -= preemphasis  # the frame's first sample is its own predecessor
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    prepared = hann[:, None] ** 0.85 * (emphasize @ remove_mean)
    transform_size = 1 << (window - 1).bit_length()
    # Kaldi's filters leave out the bin at half the sample rate.
    spectrum = np.fft.rfft(prepared, transform_size, axis=0)[:-1].T
    return np.concatenate([spectrum.real, spectrum.imag], axis=1)


@lru_cache
def _mel_filters(
    num_bins: int, num_filters: int, low_frequency: float, high_frequency: float, nyquist: float
) -> np.ndarray:
    """Triangles of equal width on the mel scale, ``[num_bins, num_filters]``."""
    bins = _mel(np.arange(num_bins) * nyquist / num_bins)[:, None]
    edges = np.linspace(_mel(low_frequency), _mel(high_frequency), num_filters + 2)
    width = edges[1] - edges[0]
    return np.maximum(0, 1 - np.abs(bins - edges[None, 1:-1]) / width)


def _mel(frequency: float | np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(np.asarray(frequency) / 700)
