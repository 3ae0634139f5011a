"""A lattice larger than one device: rows spread over a mesh, edges handed on by `ppermute`.

Random words depend on the number of a site alone, so that a spread lattice takes the same path as
the whole one, up to the last bits of sums.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..interactions.model import SpinModel
from .sampler import Info, Sampler, State

_SPECS: Any = [P(None, None, None, "rows", None), P()]
ROWS = State(*_SPECS)


def spread(make: Callable[..., Sampler], model: SpinModel, mesh: Mesh) -> Sampler:
    """A sampler whose rows live on the devices of a mesh.

    Args:
        make: `metropolis`, `heat_bath` or `over_relaxation`, or a function with the keyword
            `axis_name` that chains them.
        model: its rows must be a multiple of the devices.
        mesh: with one axis named "rows".

    Raises:
        ValueError: if the rows do not divide, or the mesh has no axis "rows".

    Example:
        >>> mesh = jax.make_mesh((8,), ("rows",))
        >>> sampler = spread(heat_bath, model, mesh)
    """
    if tuple(mesh.axis_names) != ("rows",):
        raise ValueError(f"`mesh` must have one axis, 'rows', got {mesh.axis_names}.")
    num = mesh.shape["rows"]
    if model.lattice.size[1] % num:
        raise ValueError(
            f"`size` along a2 must be a multiple of the {num} devices, got {model.lattice.size[1]}."
        )
    local = make(model, axis_name="rows")
    sharding = jax.tree.map(lambda each: NamedSharding(mesh, each), ROWS)

    def init(key: jax.Array, temperature, start: str = "random") -> State:
        return jax.device_put(local.init(key, temperature, start), sharding)

    whole: Any = P()
    step = jax.shard_map(
        lambda key, state: local.step(key, state),
        mesh=mesh,
        in_specs=(P(), ROWS),
        out_specs=(ROWS, Info(whole)),
    )
    return Sampler(init, step, model, local.ergodic)
