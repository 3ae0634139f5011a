"""Features of a waveform in NumPy, as they come: what `speech.features` computes in JAX.

Log-mel energies, normalized by the moments of the recording or by those so far, with first and
second differences, two frames joined into one.  See `speech.features` and `running_moments` for the
formulas and their sources.
"""

import os
from typing import Any, NamedTuple

import numpy as np


class FrontEnd(NamedTuple):
    """Constants of the features."""

    analysis: np.ndarray  # [window, 2 bins], from samples to a spectrum
    filters: np.ndarray  # [bins, filters]
    differences: np.ndarray  # [3, taps], of the features and their differences
    hop: int  # samples from frame to frame
    stack: int  # frames joined into one
    scale: float  # of samples
    energy_floor: float
    variance_floor: float
    is_running: bool  # normalized by what was heard so far
    prior_frames: float  # imagined before the first
    prior_mean: float
    prior_variance: float

    def save(self, path: str | os.PathLike) -> None:
        """Writes a file."""
        fields: dict[str, Any] = {name: np.asarray(x) for name, x in self._asdict().items()}
        np.savez_compressed(path, **fields)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "FrontEnd":
        """Reads the file by `save`."""
        with np.load(path, allow_pickle=False) as file:
            fields: dict[str, Any] = {name: file[name] for name in cls._fields}
        return cls(**{name: x if x.ndim else x.item() for name, x in fields.items()})


class FeatureStream:
    """The features of one recording, read in parts of any length.

    Args:
        front_end: the constants.
    """

    def __init__(self, front_end: FrontEnd):
        self._front_end = front_end
        size = front_end.filters.shape[1]
        self._samples = np.zeros(0, np.float32)  # not read yet, and the overlap of windows
        self._number = front_end.prior_frames
        self._total = np.zeros(size)
        self._squares = np.full(size, front_end.prior_frames * front_end.prior_variance)
        self._known = np.zeros((0, size), np.float32)  # normalized frames that are still needed
        self._waiting = np.zeros((0, 3 * size), np.float32)  # less than are joined into one

    def feed(self, samples: np.ndarray, *, is_last: bool = False) -> np.ndarray:
        """Reads on.

        Args:
            samples: ``[samples]`` in [-1, 1].
            is_last: whether the recording ends here.

        Returns:
            The features that are known by now, ``[frames, size]`` float32.

        Raises:
            ValueError: if features are normalized over the whole recording and this is a part.
        """
        front_end = self._front_end
        if not (front_end.is_running or is_last):
            raise ValueError("`samples` must be a whole recording for this recognizer.")
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        frames = self._normalize(self._log_mel())
        reach = front_end.differences.shape[1] // 2
        if len(frames) and not len(self._known):  # the first frame stands for those before it
            frames = np.concatenate([np.repeat(frames[:1], reach, axis=0), frames])
        self._known = np.concatenate([self._known, frames])
        known = self._known
        if is_last and len(known):
            known = np.concatenate([known, np.repeat(known[-1:], reach, axis=0)])
        number = max(0, len(known) - 2 * reach)
        self._known = self._known[number:]
        shifted = np.stack([known[k : k + number] for k in range(2 * reach + 1)], axis=2)
        differences = np.moveaxis(shifted @ front_end.differences.T, 2, 1)
        size = self._waiting.shape[1]
        waiting = np.concatenate([self._waiting, differences.reshape(number, size)])
        if is_last:
            missing = -len(waiting) % front_end.stack
            waiting = np.pad(waiting, ((0, missing), (0, 0)))
        whole = len(waiting) // front_end.stack * front_end.stack
        self._waiting = waiting[whole:]
        return waiting[:whole].reshape(whole // front_end.stack, front_end.stack * size)

    def _log_mel(self) -> np.ndarray:
        """Of the windows that are complete, ``[frames, filters]``."""
        front_end, window = self._front_end, len(self._front_end.analysis)
        number = max(0, 1 + (len(self._samples) - window) // front_end.hop)
        if not number:
            return np.zeros((0, front_end.filters.shape[1]), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, window)
        windows = np.float32(front_end.scale) * windows[: number * front_end.hop : front_end.hop]
        self._samples = self._samples[number * front_end.hop :]
        real, imaginary = np.split(windows @ front_end.analysis, 2, axis=1)
        energies = (real**2 + imaginary**2) @ front_end.filters
        return np.log(np.maximum(energies, np.float32(front_end.energy_floor)))

    def _normalize(self, frames: np.ndarray) -> np.ndarray:
        front_end = self._front_end
        if not len(frames):
            return frames
        if not front_end.is_running:
            centered = frames - frames.mean(axis=0, dtype=np.float64)
            variance = np.mean(centered**2, axis=0)
        else:
            shifted = frames.astype(np.float64) - front_end.prior_mean
            number = self._number + np.arange(1, 1 + len(frames))[:, None]
            total = self._total + np.cumsum(shifted, axis=0)
            squares = self._squares + np.cumsum(shifted**2, axis=0)
            self._number, self._total, self._squares = number[-1, 0], total[-1], squares[-1]
            mean = total / number
            centered, variance = shifted - mean, np.maximum(squares / number - mean**2, 0)
        return (centered / np.sqrt(variance + front_end.variance_floor)).astype(np.float32)
