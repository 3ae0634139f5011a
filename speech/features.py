"""Log-mel features of a waveform, their normalization, deltas and stacking.

With the constant matrices ``A`` and ``M`` of `filter_bank` the features of a frame ``x`` are

    log_mel = log max(|A x|^2 M, epsilon).

At frames this short the matrix product keeps up with the fast Fourier transform.  The features
agree with Kaldi's ``compute-fbank-feats`` without dither; samples in [-1, 1] are first scaled to 16
bits, since the floor ``epsilon`` presumes Kaldi's scale.

Every function takes any number of leading axes and paddings (1 = padded, right padding only) over
the axis of time, and returns zeros at padded frames: padding a recording further changes none of
its frames.

References:
    Povey et al., The Kaldi speech recognition toolkit, ASRU 2011.
    Furui, Speaker-independent isolated word recognition using dynamic features of speech spectrum,
    IEEE Transactions on Acoustics, Speech, and Signal Processing, 1986.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from . import filter_bank, running_moments
from .running_moments import VARIANCE_FLOOR

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01  # of a frame, and from one to the next
STACK = 2  # frames joined into one, of which every second is kept
FULL_SCALE = 32768.0  # Kaldi reads samples as 16-bit integers
ENERGY_FLOOR = np.finfo(np.float32).eps
DELTA_SCALES = (1.0, 5.0, 12.0)  # the spread of speech is 1, 0.2 and 0.08
DELTA_FILTER = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / 10  # regression slope over five frames
REACH = 4  # frames on either side that a second difference looks at

Normalization = Literal["recording", "running"]


def extract(
    waveform: jax.Array,
    sample_rate: int = 8000,
    *,
    waveform_paddings: jax.Array | None = None,
    num_filters: int = 40,
    stack: int = STACK,
    skip: int = STACK,
    normalization: Normalization = "recording",
) -> tuple[jax.Array, jax.Array]:
    """Computes a recognizer's input: log-mel, normalized, with deltas, stacked.

    Args:
        waveform: samples in [-1, 1], ``[..., samples]``.
        sample_rate: samples per second.
        waveform_paddings: ``[..., samples]``, 1 at padded samples; None if there are none.
        num_filters: mel filters.
        stack: frames joined into one.
        skip: frames from one joined frame to the next.
        normalization: see `normalize`.

    Returns:
        Features ``[..., ceil(frames / skip), 3 * num_filters * stack]`` and their paddings.

    Example:
        >>> inputs, paddings = extract(jnp.zeros((2, 8000)))
        >>> inputs.shape, paddings.shape
        ((2, 49, 240), (2, 49))
    """
    features, paddings = log_mel(
        waveform, sample_rate, waveform_paddings=waveform_paddings, num_filters=num_filters
    )
    features = normalize(features, paddings, normalization)
    return assemble(features, paddings, stack=stack, skip=skip)


def assemble(
    features: jax.Array, paddings: jax.Array, *, stack: int = STACK, skip: int = STACK
) -> tuple[jax.Array, jax.Array]:
    """Adds deltas to normalized log-mel features and stacks frames.

    The deltas are scaled to about the spread of the static features: recognizers start to learn
    sooner.

    Args:
        features: normalized log-mel, ``[..., frames, num_filters]``.
        paddings: ``[..., frames]``.
        stack: frames joined into one.
        skip: frames from one joined frame to the next.

    Returns:
        Features ``[..., ceil(frames / skip), 3 * num_filters * stack]`` and their paddings.
    """
    features = scale_deltas(add_deltas(features, paddings))
    return stack_frames(features, paddings, stack=stack, skip=skip)


def scale_deltas(features: jax.Array) -> jax.Array:
    """Gives the deltas in ``[..., 3 * size]`` about the spread of the features before them."""
    scales = np.repeat(np.array(DELTA_SCALES, np.float32), features.shape[-1] // 3)
    return features * scales.reshape((1,) * (features.ndim - 1) + (-1,))


def frame_size(
    sample_rate: int,
    *,
    window_ms: float = 1000 * WINDOW_SECONDS,
    hop_ms: float = 1000 * HOP_SECONDS,
) -> tuple[int, int]:
    """Samples of a frame, and from one frame to the next; parts of a sample are left out."""
    return int(sample_rate * window_ms / 1000), int(sample_rate * hop_ms / 1000)


def log_mel(
    waveform: jax.Array,
    sample_rate: int = 8000,
    *,
    waveform_paddings: jax.Array | None = None,
    num_filters: int = 40,
    window_ms: float = 1000 * WINDOW_SECONDS,
    hop_ms: float = 1000 * HOP_SECONDS,
    preemphasis: float = 0.97,
    low_frequency: float = 20.0,
    high_frequency: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Computes Kaldi's log-mel filter bank energies.

    Args:
        waveform: samples in [-1, 1], ``[..., samples]``.
        sample_rate: samples per second.
        waveform_paddings: ``[..., samples]``, 1 at padded samples; None if there are none.
        num_filters: mel filters.
        window_ms: length of a frame in milliseconds.
        hop_ms: milliseconds from one frame to the next.
        preemphasis: coefficient c of x[n] - c x[n - 1], within each frame.
        low_frequency: lower edge of the first filter in Hz.
        high_frequency: upper edge of the last filter in Hz; None stands for half the sample rate.

    Returns:
        Log energies ``[..., frames, num_filters]`` and paddings ``[..., frames]``.  Only frames
        wholly inside the recording count (Kaldi's ``snip_edges``):
        ``frames = 1 + (samples - window) // hop``.

    Raises:
        ValueError: if the waveform is shorter than one frame, or if frames or filters do not fit
            the sample rate.
    """
    window, hop = frame_size(sample_rate, window_ms=window_ms, hop_ms=hop_ms)
    num_samples = waveform.shape[-1]
    if not 1 <= hop <= window:
        raise ValueError(
            f"`hop_ms` must be at least one sample and at most `window_ms`, got {hop_ms} and "
            f"{window_ms} at {sample_rate} Hz."
        )
    if num_samples < window:
        raise ValueError(
            f"`waveform` must hold at least one frame of {window} samples, got {num_samples}; pad "
            "it and mark the padded samples in `waveform_paddings`."
        )
    nyquist = sample_rate / 2
    high_frequency = nyquist if high_frequency is None else high_frequency
    if not 0 <= low_frequency < high_frequency <= nyquist:
        raise ValueError(
            f"`low_frequency` and `high_frequency` must satisfy 0 <= low < high <= {nyquist}, got "
            f"{low_frequency} and {high_frequency}."
        )
    num_frames = 1 + (num_samples - window) // hop
    analysis, filters = filter_bank.build(
        sample_rate,
        window,
        num_filters=num_filters,
        preemphasis=preemphasis,
        low_frequency=low_frequency,
        high_frequency=high_frequency,
    )

    frames = _frames(FULL_SCALE * waveform, window, hop, num_frames)
    spectrum = _product(frames, analysis)  # [..., frames, 2 * bins]
    real, imaginary = jnp.split(spectrum, 2, axis=-1)
    energies = _product(real**2 + imaginary**2, filters)
    features = jnp.log(jnp.maximum(energies, ENERGY_FLOOR))

    if waveform_paddings is None:
        return features, jnp.zeros(features.shape[:-1], features.dtype)
    # Right padding: a frame is valid when its last sample is.
    last_samples = slice(window - 1, window + (num_frames - 1) * hop, hop)
    paddings = waveform_paddings[..., last_samples].astype(features.dtype)
    return _silence_padding(features, paddings), paddings


def normalize(
    features: jax.Array, paddings: jax.Array, normalization: Normalization = "recording"
) -> jax.Array:
    """Gives every feature of a recording zero mean and unit variance over its valid frames.

    Args:
        features: ``[..., frames, size]``.
        paddings: ``[..., frames]``, 1 at padded frames.
        normalization: by the moments of the whole recording, or ("running") by those of the frames
            up to each, for recognizers that do not wait for the end; see `running_moments`.

    Returns:
        ``[..., frames, size]``; a feature that never changes becomes zero, at last.
    """
    if normalization == "running":
        return running_moments.normalize(features, paddings)[0]
    valid = jnp.expand_dims(paddings == 0, -1)
    num_valid = jnp.maximum(jnp.sum(valid, axis=-2, keepdims=True), 1)
    mean = jnp.sum(features, axis=-2, keepdims=True, where=valid) / num_valid
    centered = jnp.where(valid, features - mean, 0)
    variance = jnp.sum(centered**2, axis=-2, keepdims=True) / num_valid
    return centered * jax.lax.rsqrt(variance + VARIANCE_FLOOR)


def add_deltas(features: jax.Array, paddings: jax.Array | None = None) -> jax.Array:
    """Appends first and second differences over time, as Kaldi's ``add-deltas`` does.

        delta[t] = sum_{j=-2..2} j x[t + j] / 10

    The second difference applies that filter twice to ``x``, whose first and last valid frames are
    repeated beyond its ends.

    Args:
        features: ``[..., frames, size]``.
        paddings: ``[..., frames]``, 1 at padded frames; None if there are none.

    Returns:
        ``[..., frames, 3 * size]``: features, differences, second differences.
    """
    extended = features if paddings is None else repeat_last(features, paddings)
    edges = [(0, 0)] * (features.ndim - 2) + [(REACH, REACH), (0, 0)]
    result = deltas_inside(jnp.pad(extended, edges, mode="edge"))
    return result if paddings is None else _silence_padding(result, paddings)


def deltas_inside(features: jax.Array) -> jax.Array:
    """As `add_deltas`, where `REACH` frames are known on both sides.

    Args:
        features: ``[..., REACH + frames + REACH, size]``.

    Returns:
        ``[..., frames, 3 * size]``.
    """
    num_frames = features.shape[-2] - 2 * REACH
    twice = np.convolve(DELTA_FILTER, DELTA_FILTER)  # nine taps

    def correlate(taps: np.ndarray) -> jax.Array:
        first = REACH - len(taps) // 2
        parts = (
            float(tap) * features[..., first + offset : first + offset + num_frames, :]
            for offset, tap in enumerate(taps)
            if tap != 0
        )
        return sum(parts, start=jnp.zeros_like(inside))

    inside = features[..., REACH : REACH + num_frames, :]
    return jnp.concatenate([inside, correlate(DELTA_FILTER), correlate(twice)], axis=-1)


def stack_frames(
    features: jax.Array, paddings: jax.Array, *, stack: int = STACK, skip: int = STACK
) -> tuple[jax.Array, jax.Array]:
    """Joins ``stack`` consecutive frames into one and keeps every ``skip``-th of these.

    Args:
        features: ``[..., frames, size]``.
        paddings: ``[..., frames]``, 1 at padded frames.
        stack: frames joined into one; zeros stand in beyond the recording's end.
        skip: frames from one joined frame to the next.

    Returns:
        ``[..., ceil(frames / skip), stack * size]`` and paddings; a joined frame is valid when its
        first is.

    Raises:
        ValueError: if ``stack`` or ``skip`` is not positive.
    """
    if stack < 1 or skip < 1:
        raise ValueError(f"`stack` and `skip` must be positive, got {stack} and {skip}.")
    features = _silence_padding(features, paddings)
    edges = [(0, 0)] * (features.ndim - 2) + [(0, stack - 1), (0, 0)]
    padded = jnp.pad(features, edges)
    num_frames = features.shape[-2]
    parts = [padded[..., offset : offset + num_frames : skip, :] for offset in range(stack)]
    stacked_paddings = paddings[..., ::skip]
    return _silence_padding(jnp.concatenate(parts, axis=-1), stacked_paddings), stacked_paddings


def _frames(waveform: jax.Array, window: int, hop: int, num_frames: int) -> jax.Array:
    """Overlapping frames ``[..., num_frames, window]``, put together from blocks of one hop."""
    blocks_per_frame = -(-window // hop)
    num_blocks = num_frames - 1 + blocks_per_frame
    missing = max(0, num_blocks * hop - waveform.shape[-1])
    edges = [(0, 0)] * (waveform.ndim - 1) + [(0, missing)]
    blocks = jnp.pad(waveform, edges)[..., : num_blocks * hop]
    blocks = blocks.reshape(*waveform.shape[:-1], num_blocks, hop)
    shifted = [blocks[..., first : first + num_frames, :] for first in range(blocks_per_frame)]
    return jnp.concatenate(shifted, axis=-1)[..., :window]


def _product(left: jax.Array, right: np.ndarray) -> jax.Array:
    # The highest precision, lest an accelerator rounds to 10 bits of mantissa.
    return jnp.dot(left, jnp.asarray(right, left.dtype), precision=jax.lax.Precision.HIGHEST)


def repeat_last(features: jax.Array, paddings: jax.Array) -> jax.Array:
    """Fills padded frames of ``[..., frames, size]`` with the last valid one."""
    num_valid = jnp.sum(paddings == 0, axis=-1, keepdims=True)
    last = jnp.maximum(num_valid - 1, 0)[..., None]
    repeated = jnp.take_along_axis(features, last, axis=-2)
    return jnp.where(jnp.expand_dims(paddings == 0, -1), features, repeated)


def _silence_padding(features: jax.Array, paddings: jax.Array) -> jax.Array:
    return jnp.where(jnp.expand_dims(paddings == 0, -1), features, 0)
