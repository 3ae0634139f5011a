"""Tests for gossamer.physics.samplers.clusters; the samplers themselves are tested with sweeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gossamer.physics.interactions.halo import look, surround
from gossamer.physics.lattice import Lattice
from gossamer.physics.samplers.clusters import label_clusters

LATTICES = [
    Lattice("triangular", (12, 12)),
    Lattice("square", (16, 8), periodic=(False, True, False)),
    Lattice("honeycomb", (6, 6), layers=3, stacking="AB"),
]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.kind)
@pytest.mark.parametrize("share", [0.2, 0.4, 0.9])
def test_labels_are_the_smallest_site_of_each_component(lattice, share):
    set_bonds, here, there = _draw_bonds(lattice, share)
    found = np.asarray(jax.jit(lambda bonds: label_clusters(lattice, bonds))(set_bonds)).ravel()
    num = found.size
    graph = coo_array((np.ones(len(here)), (here, there)), shape=(num, num))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(num, num)
    np.minimum.at(smallest, component, np.arange(num))
    np.testing.assert_array_equal(found, smallest[component])


def _draw_bonds(lattice: Lattice, share: float):
    """Random bonds, and the sites at both ends of those that are set."""
    ids = np.arange(np.prod(lattice.shape), dtype=np.int32).reshape(lattice.shape)
    around = surround(jnp.asarray(ids + 1), lattice)  # 0 is beyond an open edge.
    chance = np.random.default_rng(0).uniform(size=(ids.size + 1, ids.size + 1))
    set_bonds, here, there = [], [], []
    for color, bonds in enumerate(lattice.bonds):
        row = []
        for bond in bonds:
            ends = np.asarray(look(around, bond, lattice))
            low, high = np.minimum(ids[color] + 1, ends), np.maximum(ids[color] + 1, ends)
            is_set = (low > 0) & (chance[low, high] < share)
            here.extend(ids[color][is_set])
            there.extend(ends[is_set] - 1)
            row.append(jnp.asarray(is_set))
        set_bonds.append(row)
    return set_bonds, here, there
