"""Lattices: neighbors in storage are neighbors in space, of another color, on every edge."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.halo import exists, look, surround
from gossamer.physics.lattice import BASIS, Lattice

IN_PLANE = {"triangular": 1.0, "square": 1.0, "honeycomb": 1 / np.sqrt(3)}
ACROSS = {
    "AA": {"triangular": 0.0, "square": 0.0, "honeycomb": 0.0},
    "AB": {"triangular": 1 / np.sqrt(3), "square": np.sqrt(0.5), "honeycomb": 0.0},
}
EDGES = [(True, True), (True, False), (False, True), (False, False)]


def find_pairs(lattice):
    """(site, neighbor, whether across) for each bond at each of its ends, by number from 1."""
    numbers = 1 + np.arange(np.prod(lattice.shape)).reshape(lattice.shape)
    numbers = numbers * lattice.occupied[:, :, None, None]
    around = surround(jnp.asarray(numbers, jnp.float32), lattice)
    for color, bonds in enumerate(lattice.bonds):
        for bond in bonds:
            there = np.asarray(look(around, bond, lattice)).astype(int)
            kept = exists(color, bond, lattice, None, lattice.size[1])
            there = there if kept is None else np.where(kept, there, 0)
            for pair in zip(numbers[color].ravel(), there.ravel(), strict=True):
                if all(pair):
                    yield (*pair, bond.across)


@pytest.mark.parametrize("kind", BASIS)
@pytest.mark.parametrize(("layers", "stacking"), [(1, "AA"), (2, "AA"), (3, "AA"), (3, "AB")])
def test_neighbors_stand_beside_each_other(kind, layers, stacking):
    for edges in EDGES:
        lattice = Lattice(kind, (6, 6), layers, stacking, (*edges, False), constant=1.0)
        places = lattice.positions.reshape(3, -1)
        pairs = list(find_pairs(lattice))
        for one, other, across in pairs:
            step = places[:, other - 1] - places[:, one - 1]
            images = itertools.product(*((-1, 0, 1) if edge else (0,) for edge in edges))
            shifts = [6 * np.array(image) @ BASIS[kind] for image in images]
            distance = min(np.hypot(*(step[:2] + shift)) for shift in shifts)
            assert distance == pytest.approx(
                (ACROSS[stacking] if across else IN_PLANE)[kind], abs=1e-9
            )
            assert abs(step[2]) == pytest.approx(0.61 if across else 0.0)
        # Each bond once at each of its ends, and never within a color.
        ends = [(one, other) for one, other, _ in pairs]
        assert len(set(ends)) == len(ends)
        assert {(other, one) for one, other in ends} == set(ends)
        color = (np.array(ends) - 1) // np.prod(lattice.shape[1:])
        assert (color[:, 0] != color[:, 1]).all()


@pytest.mark.parametrize("kind", BASIS)
def test_number_of_bonds(kind):
    lattice = Lattice(kind, (6, 12), 4)
    pairs = list(find_pairs(lattice))
    sites = lattice.num_sites
    assert sum(not across for *_, across in pairs) == lattice.coordination * sites
    assert sum(across for *_, across in pairs) == 2 * sites * 3 // 4
    colors = 1 if kind == "honeycomb" else lattice.num_sublattices
    assert lattice.occupied.sum() * 72 == sites * colors


def test_twisted_edges_of_a_long_lattice():
    lattice = Lattice("triangular", (9, 6))
    assert len(list(find_pairs(lattice))) == 6 * 54
    assert Lattice("square", (4, 6), 4, periodic=(True, True, True)).twists == (2, 3)


def test_an_odd_number_of_alternating_layers_leaves_one_empty():
    lattice = Lattice("honeycomb", (4, 4), 3)
    assert lattice.shape == (4, 2, 4, 4)
    assert lattice.occupied.sum() == 6
    assert lattice.num_sites == 96


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "kagome"}, "`kind` must be one of triangular"),
        ({"size": (32, 48)}, "multiple of 3.*got 32; take 30 or 33"),
        ({"size": (48, 32)}, "along a2 must be a multiple of 3"),
        ({"kind": "square", "size": (2, 4)}, "`size` must be at least 3"),
        ({"layers": 0}, "`layers` must be at least 1"),
        ({"stacking": "ABC"}, "`stacking` must be AA or AB"),
        ({"layers": 4, "periodic": (True, True, True)}, "multiple of 3 and at least 3"),
        ({"constant": 0.0}, "`constant` and `spacing` must be positive"),
    ],
)
def test_bad_lattices(options, match):
    with pytest.raises(ValueError, match=match):
        Lattice(**options)
