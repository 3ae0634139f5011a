"""What lies beyond the edges of a lattice: the other side, nothing, or the next device.

`surround` adds one site on every side of the stored axes, so that all neighbors are slices of one
array.  Where sheared rows close, they move on by the twist of the lattice.  With `axis_name` the
rows are spread over the devices of that mesh axis, and edge rows travel by `jax.lax.ppermute`.
"""

import jax
import jax.numpy as jnp

from ..lattice import Bond, Lattice


def surround(values: jax.Array, lattice: Lattice, axis_name: str | None = None) -> jax.Array:
    """Adds the neighbors beyond the edges.

    Args:
        values: ``[..., depth, rows, cells]``, with all cells of a row, and under `axis_name` the
            rows of this device.
        lattice: tells which axes are periodic.
        axis_name: mesh axis over which rows are spread; None where one device has them all.

    Returns:
        ``[..., depth + 2, rows + 2, cells + 2]``, or ``[..., depth, rows + 2, cells + 2]`` for a
        single layer; zeros beyond open edges.
    """
    twist_depth, twist_rows = lattice.twists
    if lattice.layers > 1:
        if lattice.periodic[2]:
            below = jnp.roll(values[..., -1:, :, :], twist_depth, -1)
            above = jnp.roll(values[..., :1, :, :], -twist_depth, -1)
        else:
            below = above = jnp.zeros_like(values[..., :1, :, :])
        values = jnp.concatenate([below, values, above], -3)
    before, after = _edge_rows(values, axis_name)
    if lattice.periodic[1]:
        first, last = _is_edge(axis_name)
        before = jnp.where(first, jnp.roll(before, twist_rows, -1), before)
        after = jnp.where(last, jnp.roll(after, -twist_rows, -1), after)
    else:
        first, last = _is_edge(axis_name)
        before = jnp.where(first, jnp.zeros_like(before), before)
        after = jnp.where(last, jnp.zeros_like(after), after)
    values = jnp.concatenate([before, values, after], -2)
    if lattice.periodic[0] or lattice.sheared:  # An open edge of sheared rows is cut bond by bond.
        return jnp.concatenate([values[..., -1:], values, values[..., :1]], -1)
    edge = jnp.zeros_like(values[..., :1])
    return jnp.concatenate([edge, values, edge], -1)


def look(surrounded: jax.Array, bond: Bond, lattice: Lattice) -> jax.Array:
    """The values at the other end of a bond.

    Args:
        surrounded: ``[..., colors, depth (+ 2), rows + 2, cells + 2]``, see `surround`.
        bond: a bond of `Lattice.bonds`.
        lattice: the lattice.

    Returns:
        ``[..., depth, rows, cells]``, at the sites where the bond starts.
    """
    depth, rows, cells = (
        slice(1 + shift, extent - 1 + shift)
        for shift, extent in zip(bond.offset, surrounded.shape[-3:], strict=True)
    )
    if lattice.layers == 1:
        depth = slice(None)
    return surrounded[..., bond.color, depth, rows, cells]


def exists(
    color: int, bond: Bond, lattice: Lattice, axis_name: str | None, num_rows: int
) -> jax.Array | None:
    """Which bonds an open edge along a1 leaves in sheared rows.

    Returns:
        Booleans ``[depth, num_rows, cells]``, or None where no bond is cut.
    """
    if lattice.periodic[0] or not lattice.sheared or not bond.steps:
        return None
    there = lattice.indices[0, color] + bond.steps
    kept = jnp.asarray((there >= 0) & (there < lattice.size[0]))
    if axis_name is None:
        return kept
    start = jax.lax.axis_index(axis_name) * num_rows
    return jax.lax.dynamic_slice_in_dim(kept, start, num_rows, axis=1)


def _edge_rows(values: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """The row before the first one and that after the last one, around the ring of devices."""
    before, after = values[..., -1:, :], values[..., :1, :]
    if axis_name is None:
        return before, after
    num = jax.lax.axis_size(axis_name)
    forward = [(device, (device + 1) % num) for device in range(num)]
    backward = [(device, (device - 1) % num) for device in range(num)]
    return (
        jax.lax.ppermute(before, axis_name, forward),
        jax.lax.ppermute(after, axis_name, backward),
    )


def _is_edge(axis_name: str | None) -> tuple[jax.Array | bool, jax.Array | bool]:
    """Whether this device has the first, and the last rows of the lattice."""
    if axis_name is None:
        return True, True
    place = jax.lax.axis_index(axis_name)
    return place == 0, place == jax.lax.axis_size(axis_name) - 1
