"""Mixing matrices as mixtures of permutations, and topologies as periodic sequences of them.

Every doubly stochastic matrix is a convex combination of permutation matrices, W = sum_k w_k P_k
(Birkhoff's theorem, see `birkhoff`), and a permutation is what a network moves in one step.  A
`Topology` therefore holds pairs (permutation, weight): the dense matrix and the communication
between devices both follow from them.  A topology that changes with time is a periodic sequence of
such mixtures.

References:
    G. Birkhoff, "Tres observaciones sobre el algebra lineal", 1946.
"""

import dataclasses
import math
import operator
from typing import NamedTuple

import numpy as np


class Exchange(NamedTuple):
    """One term of a mixing matrix: each learner receives from one source, all at one weight."""

    sources: tuple[int, ...]  # [num_learners]: learner i receives from sources[i]; a permutation
    weight: float  # in (0, 1]


@dataclasses.dataclass(frozen=True)
class Topology:
    """A periodic sequence of doubly stochastic mixing matrices over `num_learners` learners.

    Invariants, checked at construction: the sources of each exchange are a permutation (hence equal
    column and row sums), the weights are positive, and those of one mixing sum to one.  Topologies
    with equal fields compare and hash equal, so one may be a static argument of ``jax.jit``.

    Attributes:
        num_learners: number of learners n >= 1.
        mixings: one sequence of `Exchange` (or plain pairs) for each step of the period.

    Example:
        >>> Topology(3, ((((0, 1, 2), 0.75), ((1, 2, 0), 0.25)),)).matrix()[0].tolist()
        [0.75, 0.25, 0.0]
    """

    num_learners: int
    mixings: tuple[tuple[Exchange, ...], ...]

    def __post_init__(self):
        object.__setattr__(self, "num_learners", check_positive(self.num_learners, "num_learners"))
        if not self.mixings:
            raise ValueError("`mixings` must hold at least one step, got none.")
        mixings = tuple(
            tuple(
                Exchange(tuple(operator.index(source) for source in sources), float(weight))
                for sources, weight in mixing
            )
            for mixing in self.mixings
        )
        for step, mixing in enumerate(mixings):
            _check_mixing(mixing, step, self.num_learners)
        object.__setattr__(self, "mixings", mixings)

    @property
    def period(self) -> int:
        """Number of steps after which the matrices repeat."""
        return len(self.mixings)

    def matrix(self, step: int = 0) -> np.ndarray:
        """The dense mixing matrix W of a step.

        Args:
            step: number of the step, from 0; matrices repeat after `period` steps.

        Returns:
            [num_learners, num_learners] float64; row i holds the weights of learner i's average.
        """
        mixing_matrix = np.zeros((self.num_learners, self.num_learners))
        receivers = np.arange(self.num_learners)
        for sources, weight in self.mixings[step % self.period]:
            mixing_matrix[receivers, sources] += weight
        return mixing_matrix

    def spectral_gap(self) -> float:
        """How much of the disagreement one step removes, at worst, averaged over the period.

        With J = 11^T/n, the gap is 1 - ||W_{p-1} ... W_0 - J||_2^(1/p) for period p; for a static
        symmetric W that is 1 minus the second largest absolute eigenvalue.

        Returns:
            A number in [0, 1]: 1 averages exactly within one period, 0 never mixes some learners.
        """
        product = np.eye(self.num_learners)
        for step in range(self.period):
            product = self.matrix(step) @ product
        contraction = np.linalg.norm(product - 1.0 / self.num_learners, ord=2)
        if contraction < 1e-12:  # Rounding: the p-th root would blow up an exact zero.
            return 1.0
        return float(max(1.0 - contraction ** (1.0 / self.period), 0.0))


def check_positive(value: int, name: str) -> int:
    """The value as an int; refuses what is below 1, by the name of the argument."""
    value = operator.index(value)
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}.")
    return value


def _check_mixing(mixing: tuple[Exchange, ...], step: int, num_learners: int) -> None:
    for sources, weight in mixing:
        if sorted(sources) != list(range(num_learners)):
            raise ValueError(
                f"`sources` in step {step} of `mixings` must be a permutation of 0 ... "
                f"{num_learners - 1}, so that every learner sends and receives once and the mixing "
                f"matrix stays doubly stochastic; got {sources}."
            )
        if not weight > 0.0:
            raise ValueError(
                f"`weight` in step {step} of `mixings` must be positive, got {weight}; "
                "leave out an exchange of weight zero."
            )
    total = math.fsum(weight for _, weight in mixing)
    if not math.isclose(total, 1.0, rel_tol=1e-9):
        raise ValueError(
            f"The weights in step {step} of `mixings` must sum to 1, so that the mixing matrix is "
            f"doubly stochastic; got {total}."
        )
