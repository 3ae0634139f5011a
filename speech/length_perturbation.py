"""Length perturbation: frames dropped and frames inserted, so that speech is shorter or longer.

Of T frames, first ``round(drop_fraction * T)`` start a run of ``drop_run`` frames that is deleted;
runs may overlap, and then merge.  Of the T' frames that are left, ``round(insert_fraction * T')``
are each followed by ``insert_run`` frames of zeros, which after normalization are the mean frame.
With starts drawn without replacement, a frame that n possible starts would delete is kept with

    P(kept) = C(T - n, m) / C(T, m),    m = round(drop_fraction T),    n = drop_run,

close to ``(1 - drop_fraction)^n`` and not to ``1 - n drop_fraction``.

Each frame is repeated ``r_t`` times, 0 if dropped, 1 if kept, ``1 + insert_run`` if frames follow;
the cumulative sum of ``r`` gives every place of the output its source, in static shapes.

References:
    Cui, Saon, Nagano, Suzuki, Fukuda, Kingsbury, Kurata, Improving generalization of deep neural
    network acoustic models with length perturbation and n-best based label smoothing, 2022,
    arXiv:2203.15176.  The steps follow claim 1 of US 12,482,483 (see NOTICE); the default numbers
    are not verified against the paper.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .random_subsets import draw_subset, draw_uniform


@partial(
    jax.jit,
    static_argnames=(
        "drop_fraction", "drop_run", "insert_fraction", "insert_run", "with_replacement"
    ),
)  # fmt: skip
def length_perturb(
    key: jax.Array,
    features: jax.Array,
    paddings: jax.Array,
    *,
    drop_fraction: float = 0.1,
    drop_run: int = 7,
    insert_fraction: float = 0.1,
    insert_run: int = 3,
    probability: float | jax.Array = 1.0,
    min_frames: jax.Array | None = None,
    with_replacement: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Drops and then inserts frames, independently for every recording.

    Args:
        key: random key.
        features: ``[batch, frames, size]``, of zero mean over a recording.
        paddings: ``[batch, frames]``, 1 at padded frames, on the right.
        drop_fraction: frames that start a deletion, per frame, in [0, 1].
        drop_run: frames of a deletion, the starting one included; 0 deletes nothing.
        insert_fraction: frames followed by an insertion, per frame left, in [0, 1].
        insert_run: frames of an insertion; 0 inserts nothing.
        probability: of perturbing a recording at all.
        min_frames: ``[batch]``, at least 1: a recording whose deletions would leave fewer frames
            has none.  None stands for 1.
        with_replacement: draws frames one by one, so that one frame may be drawn again: deletions
            then coincide, insertions follow each other.

    Returns:
        ``[batch, longer, size]`` and paddings ``[batch, longer]``, with
        ``longer = frames + round(insert_fraction * frames) * insert_run``.

    Raises:
        ValueError: if a fraction is outside [0, 1] or a run negative.

    Example:
        >>> features, paddings = jnp.ones((2, 100, 240)), jnp.zeros((2, 100))
        >>> longer, _ = length_perturb(jax.random.key(0), features, paddings, drop_run=0)
        >>> longer.shape
        (2, 130, 240)
    """
    _check(drop_fraction, drop_run, "drop")
    _check(insert_fraction, insert_run, "insert")
    batch, num_frames, _ = features.shape
    apply_key, drop_key, insert_key = jax.random.split(key, 3)
    apply = jax.random.bernoulli(apply_key, probability, (batch,))
    least = jnp.ones(batch, jnp.int32) if min_frames is None else jnp.maximum(min_frames, 1)

    valid = paddings == 0
    drops = _draw(drop_key, valid, apply, drop_fraction, with_replacement)
    dropped = _cover(drops, drop_run)
    kept = valid & ~dropped
    kept = jnp.where((jnp.sum(kept, axis=1) >= least)[:, None], kept, valid)

    inserts = _draw(insert_key, kept, apply, insert_fraction, with_replacement)
    repeats = jnp.where(kept, 1 + insert_run * inserts, 0)
    size = num_frames + int(_counts(insert_fraction, num_frames)[-1]) * insert_run
    return _gather(features, repeats, size)


def _draw(
    key: jax.Array, candidates: jax.Array, apply: jax.Array, fraction: float, with_replacement: bool
) -> jax.Array:
    """How often each frame is drawn, ``[batch, frames]`` int32."""
    table = _counts(fraction, candidates.shape[1])
    lengths = jnp.sum(candidates, axis=1)
    counts = jnp.where(apply, jnp.asarray(table)[lengths], 0)
    if not with_replacement:
        return draw_subset(key, candidates, counts).astype(jnp.int32)
    numbers = draw_uniform(key, (candidates.shape[0], int(table[-1])))
    ranks = jnp.minimum(jnp.floor(numbers * lengths[:, None]), lengths[:, None] - 1)
    drawn = jnp.arange(numbers.shape[1])[None] < counts[:, None]
    # Ranks among the candidates, from which the candidates then read.
    rows = jnp.arange(len(lengths))[:, None]
    times = jnp.zeros(candidates.shape, jnp.int32).at[rows, ranks.astype(jnp.int32)].add(drawn)
    rank = jnp.maximum(jnp.cumsum(candidates, axis=1) - 1, 0)
    return jnp.where(candidates, jnp.take_along_axis(times, rank, axis=1), 0)


def _counts(fraction: float, num_frames: int) -> np.ndarray:
    """Frames to draw by length of the recording, ``[num_frames + 1]``.

    A table, as the same product rounded on the device could exceed the static bound.
    """
    return np.floor(fraction * np.arange(num_frames + 1) + 0.5).astype(np.int32)


def _cover(starts: jax.Array, run: int) -> jax.Array:
    """Frames within ``run`` frames of a start, it included."""
    passed = jnp.cumsum(starts, axis=1)
    before = jnp.pad(passed, ((0, 0), (run, 0)))[:, : starts.shape[1]]
    return passed > before


def _gather(features: jax.Array, repeats: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Each frame once, zeros behind it as often as it is repeated, then padding."""
    ends = jnp.cumsum(repeats, axis=1)
    places = jnp.arange(size)
    sources = jax.vmap(partial(jnp.searchsorted, v=places, side="right"))(ends)
    sources = jnp.minimum(sources, features.shape[1] - 1)  # beyond the end: padding
    first = jnp.take_along_axis(ends - repeats, sources, axis=1) == places[None]
    valid = places[None] < ends[:, -1:]
    taken = jnp.take_along_axis(features, sources[:, :, None], axis=1)
    result = jnp.where((first & valid)[:, :, None], taken, 0)
    return result, (~valid).astype(features.dtype)


def _check(fraction: float, run: int, name: str) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"`{name}_fraction` must be in [0, 1], got {fraction}.")
    if run < 0:
        raise ValueError(f"`{name}_run` must be at least 0, got {run}; 0 turns it off.")
