"""SpecAugment: masks over time and frequency on log-mel features.

A mask sets a run of frames, or a band of mel filters, to zero, which after normalization is the
recording's mean.  Widths are uniform up to a bound and positions uniform over where the mask fits,

    width ~ U{0 .. bound},    start ~ U{0 .. extent - width},    start <= masked < start + width,

with ``bound = min(max_time_width, max_time_fraction * length)`` along time, so that short
recordings keep most of their frames.

References:
    Park et al., SpecAugment: a simple data augmentation method for automatic speech recognition,
    2019, arXiv:1904.08779.
    Park et al., SpecAugment on large scale datasets, 2019, arXiv:1912.05533 (masks by fraction).
"""

from functools import partial

import jax
import jax.numpy as jnp


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
