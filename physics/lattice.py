"""Lattices of two-dimensional magnets, stored so that every color is one dense array.

Sites of one color are no neighbors of each other, so that a whole color may be updated at once.  In
units of the lattice vectors a site stands at (i, j) in layer l.  The triangular and the square
lattice have n = 3 and 2 colors, k = (i - j - l) mod n, and are stored in sheared rows

    i = n I + k + j + l,      I the cell in its row,      j the row,      l the layer,

in which every neighbor of color k lies at one offset in color, layer, row and cell.  The honeycomb
lattice needs no shear: its two sublattices are its colors.  Honeycomb layers, and layers in AB
stacking, have colors of their own for even and odd layers; an odd number of them leaves one empty
layer in storage, whose spins are zero.

Arrays over a lattice have the shape ``[colors, depth, rows, cells]``.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import numpy as np

Kind = Literal["triangular", "honeycomb", "square"]
Stacking = Literal["AA", "AB"]

COLORS = {"triangular": 3, "honeycomb": 2, "square": 2}
BASIS = {  # lattice vectors a1, a2 in units of the constant
    "triangular": np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]]),
    "honeycomb": np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]]),
    "square": np.eye(2),
}
# Neighbors of a site as (di, dj); for the honeycomb of sublattice A, as (di, dj) of sublattice B.
IN_PLANE = {
    "triangular": ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)),
    "honeycomb": ((0, 0), (-1, 0), (0, -1)),
    "square": ((1, 0), (-1, 0), (0, 1), (0, -1)),
}
# AB: what a site of an even layer sees in the layers beside it; odd layers see the opposite.
ACROSS = {
    "triangular": ((0, 0), (-1, 0), (0, -1)),
    "square": ((0, 0), (-1, 0), (0, -1), (-1, -1)),
}


class Bond(NamedTuple):
    """Where the neighbors of all sites of one color are, one neighbor of each site."""

    color: int
    offset: tuple[int, int, int]  # in depth, rows, cells
    steps: int  # in i, along a1
    direction: tuple[float, float, float]  # unit vector in space
    across: bool  # between layers


@dataclasses.dataclass(frozen=True)
class Lattice:
    """A film of `layers` layers of `size` unit cells.

    Args:
        kind: triangular (the metal atoms of a 2H or 1T layer), honeycomb, or square.
        size: unit cells along a1 and a2.  Along a1 a multiple of the number of colors (3, 2 and,
            for the honeycomb, any), along a2 too if periodic.
        layers: number of layers, any.
        stacking: AA, one above the other, or AB: over the hollow sites; on the honeycomb as in
            graphite, one of two sublattices over the other one.
        periodic: along a1, along a2 and across the layers; films are open across.
        constant: length of a1, nm.
        spacing: of layers, nm.

    Raises:
        ValueError: if the size does not fit the colors, or is too small to tell neighbors apart.

    Example:
        >>> Lattice("triangular", (48, 48), layers=3).num_sites
        6912
    """

    kind: Kind = "triangular"
    size: tuple[int, int] = (48, 48)
    layers: int = 1
    stacking: Stacking = "AA"
    periodic: tuple[bool, bool, bool] = (True, True, False)
    constant: float = 0.33
    spacing: float = 0.61

    def __post_init__(self):
        if self.kind not in COLORS:
            raise ValueError(f"`kind` must be one of {', '.join(COLORS)}; got {self.kind!r}.")
        if self.stacking not in ("AA", "AB"):
            raise ValueError(f"`stacking` must be AA or AB, got {self.stacking!r}.")
        if self.layers < 1:
            raise ValueError(f"`layers` must be at least 1, got {self.layers}.")
        if not (self.constant > 0 and self.spacing > 0):
            raise ValueError(
                f"`constant` and `spacing` must be positive, in nm, got {self.constant} and "
                f"{self.spacing}."
            )
        self._check_size()
        if self.periodic[2] and (self.layers < 3 or self.layers % self._period_across):
            raise ValueError(
                f"`layers` must be a multiple of {self._period_across} and at least 3 if they are "
                f"periodic, so that their colors fit, got {self.layers}."
            )

    def _check_size(self) -> None:
        num = self.num_sublattices if self.sheared else 1
        smallest = 2 if self.kind == "honeycomb" else 3
        for axis, extent in enumerate(self.size):
            if extent < smallest:
                raise ValueError(
                    f"`size` must be at least {smallest} along a{axis + 1}, so that no two "
                    f"neighbors of a site are the same one, got {self.size}."
                )
            if (axis == 0 or self.periodic[1]) and extent % num:
                below = max(extent // num, 1) * num
                raise ValueError(
                    f"`size` along a{axis + 1} must be a multiple of {num}, the number of colors "
                    f"of the {self.kind} lattice, got {extent}; take {below} or {below + num}."
                )

    @property
    def num_sublattices(self) -> int:
        """Colors of one layer."""
        return COLORS[self.kind]

    @property
    def sheared(self) -> bool:
        """Whether rows are stored sheared."""
        return self.kind != "honeycomb"

    @property
    def _alternates(self) -> bool:
        """Whether even and odd layers have colors of their own."""
        return self.layers > 1 and (self.stacking == "AB" or not self.sheared)

    @property
    def _period_across(self) -> int:
        if self._alternates or self.layers == 1:
            return 2
        return self.num_sublattices

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of an array over the lattice: ``(colors, depth, rows, cells)``."""
        cells = self.size[0] // self.num_sublattices if self.sheared else self.size[0]
        if self._alternates:
            return 2 * self.num_sublattices, (self.layers + 1) // 2, self.size[1], cells
        return self.num_sublattices, self.layers, self.size[1], cells

    @property
    def num_sites(self) -> int:
        """Number of spins."""
        return self.size[0] * self.size[1] * self.layers * (1 if self.sheared else 2)

    @property
    def coordination(self) -> int:
        """Neighbors of a site in its layer."""
        return {"triangular": 6, "honeycomb": 3, "square": 4}[self.kind]

    @property
    def twists(self) -> tuple[int, int]:
        """Cells by which the rows move on where depth, and where rows, wrap around."""
        if not self.sheared:
            return 0, 0
        depth = 0 if self._alternates else self.layers // self.num_sublattices
        return depth, self.size[1] // self.num_sublattices

    @functools.cached_property
    def layer_index(self) -> np.ndarray:
        """The layer of each ``[colors, depth]``; an empty one has the number `layers`."""
        colors, depth = self.shape[:2]
        if not self._alternates:
            return np.tile(np.arange(depth), (colors, 1))
        return 2 * np.arange(depth)[None] + np.arange(colors)[:, None] % 2

    @functools.cached_property
    def occupied(self) -> np.ndarray:
        """Booleans ``[colors, depth]``: False in the empty layer, where there is one."""
        return self.layer_index < self.layers

    @functools.cached_property
    def indices(self) -> np.ndarray:
        """``[4, colors, depth, rows, cells]``: i, j, layer and sublattice (A is 0) of each site."""
        color, depth, j, cell = np.indices(self.shape)
        layer = self.layer_index[color, depth]
        sublattice = color // 2 if self._alternates else color
        if not self.sheared:
            return np.stack([cell, j, layer, sublattice])
        shear = j if self._alternates else j + layer
        i = (self.num_sublattices * cell + sublattice + shear) % self.size[0]
        return np.stack([i, j, layer, np.zeros_like(i)])

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """``[3, colors, depth, rows, cells]``: x, y, z of each site, nm."""
        i, j, layer, sublattice = self.indices.astype(np.float64)
        shift = sublattice / 3  # of B of the honeycomb, along a1 + a2
        if self.stacking == "AB":
            shift = shift + (layer % 2) * (0.5 if self.kind == "square" else 1 / 3)
        plane = np.tensordot(BASIS[self.kind].T, np.stack([i + shift, j + shift]), 1)
        return np.concatenate([self.constant * plane, self.spacing * layer[None]])

    @functools.cached_property
    def bonds(self) -> tuple[tuple[Bond, ...], ...]:
        """For each color the bonds to all neighbors, so that each bond appears at both ends."""
        return tuple(
            tuple(self._bonds_in_plane(color)) + tuple(self._bonds_across(color))
            for color in range(self.shape[0])
        )

    def _bonds_in_plane(self, color: int):
        sublattice = color // 2 if self._alternates else color
        parity = color % 2 if self._alternates else 0
        sign = -1 if self.kind == "honeycomb" and sublattice else 1
        shift = sign / 3 if self.kind == "honeycomb" else 0.0
        for di, dj in IN_PLANE[self.kind]:
            di, dj = sign * di, sign * dj
            space = BASIS[self.kind].T @ np.array([di + shift, dj + shift])
            x, y = space / np.linalg.norm(space)
            to, cells = (
                (1 - sublattice, di) if not self.sheared else self._shear(sublattice, di - dj)
            )
            to = 2 * to + parity if self._alternates else to
            yield Bond(to, (0, dj, cells), di, (float(x), float(y), 0.0), False)

    def _bonds_across(self, color: int):
        if self.layers == 1:
            return
        for dl in (1, -1):
            for sublattice, di, dj in self._stacked(color):
                if self._alternates:
                    parity = color % 2
                    depth = (parity + dl) // 2
                    to, cells = (
                        self._shear(sublattice, di - dj) if self.sheared else (sublattice, di)
                    )
                    yield Bond(
                        2 * to + 1 - parity, (depth, dj, cells), di, (0.0, 0.0, float(dl)), True
                    )
                else:
                    to, cells = self._shear(sublattice, di - dj - dl)
                    yield Bond(to, (dl, dj, cells), di, (0.0, 0.0, float(dl)), True)

    def _stacked(self, color: int):
        """(own sublattice to shear from, di, dj) of what a site sees across."""
        if not self._alternates:
            return [(color, 0, 0)]
        sublattice, parity = divmod(color, 2)
        if self.stacking == "AA":
            return [(sublattice, 0, 0)]
        if self.kind == "honeycomb":  # B of even layers and A of odd ones meet.
            return [(1 - sublattice, 0, 0)] if sublattice != parity else []
        sign = -1 if parity else 1
        return [(sublattice, sign * di, sign * dj) for di, dj in ACROSS[self.kind]]

    def _shear(self, sublattice: int, steps: int) -> tuple[int, int]:
        """Color and offset in cells of a neighbor `steps` further in i - j - l."""
        cells, to = divmod(sublattice + steps, self.num_sublattices)
        return to, cells
