"""The processes of one program on several hosts: how they meet, who writes, what they agree on.

Under ``jax.distributed`` every process runs the same program on its own part of one set of devices.
All of them see one run folder, in which the first one writes.  In a program of one process all that
is here costs nothing.
"""

import socket
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

DETECTED = ("slurm", "ompi", "mpi4py", "k8s", "auto")
SHUTDOWN_SECONDS = 30  # that a process which failed waits for the others, which then fail too


def join(cluster: str) -> None:
    """Meets the other processes of this program; call it before anything else touches JAX.

    Args:
        cluster: who launched them, one of `DETECTED` ("auto" for whoever JAX finds, TPU pods
            among them), or "HOST:PORT,NUMBER,INDEX": the address of the first process, how many
            there are, and which one this is, from 0.

    Raises:
        ValueError: if `cluster` is none of these, or the launcher cannot be found.

    Example:
        >>> join("localhost:12345,2,0")
    """
    if cluster in DETECTED:
        try:
            jax.distributed.initialize(
                cluster_detection_method=None if cluster == "auto" else cluster,
                shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            )
        except (ValueError, RuntimeError, KeyError, ImportError) as error:
            why = f"{error.args[0]} is not set" if isinstance(error, KeyError) else error
            raise ValueError(
                f"`cluster` {cluster}: this process was not launched by it ({why}); name another "
                f"of {', '.join(DETECTED)}, or HOST:PORT,NUMBER,INDEX."
            ) from error
        return
    address, *places = cluster.split(",")
    if ":" not in address or len(places) != 2 or not all(place.isdecimal() for place in places):
        raise ValueError(
            f"`cluster` must be one of {', '.join(DETECTED)}, or HOST:PORT,NUMBER,INDEX such as "
            f"localhost:12345,2,0, got {cluster!r}."
        )
    number, index = map(int, places)
    if index >= number:
        raise ValueError(
            f"`cluster` must number its {number} processes from 0 to {number - 1}, got {index}."
        )
    host = address.rpartition(":")[0]
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except OSError as error:
        raise ValueError(
            f"`cluster` must start with the address of the first process, got {address!r}: "
            f"{error.strerror}."
        ) from error
    print(f"process {index} of {number} waits for the others at {address}", file=sys.stderr)
    jax.distributed.initialize(
        address,
        number,
        index,
        cluster_detection_method="deactivate",
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
    )


def are_several() -> bool:
    """Whether the program has more than one process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes files and talks."""
    return jax.process_index() == 0


def wait(reason: str) -> None:
    """Waits until all processes are here; all of them must come, with the same reason."""
    if are_several():
        multihost_utils.sync_global_devices(reason)


def largest(value: int) -> int:
    """The largest of the processes' values, to all of them; all must call it."""
    if not are_several():
        return value
    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def gather(leaf: Any) -> np.ndarray:
    """An array, whoever holds it, on the host of every process; all must call it."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    return np.asarray(leaf)


def local(leaf: Any) -> Any:
    """What this process holds of an array that several hold; anything else as it is."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return leaf.addressable_shards[0].data
    return leaf


def put(leaf: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """Puts an array on devices, also where these belong to several processes.

    Args:
        leaf: an array or a typed random key, the same in all processes, each of which sends what
            its own devices keep; or an array that lies there already.
        sharding: where to.

    Returns:
        The array there.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return leaf
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        data = put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def check_learners(number: int, engine: str) -> None:
    """Refuses learners that are not one for each device of all processes.

    Args:
        number: of learners.
        engine: see `learners.spread`.

    Raises:
        ValueError: if there are several processes and other learners.
    """
    devices = jax.device_count()
    if are_several() and (engine not in ("auto", "shard_map") or number != devices):
        raise ValueError(
            f"the {jax.process_count()} processes have {devices} devices in all, each of which "
            f"carries one learner, got {number} learners and the engine {engine}; add `--learners "
            f"{devices} --engine auto`, or on CPUs set JAX_NUM_CPU_DEVICES for each process."
        )
