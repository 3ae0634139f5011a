"""Augmentation of speech: speed of the waveform, noise and masks on its log-mel features.

In the loader `speed_perturb` resamples a recording, and `tempo_perturb` changes its length but not
its pitch.  The others run on the device, in this order:

    sequence_noise    adds the scaled spectra of another recording,
                      log(exp(x) + weight * exp(x')), before normalization
    spec_augment      sets runs of frames and bands of mel filters to zero, which after
                      normalization is the recording's mean
    length_perturb    drops and inserts frames, see `length_perturbation`

A mask's width is uniform up to a bound and its position uniform over where the mask fits,

    width ~ U{0 .. bound},    start ~ U{0 .. extent - width},    start <= masked < start + width,

with ``bound = min(max_time_width, max_time_fraction * length)`` along time, so that short
recordings keep most of their frames.

References:
    Ko et al., Audio augmentation for speech recognition, Interspeech 2015 (speed).
    Saon, Tueske, Audhkhasi, Kingsbury, Sequence noise injected training for end-to-end speech
    recognition, ICASSP 2019.
    Park et al., SpecAugment: a simple data augmentation method for automatic speech recognition,
    2019, arXiv:1904.08779.
    Park et al., SpecAugment on large scale datasets, 2019, arXiv:1912.05533 (masks by fraction).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import soxr

from .length_perturbation import length_perturb
from .tempo import tempo_perturb

__all__ = ["length_perturb", "sequence_noise", "spec_augment", "speed_perturb", "tempo_perturb"]


def speed_perturb(waveform: np.ndarray, sample_rate: int, *, speed: float) -> np.ndarray:
    """Plays a recording faster and higher, or slower and lower.

    Args:
        waveform: ``[samples]``.
        sample_rate: samples per second.
        speed: over 1: faster.

    Returns:
        ``[about samples / speed]``; the same array if the speed is 1.

    Raises:
        ValueError: if the speed is not positive.

    Example:
        >>> len(speed_perturb(np.zeros(8000, np.float32), 8000, speed=1.25))
        6400
    """
    if not speed > 0:
        raise ValueError(f"`speed` must be positive, got {speed}.")
    return waveform if speed == 1 else soxr.resample(waveform, sample_rate * speed, sample_rate)


@jax.jit
def sequence_noise(
    key: jax.Array,
    log_mel: jax.Array,
    paddings: jax.Array,
    *,
    probability: float | jax.Array = 0.8,
    weight: float | jax.Array = 0.4,
) -> jax.Array:
    """Adds the scaled energies of another recording of the batch.

    Energies of independent sounds add, so noise is added before the logarithm:

        y[t] = log(exp(x[t]) + weight * exp(x'[t]))

    where the other recording x' is not over yet, and y = x after it.  Batches hold recordings of
    similar length.

    Args:
        key: random key.
        log_mel: log energies, not normalized, ``[batch, frames, filters]``.
        paddings: ``[batch, frames]``, 1 at padded frames.
        probability: of adding noise to a recording.  Both defaults are not verified against the
            paper.
        weight: factor of the other recording's energies, at least 0.

    Returns:
        ``[batch, frames, filters]``, padded frames as they were; all as it was if the recording is
        alone in its batch.

    Example:
        >>> log_mel, paddings = jnp.zeros((2, 5, 40)), jnp.zeros((2, 5))
        >>> noisy = sequence_noise(
        ...     jax.random.key(0), log_mel, paddings, probability=1.0, weight=1.0)
        >>> bool(jnp.allclose(noisy, jnp.log(2)))
        True
    """
    batch = len(log_mel)
    if batch == 1:
        return log_mel
    apply_key, partner_key = jax.random.split(key)
    apply = jax.random.bernoulli(apply_key, probability, (batch,))
    shifts = jax.random.randint(partner_key, (batch,), 1, batch)  # never 0, the recording itself
    partners = (jnp.arange(batch) + shifts) % batch
    noisy = jnp.logaddexp(log_mel, jnp.log(weight) + log_mel[partners])
    both = (paddings == 0) & (paddings[partners] == 0) & apply[:, None]
    return jnp.where(both[:, :, None], noisy, log_mel)


@partial(jax.jit, static_argnames=("num_time_masks", "num_frequency_masks"))
def spec_augment(
    key: jax.Array,
    features: jax.Array,
    paddings: jax.Array,
    *,
    num_time_masks: int = 4,
    max_time_width: int = 20,
    max_time_fraction: float = 0.1,
    num_frequency_masks: int = 2,
    max_frequency_width: int = 10,
) -> jax.Array:
    """Masks normalized log-mel features, independently for every recording.

    Args:
        key: random key; the masks are a function of it alone.
        features: ``[batch, frames, filters]``, each filter with zero mean over the recording.
        paddings: ``[batch, frames]``, 1 at padded frames; masks lie on valid frames only.
        num_time_masks: masks along time per recording; they may overlap.
        max_time_width: longest time mask in frames.
        max_time_fraction: longest time mask as a fraction of the recording's valid frames.
        num_frequency_masks: masks along frequency per recording; they may overlap.
        max_frequency_width: widest frequency mask in filters.

    Returns:
        ``[batch, frames, filters]`` with masked entries zero and padded frames as they were.

    Example:
        >>> features, paddings = jnp.ones((2, 100, 40)), jnp.zeros((2, 100))
        >>> masked = spec_augment(jax.random.key(0), features, paddings, num_frequency_masks=0)
        >>> bool(jnp.sum(masked == 0) <= 2 * 4 * 10 * 40)
        True
    """
    batch, num_frames, num_filters = features.shape
    time_key, frequency_key = jax.random.split(key)
    lengths = jnp.sum(paddings == 0, axis=1)
    widths = jnp.minimum(max_time_width, jnp.floor(max_time_fraction * lengths).astype(jnp.int32))
    frames = _draw_masks(time_key, num_time_masks, lengths, widths, num_frames)
    extents = jnp.full(batch, num_filters)
    widths = jnp.minimum(max_frequency_width, extents)
    bands = _draw_masks(frequency_key, num_frequency_masks, extents, widths, num_filters)
    masked = frames[:, :, None] | bands[:, None, :]
    return jnp.where(masked & (paddings == 0)[:, :, None], 0, features)


def _draw_masks(
    key: jax.Array, num_masks: int, extents: jax.Array, bounds: jax.Array, size: int
) -> jax.Array:
    """Draws ``num_masks`` runs below ``extents``, as one boolean mask ``[batch, size]``."""
    width_key, start_key = jax.random.split(key)
    shape = (num_masks, len(extents))
    widths = jax.random.randint(width_key, shape, 0, bounds[None] + 1)
    starts = jax.random.randint(start_key, shape, 0, extents[None] - widths + 1)
    positions = jnp.arange(size)[None, None]
    inside = (starts[..., None] <= positions) & (positions < (starts + widths)[..., None])
    return jnp.any(inside, axis=0)
