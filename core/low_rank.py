"""PowerSGD: mean gradients as matrices of low rank, found by one step of power iteration.

The mean over the learners of M [rows, columns] is approximated by P Q^T of rank r, with Q of the
step before as a start:

    P = orthonormalize(mean of M Q),    Q = mean of M^T P,    mean = P Q^T.

Two all-reduces of r (rows + columns) elements.  All learners subtract the same P Q^T from their
residuals.

References:
    T. Vogels, S. P. Karimireddy, M. Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression for
        Distributed Optimization", 2019, arXiv:1905.13727.
"""

import math

import jax
import jax.numpy as jnp

from .error_feedback import Compressor, Reduced, all_reduce_bytes

_TINY = 1e-20


def power_sgd(seed: int = 0) -> Compressor:
    """A compressor that keeps the largest rank that reaches the rate, at least 1.

    An array is the matrix [all other axes, last axis].  Vectors, and matrices for which rank 1 is
    no smaller than all of them, are sent whole.

    Args:
        seed: of the first Q.

    Returns:
        A compressor; its memory is the list of Q, None for arrays sent whole.
    """

    def init(arrays, rates):
        key = jax.random.key(seed)
        ranks = [choose_rank(x.shape, rate) for x, rate in zip(arrays, rates, strict=True)]

        def draw(i, x, rank):
            dtype = jnp.promote_types(x.dtype, jnp.float32)
            return jax.random.normal(jax.random.fold_in(key, i), (x.shape[-1], rank), dtype)

        numbered = enumerate(zip(arrays, ranks, strict=True))
        return [draw(i, x, rank) if rank else None for i, (x, rank) in numbered]

    def reduce(arrays, rates, memory, step, axis_name):
        del rates, step
        matrices = [
            None if q is None else x.reshape(-1, x.shape[-1])
            for x, q in zip(arrays, memory, strict=True)
        ]
        # None is no leaf: these trees hold compressed matrices only.
        p = jax.lax.pmean(jax.tree.map(lambda m, q: m @ q, matrices, memory), axis_name)
        p = jax.tree.map(orthonormalize, p)
        whole = [x if q is None else None for x, q in zip(arrays, memory, strict=True)]
        q, whole_mean = jax.lax.pmean(
            (jax.tree.map(lambda m, p: m.T @ p, matrices, p), whole), axis_name
        )
        mean = [
            w if w is not None else (p @ q.T).reshape(x.shape)
            for x, p, q, w in zip(arrays, p, q, whole_mean, strict=True)
        ]
        rest = [
            jnp.zeros_like(x) if q is None else x - m
            for x, q, m in zip(arrays, memory, mean, strict=True)
        ]
        return Reduced(mean, rest, q)

    def traffic(arrays, rates, num_learners):
        elements = 0
        for x, r in zip(arrays, rates, strict=True):
            rank = choose_rank(x.shape, r)
            elements += rank * (x.size // x.shape[-1] + x.shape[-1]) if rank else x.size
        return all_reduce_bytes(4 * elements, num_learners)

    return Compressor(init, reduce, traffic)


def choose_rank(shape: tuple[int, ...], rate: float) -> int:
    """The largest rank whose two factors are `rate` times smaller than the matrix, at least 1.

    Returns:
        The rank; 0 for arrays that have no smaller factors.
    """
    if len(shape) < 2:
        return 0
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if rows * columns <= rows + columns:
        return 0
    return max(1, int(rows * columns / (rate * (rows + columns))))


def orthonormalize(matrix: jax.Array) -> jax.Array:
    """Orthonormal columns [rows, rank] with the span of those given, by Gram and Schmidt.

    Each column loses its components along those before it twice, which keeps them orthogonal to
    rounding; columns of zeros remain zeros.
    """
    rank = matrix.shape[1]

    def body(i, columns):
        column = columns[:, i]
        for _ in range(2):
            along = jnp.where(jnp.arange(rank) < i, columns.T @ column, 0.0)
            column = column - columns @ along
        column = column / (jnp.linalg.norm(column) + _TINY)
        return columns.at[:, i].set(column)

    return jax.lax.fori_loop(0, rank, body, matrix)
