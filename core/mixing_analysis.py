"""What a topology does to gossip training: how fast learners agree, and at which step sizes.

With J = 11^T/n, the disagreement x - J x is what a product of mixing matrices shrinks.  In training
each step adds new disagreement.  On a quadratic of curvature h, with step size a and gradient noise
of standard deviation s, one coordinate of the n learners follows

    AWC:  x <- W x - a (h x + s xi)          A = W - a h I
    ATC:  x <- W (x - a (h x + s xi))        A = (1 - a h) W

a linear recursion whose stability and stationary variance are those of the product of the A over
one period.  For a static symmetric W of eigenvalues lambda_k this gives closed forms: AWC needs
a h < 1 + lambda_min, ATC a h < 2, and the mean square distance to the mean is

    AWC:  (1/n) sum_{k >= 2} a^2 s^2 / (1 - (lambda_k - a h)^2)
    ATC:  (1/n) sum_{k >= 2} lambda_k^2 a^2 s^2 / (1 - lambda_k^2 (1 - a h)^2).

That AWC has the lower limit is a fact about quadratics; the spread of the learners also smooths a
loss that is none.

References:
    S. Boyd et al., "Randomized gossip algorithms", 2006, IEEE Transactions on
        Information Theory 52.
    T. Vogels, H. Hendrikx, M. Jaggi, "Beyond spectral gap: The role of the topology in
        decentralized learning", 2022, arXiv:2206.03093.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import scipy.linalg
from scipy.sparse import csgraph, csr_array

from .gossip import Order
from .mixture import Topology, check_positive

_ROUNDING = 1e-12  # below this a float64 matrix entry or norm counts as zero


def is_column_stochastic(matrix: np.ndarray) -> bool:
    """Whether entries are nonnegative and columns sum to 1: each sender hands out all it has."""
    return bool(np.min(matrix) >= 0.0 and np.allclose(np.sum(matrix, axis=0), 1.0, rtol=1e-9))


def is_symmetric(topology: Topology) -> bool:
    """Whether the matrix of every step is symmetric, up to rounding."""
    return all(np.allclose(w, w.T, rtol=0.0, atol=_ROUNDING) for w in _matrices(topology))


def is_connected(topology: Topology) -> bool:
    """Whether every learner reaches every other through the edges of one period."""
    edges = csr_array(sum(_matrices(topology)) > 0.0)
    # In a mixture of permutations whatever leaves a part returns: strong and weak are the same.
    return csgraph.connected_components(edges, return_labels=False) == 1


def lambda_min(topology: Topology) -> float:
    """The smallest eigenvalue of any step's matrix.

    Args:
        topology: its matrices must be symmetric.

    Returns:
        A number in [-1, 1]; -1/3 for a ring of even n.

    Raises:
        ValueError: if a matrix is not symmetric.
    """
    if not is_symmetric(topology):
        raise ValueError(
            "`topology` must have symmetric matrices, the eigenvalues of others are complex; "
            "`step_size_limit` takes any topology."
        )
    return float(min(np.linalg.eigvalsh(w)[0] for w in _matrices(topology)))


def contraction(topology: Topology, num_steps: int, start: int = 0) -> float:
    """What is left of the disagreement after some steps, at worst: ||W_{t+m-1} ... W_t - J||_2.

    Args:
        topology: who averages with whom.
        num_steps: number of steps m >= 1.
        start: the first step t.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: if `num_steps` is below 1.
    """
    product = np.eye(topology.num_learners)
    for step in range(start, start + check_positive(num_steps, "num_steps")):
        product = topology.matrix(step) @ product
    return float(np.linalg.norm(product - 1.0 / topology.num_learners, ord=2))


def averaging_steps(topology: Topology, start: int = 0) -> int | None:
    """The number of steps after which all learners hold the exact mean.

    Args:
        topology: who averages with whom.
        start: the first step.

    Returns:
        The fewest such steps, at most one period; None if a period does not average exactly.

    Example:
        >>> averaging_steps(one_peer_exponential(8)), averaging_steps(one_peer_exponential(6))
        (3, None)
    """
    counts = range(1, topology.period + 1)
    return next((m for m in counts if contraction(topology, m, start) < _ROUNDING), None)


def expected_contraction(topology: Topology) -> float:
    """lambda_2(E[W^T W]) over the period's matrices, for steps drawn from them at random.

    If a step draws its matrix independently of the past, this bounds what is left, on average, of
    the *squared* distance to the mean.  A bank of few draws is worse than the distribution they
    came from: 16 random rings of 8 learners with seed 0 have 0.39, all rings 0.24.

    Args:
        topology: the matrices of its period are equally likely.

    Returns:
        A number in [0, 1]; (1 - gap)^2 for a static topology of that spectral gap.
    """
    squares = np.mean([w.T @ w for w in _matrices(topology)], axis=0)
    return float(np.linalg.norm(squares - 1.0 / topology.num_learners, ord=2))


def step_size_limit(topology: Topology, order: Order = "awc", curvature: float = 1.0) -> float:
    """The step size below which gradient descent with gossip is stable on a quadratic.

    Args:
        topology: who averages with whom, symmetric or not, static or changing.
        order: "awc" or "atc", see `gossip.mix`.
        curvature: the largest curvature h > 0 of the quadratic.

    Returns:
        (1 + lambda_min) / h for AWC on a static symmetric topology, 2 / h for ATC.  A changing
        topology is searched in steps of 1/64 for the first instability, so that a narrower window
        of it may go unnoticed.

    Raises:
        ValueError: if `order` is unknown or `curvature` is not positive.

    Example:
        >>> round(step_size_limit(ring(8)), 6)
        0.666667
    """
    _check_order(order)
    if not curvature > 0.0:
        raise ValueError(f"`curvature` must be positive, got {curvature}.")

    def is_stable(scaled_step):
        return _spectral_radius(_propagators(topology, scaled_step, order)) < 1.0

    grid = np.linspace(0.0, 2.0, 129)  # At a h = 2 the mean itself stops to converge.
    index = next((i for i in range(1, 128) if not is_stable(grid[i])), 128)
    low, high = grid[index - 1], grid[index]
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return float(low / curvature)


def stationary_distance(
    topology: Topology,
    step_size: float,
    *,
    order: Order = "awc",
    curvature: float = 1.0,
    noise_std: float = 1.0,
) -> float:
    """The consensus distance that noisy gradient descent on a quadratic settles at.

    Args:
        topology: who averages with whom.
        step_size: step size a > 0.
        order: "awc" or "atc", see `gossip.mix`.
        curvature: curvature h >= 0 of the quadratic.
        noise_std: standard deviation s of the gradient noise, independent for each learner.

    Returns:
        E[(1/n) sum_i (x_i - mean_j x_j)^2] for one coordinate, averaged over a period; compare it
        with `gossip.consensus_distance` divided by the number of coordinates.

    Raises:
        ValueError: if `order` is unknown, or if the recursion has no stationary state.
    """
    _check_order(order)
    n = topology.num_learners
    off_mean = np.eye(n) - 1.0 / n
    # Mixing commutes with J: the disagreement follows the recursion of x, off the mean.
    propagators = [a @ off_mean for a in _propagators(topology, step_size * curvature, order)]
    if not _spectral_radius(propagators) < 1.0:
        raise ValueError(
            f"`step_size` must be below the limit of stability, see `step_size_limit`; got "
            f"{step_size} at curvature {curvature}. Without curvature the topology must connect "
            "all learners."
        )
    senders = [off_mean if order == "awc" else w @ off_mean for w in _matrices(topology)]
    noises = [(step_size * noise_std) ** 2 * (b @ b.T) for b in senders]
    return _stationary_variance(propagators, noises)


def effective_neighbors(topology: Topology, decay: float) -> float:
    """How many learners one learner averages with, over the time in which it forgets.

    In the random walk z <- W (sqrt(gamma) z + xi) the variance of a learner is smaller than without
    mixing, where it is 1 / (1 - gamma), by

        n_W(gamma) = (1 / (1 - gamma)) / ((1/n) sum_k lambda_k^2 / (1 - gamma lambda_k^2)),

    for symmetric W; in general by the solution of a Lyapunov equation.  gamma is what a step of SGD
    keeps of the past: (1 - a h)^2 on a quadratic.

    Args:
        topology: who averages with whom.
        decay: gamma in [0, 1).

    Returns:
        A number from 1, no mixing, to n, exact averages; for gamma = 0 the number of members of a
        neighborhood with uniform weights.

    Raises:
        ValueError: if `decay` is outside [0, 1).

    References:
        T. Vogels et al., 2022, arXiv:2206.03093.
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"`decay` must be in [0, 1), got {decay}.")
    matrices = _matrices(topology)
    variance = _stationary_variance(
        [np.sqrt(decay) * w for w in matrices], [w @ w.T for w in matrices]
    )
    return 1.0 / (1.0 - decay) / variance


def _matrices(topology: Topology) -> list[np.ndarray]:
    return [topology.matrix(step) for step in range(topology.period)]


def _propagators(topology: Topology, scaled_step: float, order: Order) -> list[np.ndarray]:
    """The matrices A of one period, see the head of this file; `scaled_step` is a h."""
    if order == "awc":
        return [w - scaled_step * np.eye(len(w)) for w in _matrices(topology)]
    return [(1.0 - scaled_step) * w for w in _matrices(topology)]


def _spectral_radius(propagators: Sequence[np.ndarray]) -> float:
    """Of the product over one period."""
    product = np.eye(len(propagators[0]))
    for propagator in propagators:
        product = propagator @ product
    return float(np.abs(np.linalg.eigvals(product)).max())


def _stationary_variance(propagators: Sequence[np.ndarray], noises: Sequence[np.ndarray]) -> float:
    """Variance of x <- A_t x + noise_t of covariance Q_t, averaged over learners and a period."""
    steps = list(zip(propagators, noises, strict=True))
    product, noise = np.eye(len(noises[0])), np.zeros_like(noises[0])
    for propagator, new_noise in steps:
        product, noise = propagator @ product, propagator @ noise @ propagator.T + new_noise
    covariance = scipy.linalg.solve_discrete_lyapunov(product, noise)
    variances = []
    for propagator, new_noise in steps:
        covariance = propagator @ covariance @ propagator.T + new_noise
        variances.append(np.trace(covariance) / len(covariance))
    return float(np.mean(variances))


def _check_order(order: Order) -> None:
    if order not in get_args(Order):
        raise ValueError(f'`order` must be "awc" or "atc", got {order!r}.')
