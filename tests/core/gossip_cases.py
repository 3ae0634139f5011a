"""What the tests of gossip share: random trees, an update of one learner, the dense product."""

import jax
import numpy as np
import optax

from gossamer.core import topology
from gossamer.core.topology import Topology

ENGINES = ("vmap", "shard_map", "pmap")
ORDERS = ("awc", "atc")
SHAPES = {"bias": (), "vector": (5,), "matrix": (3, 4), "tensor": (2, 3, 2)}

# Neither symmetric nor static, with unequal weights.
CHANGING = Topology(
    4,
    (
        (((0, 1, 2, 3), 0.5), ((1, 2, 3, 0), 0.3), ((2, 3, 0, 1), 0.2)),
        (((1, 0, 3, 2), 1.0),),
        topology.complete(4).mixings[0],
    ),
)


def random_tree(seed, n, dtype=np.float32):
    generator = np.random.default_rng(seed)
    return {k: generator.standard_normal((n, *s)).astype(dtype) for k, s in SHAPES.items()}


def one_update(transform):
    """(params, updates, state) -> (new params, new state) of one learner."""

    def update(params, updates, state):
        updates, state = transform.update(updates, state, params)
        return optax.apply_updates(params, updates), state

    return update


def mix_densely(w, tree):
    return {k: np.einsum("ij,j...->i...", w, x.astype(np.float64)) for k, x in tree.items()}


def assert_trees_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)
