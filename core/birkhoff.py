"""Birkhoff decomposition: a doubly stochastic matrix as a few weighted permutations.

Every doubly stochastic matrix is a convex combination of permutation matrices, W = sum_k w_k P_k,
and each permutation with its weight is one message that every learner sends and receives.  The
decomposition is not unique.  This one is greedy: it takes the permutation whose smallest entry in
what remains of W is largest, with that entry as its weight, and subtracts it.  Each subtraction
clears an entry, and so leads to a face of lower dimension of the Birkhoff polytope; an n x n matrix
thus needs at most (n - 1)^2 + 1 terms.  A matrix that is a disjoint union of k permutations of one
weight, like those of most communication graphs, needs k.

References:
    G. Birkhoff, "Tres observaciones sobre el algebra lineal", 1946.
    F. Dufossé, B. Uçar, "Notes on Birkhoff-von Neumann decomposition of doubly stochastic
        matrices", 2016, Linear Algebra and its Applications 497.
"""

import math

import numpy as np
from scipy.sparse import csgraph, csr_array

_NEGLIGIBLE = 1e-14  # What is left of an entry after subtractions in float64.


def decompose(matrix: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Writes a doubly stochastic matrix as a convex combination of permutations.

    Args:
        matrix: [n, n], entries at least 0, rows and columns summing to 1.

    Returns:
        Pairs (sources, weight), the weights falling and summing to 1: row i of the permutation
        matrix has its one in column ``sources[i]``.

    Raises:
        ValueError: if the matrix is not doubly stochastic.

    Example:
        >>> decompose(np.array([[0.75, 0.25], [0.25, 0.75]]))
        [((0, 1), 0.75), ((1, 0), 0.25)]
    """
    remainder = np.array(matrix, np.float64)
    _check_doubly_stochastic(remainder)
    rows = np.arange(len(remainder))
    terms = []
    while (sources := _find_bottleneck_permutation(remainder)) is not None:
        weight = remainder[rows, sources].min()
        remainder[rows, sources] -= weight
        remainder[remainder < _NEGLIGIBLE] = 0.0
        terms.append((tuple(sources.tolist()), float(weight)))
    total = math.fsum(weight for _, weight in terms)
    # Further digits are rounding; without them equal weights are equal, and gossip sums them first.
    return [(sources, round(weight / total, 15)) for sources, weight in terms]


def _find_bottleneck_permutation(matrix: np.ndarray) -> np.ndarray | None:
    """The columns [n] of a permutation whose smallest entry is largest; None if that is zero."""
    thresholds = np.unique(matrix[matrix > 0.0])
    best, low, high = None, 0, len(thresholds)
    while low < high:  # A permutation of entries >= thresholds[i] exists below some i, not above.
        middle = (low + high) // 2
        allowed = csr_array(matrix >= thresholds[middle])
        columns = csgraph.maximum_bipartite_matching(allowed, perm_type="column")
        if columns.min() >= 0:
            best, low = columns, middle + 1
        else:
            high = middle
    return best


def _check_doubly_stochastic(matrix: np.ndarray) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"`matrix` must be square, [n, n] with n >= 1, got shape {matrix.shape}.")
    if not matrix.min() >= 0.0:  # Also refuses NaN.
        raise ValueError(f"`matrix` must have no negative entries, got {matrix.min()}.")
    for axis, name in ((1, "row"), (0, "column")):
        sums = matrix.sum(axis=axis)
        worst = int(np.argmax(np.abs(sums - 1.0)))
        if not math.isclose(sums[worst], 1.0, rel_tol=1e-9):
            raise ValueError(
                f"`matrix` must be doubly stochastic, all rows and columns summing to 1, but "
                f"{name} {worst} sums to {sums[worst]}. For an undirected graph of degrees d the "
                "weights 1 / (1 + max(d_i, d_j)) on its edges, and the rest on the diagonal, are."
            )
