"""Random subsets of the valid positions of sequences, of given sizes.

Every position draws a number, and the smallest ones win:

    chosen = { t : rank(x_t) < count },    x_t ~ U[0, 1) where t is a candidate, else infinity,

which is a uniform choice of ``count`` positions without replacement, with static shapes.  A row's
draw does not depend on how far the rows are padded.
"""

import jax
import jax.numpy as jnp


def draw_subset(key: jax.Array, candidates: jax.Array, counts: jax.Array) -> jax.Array:
    """Chooses positions uniformly without replacement, independently for every row.

    Args:
        key: random key.
        candidates: ``[batch, size]`` boolean, positions to choose from.
        counts: ``[batch]`` how many; all candidates where there are not so many.

    Returns:
        ``[batch, size]`` boolean.

    Example:
        >>> chosen = draw_subset(jax.random.key(0), jnp.ones((2, 9), bool), jnp.array([3, 0]))
        >>> chosen.sum(axis=1).tolist()
        [3, 0]
    """
    batch, size = candidates.shape
    numbers = draw_uniform(key, (batch, size))
    order = jnp.argsort(jnp.where(candidates, numbers, jnp.inf), axis=1)
    ranks = jnp.argsort(order, axis=1)
    return candidates & (ranks < counts[:, None])


def draw_uniform(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Numbers in [0, 1) of which the first of each row stay the same for longer rows.

    Args:
        key: random key.
        shape: ``[batch, size]``.

    Returns:
        ``[batch, size]``.
    """
    # JAX's generator counts elements in their order in memory: the axis that grows goes first.
    return jax.random.uniform(key, shape[::-1]).T
