"""Learners on a named axis: one per-learner function under `vmap`, `shard_map` or `pmap`.

A learner is one data-parallel replica, and all n of them run the same program.  Outside, every
array of parameters, optimizer state and batch carries a leading axis of learners; inside, the
function sees its own slice and talks to the others through collectives over the axis name.  Three
engines run it:

    vmap        simulates n learners exactly on one device: the default for science and tests
    shard_map   puts learner i on device i, also across processes under ``jax.distributed``
    pmap        the same through the older interface
    auto        shard_map where there are as many devices as learners, and more than one; else vmap

The engines agree on gradients too.  Under ``jax.shard_map`` with its default type checks, the
gradient with respect to parameters that all devices share is silently their *sum*; here each
learner differentiates its own loss, under every engine, whatever the function closes over.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from . import processes

Engine = Literal["auto", "vmap", "shard_map", "pmap"]


def spread(
    function: Callable[..., Any],
    num_learners: int,
    *,
    engine: Engine = "vmap",
    axis_name: str = "learner",
    devices: Sequence[Any] | None = None,
    donate_argnums: int | Sequence[int] = (),
) -> jax.stages.Wrapped:
    """Runs a per-learner function for all learners at once.

    Args:
        function: takes and returns pytrees of one learner's arrays; collectives inside it use
            `axis_name`.
        num_learners: number of learners n >= 1.
        engine: "vmap" for n learners on one device, "shard_map" or "pmap" for one device each,
            "auto" for whichever of the first two the devices allow.
        axis_name: the name of the axis of learners inside `function`.
        devices: JAX devices of the learners, in their order; the default is the first n of
            ``jax.devices()``, none for "vmap".
        donate_argnums: positions of arguments whose buffers the results may reuse.

    Returns:
        The jitted function, over arguments and results with a leading axis [num_learners, ...] on
        every leaf.

    Raises:
        ValueError: if the engine is unknown, there are fewer devices than learners, or `devices`
            came with "vmap"; when called, if a leaf has no leading axis of size `num_learners`.

    Example:
        >>> shift = lambda x: jax.lax.ppermute(x, "learner", [(0, 1), (1, 2), (2, 0)])
        >>> spread(shift, 3)(jnp.arange(3)).tolist()
        [2, 0, 1]
    """
    engine = _choose_engine(num_learners, engine, devices)
    if engine == "vmap":
        mapped = jax.vmap(function, axis_name=axis_name, axis_size=num_learners)
    elif engine == "shard_map":
        placement = learner_sharding(num_learners, axis_name=axis_name, devices=devices)
        mapped = jax.shard_map(
            _on_slices(function),
            mesh=placement.mesh,
            in_specs=placement.spec,
            out_specs=placement.spec,
            check_vma=False,  # The checks sum the gradients of shared values, see above.
        )
    else:
        mapped = jax.pmap(
            function,
            axis_name=axis_name,
            axis_size=num_learners,
            devices=_first_devices(num_learners, devices),
        )

    @functools.wraps(function)
    def run(*arguments):
        _check_leading_axis(arguments, num_learners)
        return mapped(*arguments)

    return jax.jit(run, donate_argnums=donate_argnums)


def place(
    tree: Any,
    num_learners: int,
    *,
    engine: Engine = "vmap",
    axis_name: str = "learner",
    devices: Sequence[Any] | None = None,
) -> Any:
    """Puts arrays where `spread` with the same options leaves its results.

    A state that starts anywhere else makes the first call of a step over devices a program of its
    own, so that the step is compiled twice.

    Args:
        tree: pytree of arrays [num_learners, ...]; with several processes the same in all of them,
            each of which sends what its own devices keep.
        num_learners: number of learners n >= 1.
        engine: see `spread`; only "shard_map", or "auto" where it means that, moves anything.
        axis_name: see `spread`.
        devices: see `spread`.

    Returns:
        The pytree.

    Raises:
        ValueError: see `spread`.

    Example:
        >>> state = place(training.init_state(params, optimizer, key, num_learners=8), 8,
        ...               engine="auto")
    """
    if _choose_engine(num_learners, engine, devices) != "shard_map":
        return tree
    sharding = learner_sharding(num_learners, axis_name=axis_name, devices=devices)
    return jax.tree.map(lambda leaf: processes.put(leaf, sharding), tree)


def learner_sharding(
    num_learners: int,
    *,
    axis_name: str = "learner",
    devices: Sequence[Any] | None = None,
) -> jax.sharding.NamedSharding:
    """Where the engine "shard_map" keeps arrays with a leading axis of learners.

    Data put there beforehand need not move when the function is called; under ``jax.distributed``,
    where no process holds all learners, arguments must be built with this sharding.

    Args:
        num_learners: number of learners n >= 1.
        axis_name: the name of the mesh axis.
        devices: JAX devices of the learners, in their order; the default is the first n of
            ``jax.devices()``.

    Returns:
        A sharding of the leading axis that puts learner i on device i.

    Raises:
        ValueError: if there are fewer devices than learners.
    """
    mesh = jax.sharding.Mesh(
        np.asarray(_first_devices(num_learners, devices)),
        (axis_name,),
        axis_types=(jax.sharding.AxisType.Auto,),
    )
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(axis_name))


def replicate(tree: Any, num_learners: int) -> Any:
    """Gives every learner the same values: the start that decentralized training needs.

    Args:
        tree: pytree of arrays.
        num_learners: number of learners n >= 1.

    Returns:
        The pytree with a leading axis [num_learners, ...] on every leaf.
    """
    return jax.tree.map(lambda x: jnp.stack([x] * num_learners), tree)


def average(params: Any) -> Any:
    """The mean over the learners, which is the model to evaluate.

    Statistics of batch normalization are averaged in the same way, just before the evaluation.  The
    mean of the learners' variances leaves out the variance between their means; where learners see
    different data, estimate the statistics anew, by a pass over data with the averaged weights.

    Args:
        params: pytree of floating-point arrays [num_learners, ...].

    Returns:
        The pytree without the leading axis; sums run in float32 or better, dtypes are kept.  With
        several processes all of them must call this, and each receives all of it.

    Raises:
        TypeError: if a leaf is not of a floating-point type.
    """

    def mean(x):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            raise TypeError(
                f"`params` must hold floating-point arrays, got {x.dtype}{list(x.shape)}; "
                "take counters from one learner instead, x[0]."
            )
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.mean(x, axis=0, dtype=wide).astype(x.dtype)

    means = functools.partial(jax.tree.map, mean)
    spread = [x for x in jax.tree.leaves(params) if _is_on_devices(x)]
    if not spread:
        return means(params)
    if spread[0].is_fully_addressable:
        # By way of the host: means over devices, one by one, can starve the threads of a CPU.
        return means(jax.device_get(params))
    everywhere = jax.sharding.NamedSharding(spread[0].sharding.mesh, jax.sharding.PartitionSpec())
    return jax.device_get(jax.jit(means, out_shardings=everywhere)(params))


def _is_on_devices(leaf: Any) -> bool:
    """Whether an array lies on more than one device."""
    is_array = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    return is_array and len(leaf.sharding.device_set) > 1


def _on_slices(function: Callable[..., Any]) -> Callable[..., Any]:
    """Strips the leading axis, of size one on each device, and restores it on results."""

    def call(*arguments):
        arguments = jax.tree.map(lambda x: jax.lax.squeeze(x, [0]), arguments)
        return jax.tree.map(lambda x: jnp.expand_dims(x, 0), function(*arguments))

    return call


def _first_devices(num_learners: int, devices: Sequence[Any] | None) -> Sequence[Any]:
    available = jax.devices() if devices is None else devices
    if len(available) < num_learners:
        raise ValueError(
            f"`num_learners` must not exceed the number of devices, got {num_learners} learners on "
            f'{len(available)}; use engine="vmap", or on CPU call jax.config.update('
            f'"jax_num_cpu_devices", {num_learners}) before the first array exists.'
        )
    return list(available)[:num_learners]


def _choose_engine(
    num_learners: int, engine: Engine, devices: Sequence[Any] | None
) -> Literal["vmap", "shard_map", "pmap"]:
    """The engine that "auto" stands for, after a check of all options."""
    _check_options(num_learners, engine, devices)
    if engine != "auto":
        return engine
    count = len(jax.devices() if devices is None else devices)
    return "shard_map" if count >= num_learners > 1 else "vmap"


def _check_options(num_learners: int, engine: str, devices: Sequence[Any] | None) -> None:
    if num_learners < 1:
        raise ValueError(f"`num_learners` must be at least 1, got {num_learners}.")
    if engine not in get_args(Engine):
        raise ValueError(f'`engine` must be "auto", "vmap", "shard_map" or "pmap", got {engine!r}.')
    if engine == "vmap" and devices is not None:
        raise ValueError(
            '`devices` must be None for engine="vmap", which runs where its arguments are; '
            "move those with jax.device_put."
        )


def _check_leading_axis(arguments: Any, num_learners: int) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(arguments):
        shape = jnp.shape(leaf)
        if shape[:1] != (num_learners,):
            raise ValueError(
                f"`arguments` must have a leading axis of {num_learners} learners on every leaf, "
                f"got shape {shape} at {jax.tree_util.keystr(path)}; use `replicate` for values "
                "that all learners share."
            )
