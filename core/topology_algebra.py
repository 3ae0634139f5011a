"""Topologies from topologies: lazy, in another order, and in two stages.

lazy            W -> (I + W)/2: all eigenvalues of a symmetric W become nonnegative
reshuffle       the steps of a period over and over, each time in another random order
node_stages     T kron 11^T/m = (T kron I) (I kron 11^T/m): first inside nodes, then across
"""

import numpy as np

from .mixture import Exchange, Topology, check_positive


def lazy(topology: Topology) -> Topology:
    """Each learner keeps half of its own weights: (I + W)/2 in place of W.

    Eigenvalues move from [-1, 1] to [0, 1], so that an even ring, of smallest eigenvalue -1/3,
    becomes one of 1/3, fit for `bias_correction.d2`.  A learner sends as much as before.

    Args:
        topology: who averages with whom.

    Returns:
        A topology of the same period.

    Example:
        >>> lazy(Topology(2, ((((1, 0), 1.0),),))).matrix().tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """
    stay = tuple(range(topology.num_learners))

    def soften(mixing):
        kept = sum(exchange.weight for exchange in mixing if exchange.sources == stay)
        moving = (exchange for exchange in mixing if exchange.sources != stay)
        halves = tuple(Exchange(sources, weight / 2.0) for sources, weight in moving)
        return (Exchange(stay, (1.0 + kept) / 2.0), *halves)

    return Topology(topology.num_learners, tuple(soften(mixing) for mixing in topology.mixings))


def reshuffle(topology: Topology, seed: int, num_rounds: int = 16) -> Topology:
    """The steps of a bank over and over, in another random order each round.

    A bank of random graphs that repeats in one order mixes at a rate that depends on the luck of
    the draw; reshuffled, it mixes as fresh draws do, and no more code is compiled: a mixing that
    comes again is the same branch.

    Args:
        topology: the bank, for instance of `topology.random_ring`.
        seed: seed of the orders; all processes of one training must use the same.
        num_rounds: number of rounds R >= 1 through the bank before the orders repeat.

    Returns:
        A topology of R times the period.  Its ``spectral_gap``, of one whole period, is 1 as soon
        as nothing but rounding is left of the disagreement.

    Raises:
        ValueError: if `num_rounds` is below 1.

    Example:
        >>> reshuffle(random_ring(8, seed=0, period=4), seed=1, num_rounds=16).period
        64
    """
    generator = np.random.default_rng(seed)
    rounds = [
        generator.permutation(topology.period)
        for _ in range(check_positive(num_rounds, "num_rounds"))
    ]
    steps = np.concatenate(rounds).tolist()
    return Topology(topology.num_learners, tuple(topology.mixings[step] for step in steps))


def node_stages(across: Topology, learners_per_node: int) -> tuple[Topology, Topology]:
    """The two stages of `topology.hierarchical`: exact averages inside nodes, gossip across.

    Learner ``node * m + i`` is the i-th of its node.  Its stages, applied one after the other,
    are the hierarchical matrix, T kron 11^T/m, at fewer messages: m - 1 inside the node, where
    links are fast, and then one array for each neighboring node in place of m.

    Args:
        across: topology of the nodes, with matrices T.
        learners_per_node: number of learners m >= 1 in each node.

    Returns:
        (inside, between): I kron 11^T/m, and T kron I of the period of `across`.

    Raises:
        ValueError: if `learners_per_node` is below 1.

    Example:
        >>> inside, between = node_stages(ring(4), learners_per_node=2)
        >>> optimizer = optax.chain(
        ...     optax.sgd(0.1), mix(inside, order="atc"), mix(between, order="atc"))
    """
    size = check_positive(learners_per_node, "learners_per_node")
    nodes = np.arange(across.num_learners)

    def place(sources, shift):
        """Member i receives from member i - shift of the node that its node receives from."""
        members = np.roll(np.arange(size), shift)
        return tuple((size * np.asarray(sources)[:, None] + members).ravel().tolist())

    inside = tuple(Exchange(place(nodes, shift), 1.0 / size) for shift in range(size))
    between = tuple(
        tuple(Exchange(place(sources, 0), weight) for sources, weight in mixing)
        for mixing in across.mixings
    )
    num_learners = across.num_learners * size
    return Topology(num_learners, (inside,)), Topology(num_learners, between)
