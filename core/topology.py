"""Who averages with whom: the communication graphs of gossip training.

In one gossip step learner i replaces its weights by a weighted average over its neighbors,

    x_i <- sum_j W_ij x_j,    W doubly stochastic,

so that the mean over the learners is conserved and their disagreement shrinks.  Each function here
builds a `Topology`, a periodic sequence of such matrices held as mixtures of permutations (see
`mixture`).  What a learner sends in one step, and how fast n learners agree:

    graph                                 arrays sent         spectral gap
    ring                                  2                   (2/3)(1 - cos(2 pi / n)), O(1/n^2)
    torus of side m, n = m^2              4                   (2/5)(1 - cos(2 pi / m)), O(1/n)
    star                                  center n - 1        1/n
    hypercube, exponential; n = 2^m       m                   2/(m + 1)
    random matching, random ring          1, 2                mean square 1/2, 1/3, for every n
    one-peer exponential, n = 2^m         1                   exact after m steps
    Base-(k+1)                            at most k           exact after O(log n / log k) steps
    complete                              n - 1               exact after one step

`mixing_analysis` computes these figures, and what they mean for a step size.

References:
    X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", 2017,
        arXiv:1705.09056.
    B. Ying et al., "Exponential Graph is Provably Efficient for Decentralized Deep Training", 2021,
        arXiv:2110.13363.
    Y. Takezawa et al., "Beyond Exponential Graph: Communication-Efficient Topologies for
        Decentralized Learning via Finite-time Convergence", 2023, arXiv:2305.11420.
"""

from collections.abc import Iterable

import numpy as np

from .base_graph import build_matrices
from .birkhoff import decompose
from .mixture import Exchange, Topology, check_positive


def from_matrix(matrix: np.ndarray) -> Topology:
    """A topology of the user's own mixing matrix, or periodic sequence of matrices.

    The matrix is decomposed into few permutations (see `birkhoff`); each of them, other than the
    identity, is one message of every learner.  A matrix that is only column stochastic belongs to
    push-sum, whose weights do not sum to one at the receiver, and is refused.

    Args:
        matrix: [n, n] or [period, n, n], doubly stochastic; row i weighs what learner i receives.

    Returns:
        A topology whose matrices equal `matrix` to about 1e-13.

    Raises:
        ValueError: if a matrix is not doubly stochastic.

    Example:
        >>> from_matrix(np.array([[0.9, 0.1], [0.1, 0.9]])).mixings[0][1]
        Exchange(sources=(1, 0), weight=0.1)
    """
    matrix = np.asarray(matrix, np.float64)
    matrices = matrix if matrix.ndim == 3 else matrix[None]
    mixings = tuple(tuple(Exchange(*term) for term in decompose(one)) for one in matrices)
    return Topology(matrices.shape[-1], mixings)


def ring(num_learners: int) -> Topology:
    """The fixed ring: each learner averages itself and its two neighbors with weights 1/3.

    The weights are uniform over the *distinct* members of a neighborhood: two learners, each of
    which is both neighbors of the other, average with weights 1/2; a single learner keeps its own.
    For n >= 3 the eigenvalues are (1 + 2 cos(2 pi k / n)) / 3; the smallest is -1/3 for even n.

    Args:
        num_learners: number of learners n >= 1.

    Returns:
        A topology of period 1; up to n = 3 it averages exactly.

    Raises:
        ValueError: if `num_learners` is below 1.

    Example:
        >>> round(ring(8).spectral_gap(), 5)
        0.19526
    """
    learners = np.arange(check_positive(num_learners, "num_learners"))
    return _static(np.roll(learners, shift) for shift in (0, 1, -1))  # self, left, right


def torus(rows: int, columns: int) -> Topology:
    """A grid with periodic borders: weights 1/5 for itself and the four neighbors.

    Learner ``r * columns + c`` sits in row r and column c.  As in `ring`, neighbors that coincide
    on a side of length 1 or 2 count once.  For sides of at least 3 the eigenvalues are
    (1 + 2 cos(2 pi a / rows) + 2 cos(2 pi b / columns)) / 5.

    Args:
        rows: length of one side, at least 1.
        columns: length of the other side, at least 1; as square as possible mixes fastest.

    Returns:
        A topology of period 1 over ``rows * columns`` learners.

    Raises:
        ValueError: if a side is below 1.
    """
    grid = np.arange(check_positive(rows, "rows") * check_positive(columns, "columns")).reshape(
        rows, columns
    )
    steps = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    return _static(np.roll(grid, step, axis=(0, 1)).ravel() for step in steps)


def hypercube(num_learners: int) -> Topology:
    """The hypercube: learners whose numbers differ in one of m binary digits, weights 1/(m + 1).

    The eigenvalues are 1 - 2 d / (m + 1), each of them (m choose d) times, d = 0 ... m.

    Args:
        num_learners: number of learners n = 2^m.

    Returns:
        A topology of period 1 with spectral gap 2/(m + 1) for m >= 1.

    Raises:
        ValueError: if `num_learners` is not a power of 2.
    """
    num_learners = check_positive(num_learners, "num_learners")
    if num_learners & (num_learners - 1):
        raise ValueError(
            f"`num_learners` of a hypercube must be a power of 2, got {num_learners}; "
            "`exponential` and `base_graph` take any number."
        )
    learners = np.arange(num_learners)
    return _static([learners, *(learners ^ hop for hop in _hops(num_learners))])


def complete(num_learners: int) -> Topology:
    """The complete graph: each step replaces all weights by their exact mean, W = 11^T/n.

    Args:
        num_learners: number of learners n >= 1.

    Returns:
        A topology of period 1 with spectral gap 1.

    Raises:
        ValueError: if `num_learners` is below 1.
    """
    learners = np.arange(check_positive(num_learners, "num_learners"))
    return _static(np.roll(learners, -shift) for shift in range(num_learners))


def star(num_learners: int) -> Topology:
    """The star: learner 0 averages all, each other learner moves by 1/n towards learner 0.

    W = I - L/n with the Laplacian L of the star: the eigenvalues are 1, 1 - 1/n (n - 2 times) and
    0.  The center exchanges with one learner after the other, so a step takes n - 1 messages.

    Args:
        num_learners: number of learners n >= 1.

    Returns:
        A topology of period 1 with spectral gap 1/n for n >= 3.

    Raises:
        ValueError: if `num_learners` is below 1.
    """
    swaps = np.tile(np.arange(check_positive(num_learners, "num_learners")), (num_learners, 1))
    leaves = np.arange(num_learners)
    swaps[leaves, leaves], swaps[leaves, 0] = 0, leaves  # Row k swaps learners 0 and k.
    return _static(swaps)


def exponential(num_learners: int) -> Topology:
    """The static exponential graph: itself and the learners 1, 2, 4, ... further, equal weights.

    Args:
        num_learners: number of learners n >= 1; there are ceil(log2 n) hops.

    Returns:
        A topology of period 1, in general not symmetric; its spectral gap is 2/(m + 1) for n = 2^m.

    Raises:
        ValueError: if `num_learners` is below 1.

    References:
        B. Ying et al., 2021, arXiv:2110.13363.
    """
    learners = np.arange(check_positive(num_learners, "num_learners"))
    return _static(np.roll(learners, -hop) for hop in (0, *_hops(num_learners)))


def one_peer_exponential(num_learners: int) -> Topology:
    """One hop of the exponential graph at a time: step k averages i with i + 2^k, half and half.

    A learner sends one array each step, half of what a ring sends, and any m = log2(n) consecutive
    steps average exactly if n is a power of 2; `base_graph` does so for every n.

    Args:
        num_learners: number of learners n >= 1.

    Returns:
        A topology of period max(1, ceil(log2 n)).

    Raises:
        ValueError: if `num_learners` is below 1.
    """
    learners = np.arange(check_positive(num_learners, "num_learners"))
    hops = _hops(num_learners) or [0]
    return _sequence((learners, np.roll(learners, -hop)) for hop in hops)


def base_graph(num_learners: int, num_peers: int = 1) -> Topology:
    """The Base-(k+1) graph: a sequence with at most k neighbors a step that averages exactly.

    Args:
        num_learners: number of learners n, any number of at least 1.
        num_peers: k >= 1, the most neighbors of a learner in one step.

    Returns:
        A topology of spectral gap 1, with symmetric matrices and a period of at most
        2 log(n) / log(k + 1) + 2.

    Raises:
        ValueError: if an argument is below 1.

    Example:
        >>> [base_graph(n).period for n in (4, 5, 6, 7, 8)]
        [2, 5, 4, 5, 3]

    References:
        Y. Takezawa et al., 2023, arXiv:2305.11420.
    """
    num_learners, num_peers = (
        check_positive(num_learners, "num_learners"),
        check_positive(num_peers, "num_peers"),
    )
    return from_matrix(build_matrices(num_learners, num_peers))


def random_ring(num_learners: int, seed: int, period: int = 16) -> Topology:
    """Rings over freshly shuffled learners: fast mixing at the cost of a ring, for every n.

    W = P^T T P with the matrix T of `ring` and P a uniform permutation drawn for each step, so that
    lambda_2(E[W^T W]) = (n - 3) / (3 (n - 1)) < 1/3, where the fixed ring has 1 - O(1/n^2).
    Compiled code holds every ring of the bank, which then repeats.

    Args:
        num_learners: number of learners n >= 1.
        seed: seed of the permutations; all processes of one training must use the same.
        period: number of rings in the bank; compile time grows with it.

    Returns:
        A topology of the given period.

    Raises:
        ValueError: if `num_learners` or `period` is below 1.
    """
    generator = np.random.default_rng(seed)
    mixings = []
    for _ in range(check_positive(period, "period")):
        order = generator.permutation(check_positive(num_learners, "num_learners"))
        positions = np.argsort(order)
        mixings.append([np.roll(order, shift)[positions] for shift in (0, 1, -1)])
    return _sequence(mixings)


def random_matching(num_learners: int, seed: int, period: int = 16) -> Topology:
    """Random pairs average half and half; of an odd number, one learner rests.

    Each step draws a uniform matching, so that lambda_2(E[W^T W]) is (n - 2) / (2 (n - 1)) for even
    n and 1/2 for odd n >= 3.  A learner sends one array a step.  Compiled code holds every matching
    of the bank, which then repeats.

    Args:
        num_learners: number of learners n >= 1.
        seed: seed of the matchings; all processes of one training must use the same.
        period: number of matchings in the bank; compile time grows with it.

    Returns:
        A topology of the given period.

    Raises:
        ValueError: if `num_learners` or `period` is below 1.
    """
    generator = np.random.default_rng(seed)
    learners = np.arange(check_positive(num_learners, "num_learners"))
    mixings = []
    for _ in range(check_positive(period, "period")):
        shuffled = generator.permutation(learners)
        first, second = shuffled[0 : num_learners - 1 : 2], shuffled[1::2]
        peers = learners.copy()
        peers[first], peers[second] = second, first
        mixings.append((learners, peers))
    return _sequence(mixings)


def hierarchical(across: Topology, learners_per_node: int) -> Topology:
    """Exact averages inside each node, gossip across nodes: W = T kron 11^T/m.

    Learner ``node * m + i`` is the i-th of its node.  All learners of a node leave a step with the
    same average, of the spectral gap of `across`.  Written as messages between learners, each of
    them receives from all m learners of a neighboring node.

    Args:
        across: topology of the nodes, with matrices T.
        learners_per_node: number of learners m >= 1 in each node.

    Returns:
        A topology of the period of `across` over ``across.num_learners * m`` learners.

    Raises:
        ValueError: if `learners_per_node` is below 1.

    Example:
        >>> hierarchical(ring(4), learners_per_node=2).num_learners
        8
    """
    size = check_positive(learners_per_node, "learners_per_node")
    members = np.arange(size)

    def spread(exchange: Exchange) -> list[Exchange]:
        first = size * np.array(exchange.sources)[:, None]
        shifted = [(first + np.roll(members, -shift)).ravel() for shift in range(size)]
        return [Exchange(tuple(s.tolist()), exchange.weight / size) for s in shifted]

    mixings = tuple(
        tuple(term for exchange in mixing for term in spread(exchange)) for mixing in across.mixings
    )
    return Topology(across.num_learners * size, mixings)


def _static(permutations: Iterable[np.ndarray]) -> Topology:
    return _sequence([permutations])


def _sequence(steps: Iterable[Iterable[np.ndarray]]) -> Topology:
    """Each step averages with equal weights over its *distinct* permutations [num_learners]."""
    mixings = []
    for permutations in steps:
        distinct = dict.fromkeys(tuple(sources.tolist()) for sources in permutations)
        mixings.append(tuple(Exchange(sources, 1.0 / len(distinct)) for sources in distinct))
    return Topology(len(mixings[0][0].sources), tuple(mixings))


def _hops(num_learners: int) -> list[int]:
    """The powers of 2 below the number of learners."""
    return [2**k for k in range(int(num_learners - 1).bit_length())]
