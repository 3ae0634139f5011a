"""One mixing step on a named axis: what a learner's neighbors pull it to.

With the mixing matrix W = sum_k w_k P_k of a `Topology`, each permutation P_k is one message of
every learner, and

    (W - I) x = sum_k w_k (P_k x - x).

Every sum has one fixed order and every product is rounded before it is added, so in float32 and
float64 ``jax.vmap``, ``jax.shard_map`` and ``jax.pmap`` agree bit for bit.  The links of an optax
chain that exchange anything, see `gossip`, are built on these functions.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .mixture import Exchange, Topology


def pull(
    tree: Any, topology: Topology, step: jax.Array, axis_name: str, *, together: bool = False
) -> Any:
    """What one mixing step adds to each learner's arrays: (W - I) x.

    Learners that agree get exact zeros, and what one neighbor gains the other loses.  Sums run in
    the order of the topology's exchanges.  Learners exchange the dtype of `tree`, one array for
    each exchange with others; a uniform W gathers all arrays instead, which fixes the order of its
    sum but moves n / 2 times the bytes of an all-reduce.

    Args:
        tree: pytree of one learner's arrays x.
        topology: who averages with whom, on as many learners as the axis has positions.
        step: [] int32, the same for all learners; selects the matrix W.
        axis_name: the axis of learners.
        together: whether all arrays are ready at once, so that they may travel as one message, see
            `map_packed`; by default each leaves when it is ready.  The result is the same.

    Returns:
        The pytree (W - I) x, in float32 or better.
    """

    def branch(mixing):
        if _is_uniform(mixing, topology.num_learners):
            move = functools.partial(_pull_to_mean, axis_name=axis_name)
            return functools.partial(jax.tree.map, move)
        move = functools.partial(_pull_to_neighbors, exchanges=mixing, axis_name=axis_name)
        if together and have_devices(axis_name):
            return functools.partial(map_packed, move)
        return functools.partial(jax.tree.map, move)

    return choose(branch, topology, step, axis_name)(tree)


def choose(
    build: Callable[[tuple[Exchange, ...]], Callable[..., Any]],
    topology: Topology,
    step: jax.Array,
    axis_name: str,
) -> Callable[..., Any]:
    """The function of a step's mixing: one branch for each distinct mixing of the period.

    Args:
        build: gives the function of a mixing; all of them take and return the same types.
        topology: who averages with whom.
        step: [] int32, the same for all learners.
        axis_name: the axis of learners.

    Returns:
        A function of what `build` gives functions of.
    """
    distinct = list(dict.fromkeys(topology.mixings))  # Compiled once each, however often they come.
    branches = [build(mixing) for mixing in distinct]
    if len(branches) == 1:
        return branches[0]
    order = np.array([distinct.index(mixing) for mixing in topology.mixings], np.int32)
    index = jnp.asarray(order)[share_step(step, axis_name) % topology.period]
    return functools.partial(jax.lax.switch, index, branches)


def share_step(step: jax.Array, axis_name: str) -> jax.Array:
    """The step counter, known to be the same for all learners.

    All learners count the same steps.  Taking their maximum tells so to ``jax.vmap``, which
    otherwise computes every branch of a choice by step for every learner.
    """
    return jax.lax.pmax(step, axis_name)


def rounded(x: jax.Array) -> jax.Array:
    """The value x, rounded to its dtype.

    XLA may contract a product and a following sum to one operation with a single rounding; whether
    it does depends on its fusions, which differ between engines.  A selection keeps the two apart.
    """
    return jnp.where(jnp.isnan(x), jnp.nan, x)


def have_devices(axis_name: str) -> bool:
    """Whether each learner has a device of its own, and all of its arrays on that one.

    Simulated learners, of ``jax.vmap``, have not.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return axis_name in mesh.manual_axes and set(mesh.manual_axes) == set(mesh.axis_names)


def map_packed(move: Callable[[jax.Array], jax.Array], tree: Any) -> Any:
    """``jax.tree.map`` of an elementwise function over vectors, one for all arrays of a dtype.

    A message has a latency, and compilers let only a few be on their way at a time, XLA for TPU
    five: sent one by one, most arrays of a model would leave when the gradient is done.  Simulated
    learners send nothing, and for them packing would be a copy.

    Args:
        move: function of a vector; what it gives may have further axes before that of the vector.
        tree: pytree of arrays.

    Returns:
        The same pytree, arrays with the further axes first.
    """
    leaves, structure = jax.tree.flatten(tree)
    moved = list(leaves)
    for dtype in dict.fromkeys(leaf.dtype for leaf in leaves):
        group = [i for i, leaf in enumerate(leaves) if leaf.dtype == dtype]
        vector = move(jnp.concatenate([leaves[i].ravel() for i in group]))
        ends = np.cumsum([leaves[i].size for i in group])
        for i, part in zip(group, jnp.split(vector, ends[:-1], axis=-1), strict=True):
            moved[i] = part.reshape(*part.shape[:-1], *leaves[i].shape)
    return structure.unflatten(moved)


def check_learners(params: Any, num_learners: int, axis_name: str) -> None:
    """Refuses parameters that are no learner's own, and an axis of the wrong size.

    Under ``jax.shard_map`` with its type checks, ``check_vma=True``, the gradient with respect to
    parameters that all devices share is silently the sum over the devices.  The types that these
    checks keep tell which arrays are shared; without the checks gradients are local, there is
    nothing to see, and nothing is refused.

    Args:
        params: pytree of one learner's parameters.
        num_learners: the size that the axis must have.
        axis_name: the axis of learners.

    Raises:
        ValueError: if the axis has another size, or a leaf is shared by the learners.
    """
    axis_size = jax.lax.axis_size(axis_name)
    if axis_size != num_learners:
        raise ValueError(
            f"`topology` must have one learner for each position on the axis {axis_name!r}: got "
            f"{num_learners} learners on an axis of size {axis_size}; build the topology for "
            f"{axis_size} learners."
        )
    check_own(params, axis_name)


def check_own(params: Any, axis_name: str) -> None:
    """Refuses parameters that the learners share, see `check_learners`.

    Args:
        params: pytree of one learner's parameters, or of their gradients.
        axis_name: the axis of learners.

    Raises:
        ValueError: if a leaf is shared by the learners.
    """
    if not _varies(jax.lax.axis_index(axis_name), axis_name):
        return  # Not even the position varies, hence types are not checked.
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not _varies(leaf, axis_name):
            raise ValueError(
                f"`params` must be each learner's own, got an array at "
                f"{jax.tree_util.keystr(path) or 'the root'} that all positions on the axis "
                f"{axis_name!r} share; its gradient under jax.shard_map with check_vma=True is the "
                "sum over the learners. Give parameters a leading axis of learners, or take "
                f'gradients at jax.lax.pcast(params, "{axis_name}", to="varying"), or use '
                "`learners.spread`."
            )


def _varies(x: Any, axis_name: str) -> bool:
    return axis_name in jax.typeof(x).manual_axis_type.varying


def _is_uniform(mixing: tuple[Exchange, ...], num_learners: int) -> bool:
    matrix = Topology(num_learners, (mixing,)).matrix()
    return np.allclose(matrix, 1.0 / num_learners, rtol=1e-12)


def _pull_to_neighbors(x: jax.Array, exchanges: tuple[Exchange, ...], axis_name: str) -> jax.Array:
    """sum_k w_k (x[sources_k] - x), the exchanges of equal weight summed first."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    terms = []
    for weight, group in itertools.groupby(exchanges, key=lambda exchange: exchange.weight):
        differences = [
            _receive(x, exchange.sources, axis_name).astype(wide) - x.astype(wide)
            for exchange in group
        ]
        terms.append(rounded(weight * functools.reduce(jnp.add, differences)))
    return functools.reduce(jnp.add, terms)


def _receive(x: jax.Array, sources: tuple[int, ...], axis_name: str) -> jax.Array:
    if sources == tuple(range(len(sources))):
        return x
    return jax.lax.ppermute(x, axis_name, [(source, i) for i, source in enumerate(sources)])


def _pull_to_mean(x: jax.Array, axis_name: str) -> jax.Array:
    """mean_j x_j - x_i, the mean summed in the order of the learners.

    An all-reduce sums in an order of the engine's choice.  This gathers instead: every learner
    sends its array n - 1 times and holds n of them, one leaf of the tree at a time.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    gathered = jax.lax.all_gather(x, axis_name)  # [num_learners, ...]
    first = gathered[0].astype(wide)
    # A loop: XLA would compute a sum of n terms anew for every learner that `vmap` simulates. It
    # starts from zeros that vary over the learners, as the type checks of `shard_map` ask.
    total, _ = jax.lax.scan(
        lambda total, other: (total + (other.astype(wide) - first), None), first - first, gathered
    )
    return first + rounded(total / len(gathered)) - x.astype(wide)
