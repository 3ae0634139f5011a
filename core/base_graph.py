"""Base-(k+1) graphs: finite sequences of sparse graphs that average exactly, for any n.

Each step connects every learner with at most k others.  Three ideas lead to the exact mean:

1.  If n is a product of factors of at most k + 1, number the learners in that mixed radix and
    average over one digit at a time: one step for each factor ("hyper-hypercube").
2.  Any n is a sum of blocks V_1, V_2, ... of a_l (k+1)^p_l learners, the digits of n in base k + 1.
    All blocks first average within themselves.  Then, block after block, every learner of the
    later blocks meets one learner of each of the a_l parts of V_l, at the weight that brings the
    later blocks to the common mean.  As the sum is conserved and the parts have met equally many
    learners, each part now has the common mean too; it only has to average within itself.
3.  If n = p q, with p a product of factors of at most k + 1, then p groups of q learners do 2. side
    by side, and 1. joins the groups.  The shorter of 2. and 3. is taken.

A step is a list of weighted edges here, W = I - sum_e w_e (e_i - e_j)(e_i - e_j)^T.

References:
    Y. Takezawa et al., "Beyond Exponential Graph: Communication-Efficient Topologies for
        Decentralized Learning via Finite-time Convergence", 2023, arXiv:2305.11420.
"""

import functools
import itertools
from collections.abc import Iterable

import numpy as np

Step = list[tuple[int, int, float]]  # edges (i, j, weight), each pair once


def build_matrices(num_learners: int, num_peers: int) -> np.ndarray:
    """The mixing matrices of the Base-(k+1) graph.

    Args:
        num_learners: n >= 1.
        num_peers: k >= 1, the most neighbors a learner has in one step.

    Returns:
        [period, num_learners, num_learners] symmetric and doubly stochastic; their product is
        11^T/n.  The period is at least 1.
    """
    learners = np.arange(num_learners)
    candidates = [_average_any(learners, num_peers), _average_product(learners, num_peers)]
    steps = min(candidates, key=len) or [[]]
    matrices = np.tile(np.eye(num_learners), (len(steps), 1, 1))
    for matrix, edges in zip(matrices, steps, strict=True):
        for i, j, weight in edges:
            matrix[[i, j, i, j], [j, i, i, j]] += [weight, weight, -weight, -weight]
    return matrices


def _average_digits(learners: np.ndarray, factors: tuple[int, ...]) -> list[Step]:
    """Idea 1: one step for each factor; the factors multiply to the number of learners."""
    digits = learners.reshape(factors)
    steps = []
    for axis, factor in enumerate(factors):
        groups = np.moveaxis(digits, axis, -1).reshape(-1, factor).tolist()
        pairs = itertools.chain.from_iterable(itertools.combinations(g, 2) for g in groups)
        steps.append([(i, j, 1.0 / factor) for i, j in pairs])
    return steps


def _average_any(learners: np.ndarray, num_peers: int) -> list[Step]:
    """Idea 2."""
    base = num_peers + 1
    blocks, start = [], 0
    for digit, power in _digits(len(learners), base):
        size = digit * base**power
        blocks.append((learners[start : start + size].reshape(digit, -1), power))
        start += size
    within_blocks = [
        _average_digits(parts.ravel(), (len(parts),) * (len(parts) > 1) + (base,) * power)
        for parts, power in blocks
    ]
    if len(blocks) == 1:
        return within_blocks[0]
    meetings, start = [], 0
    for delay, (parts, power) in enumerate(blocks[:-1]):
        rest = learners[start + parts.size :]
        weight = parts.shape[1] / (len(learners) - start)  # |V_l| / (a_l sum_{m >= l} |V_m|)
        meeting = [
            (int(i), int(j), weight) for part in parts for i, j in zip(part, rest, strict=False)
        ]
        within_parts = _side_by_side(_average_digits(part, (base,) * power) for part in parts)
        meetings.append([[]] * delay + [meeting, *within_parts])
        start += parts.size
    return _side_by_side(within_blocks) + _side_by_side(meetings)


def _average_product(learners: np.ndarray, num_peers: int) -> list[Step]:
    """Idea 3."""
    num_groups = _largest_smooth_divisor(len(learners), num_peers + 1)
    groups = learners.reshape(num_groups, -1)
    steps = _side_by_side(_average_any(group, num_peers) for group in groups)
    factors = _fewest_factors(num_groups, num_peers + 1)
    return steps + _side_by_side(_average_digits(column, factors) for column in groups.T)


def _side_by_side(sequences: Iterable[list[Step]]) -> list[Step]:
    """Sequences over disjoint learners, run at the same time."""
    steps = itertools.zip_longest(*sequences, fillvalue=[])
    return [list(itertools.chain.from_iterable(step)) for step in steps]


def _digits(number: int, base: int) -> list[tuple[int, int]]:
    """The nonzero digits of a number with their powers, the highest first."""
    digits, power = [], 0
    while number:
        number, digit = divmod(number, base)
        digits.append((digit, power))
        power += 1
    return [(digit, power) for digit, power in reversed(digits) if digit]


def _largest_smooth_divisor(number: int, largest: int) -> int:
    """The largest divisor that is a product of factors of at most `largest`."""
    divisor = 1
    for factor in range(2, largest + 1):
        while number % factor == 0:
            number, divisor = number // factor, divisor * factor
    return divisor


@functools.cache
def _fewest_factors(number: int, largest: int) -> tuple[int, ...]:
    """A smooth number as a product of as few factors of at most `largest` as possible."""
    if number == 1:
        return ()
    factors = [f for f in range(2, min(number, largest) + 1) if number % f == 0]
    return min(((f, *_fewest_factors(number // f, largest)) for f in factors), key=len)
