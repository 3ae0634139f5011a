"""Normalization of features by the frames so far, for recognizers that do not wait for the end.

With n_0 imagined frames of mean m_0 and variance v_0 before the first,

    mean_t = (n_0 m_0 + sum_{s <= t} x_s) / (n_0 + t),      the variance likewise,

so that the first frames are judged by what telephone speech is like, and later ones by what this
recording is like.  Sums are of x - m_0, lest they lose digits in an hour of speech.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

PRIOR_FRAMES = 100.0  # a second
PRIOR_MEAN, PRIOR_VARIANCE = 15.0, 25.0  # of log-mel energies of the bundled telephone prompts
VARIANCE_FLOOR = 1e-5  # a filter whose energy never changes normalizes to zero


class Moments(NamedTuple):
    """Sums over the frames so far, the imagined ones included."""

    number: jax.Array  # [..., 1, 1]
    total: jax.Array  # [..., 1, size], of x - PRIOR_MEAN
    squares: jax.Array  # [..., 1, size], of (x - PRIOR_MEAN)^2


def first_moments(shape: tuple[int, ...]) -> Moments:
    """The moments before the first frame.

    Args:
        shape: of the features, ``[..., frames, size]``.
    """
    *batch, _, size = shape
    return Moments(
        jnp.full((*batch, 1, 1), PRIOR_FRAMES),
        jnp.zeros((*batch, 1, size)),
        jnp.full((*batch, 1, size), PRIOR_FRAMES * PRIOR_VARIANCE),
    )


def normalize(
    features: jax.Array, paddings: jax.Array, moments: Moments | None = None
) -> tuple[jax.Array, Moments]:
    """Normalizes each frame by the moments up to it.

    Args:
        features: ``[..., frames, size]``.
        paddings: ``[..., frames]``, 1 at padded frames.
        moments: what the call for the frames before returned; None at the start.

    Returns:
        ``[..., frames, size]``, zero at padded frames, and the moments after the last frame.
    """
    moments = first_moments(features.shape) if moments is None else moments
    valid = jnp.expand_dims(paddings == 0, -1)
    centered = jnp.where(valid, features - PRIOR_MEAN, 0)
    sums = Moments(
        *(
            before + jnp.cumsum(x, axis=-2)
            for before, x in zip(
                moments, (valid.astype(features.dtype), centered, centered**2), strict=True
            )
        )
    )
    mean = sums.total / sums.number
    variance = jnp.maximum(sums.squares / sums.number - mean**2, 0)
    normalized = (centered - mean) * jax.lax.rsqrt(variance + VARIANCE_FLOOR)
    last = jax.tree.map(lambda x: x[..., -1:, :], sums)
    return jnp.where(valid, normalized, 0), last
