"""How long a training step takes on a cluster: an analytic model of compute and communication.

A step computes, compresses, and communicates,

    compute         operations / (peak rate * utilization)
    compression     bytes read and written once more / memory bandwidth
    communication   messages * latency + bytes on the wire / link bandwidth

and communication of dense gradients may hide behind a part of the computation.  The bytes are those
of `error_feedback.traffic`: 2 (n - 1) / n of the payload for an all-reduce around a ring.  Error
feedback with a selection reads gradient and residual and writes residual and mean, 16 bytes for
each parameter: where the links are fast against the memory, compression does not pay, and
`break_even` tells from which bandwidth on.

A model, not a measurement: it leaves out contention, and gives what a kernel at full bandwidth
could reach.  The model of an accelerator, `latency` and `real_time_factor`, is told in
`accelerator`.
"""

import math
from typing import Literal, NamedTuple

from .accelerator import latency as latency
from .accelerator import real_time_factor as real_time_factor
from .error_feedback import all_reduce_bytes
from .selection import CHUNKWISE, SORTED
from .sparsification import VALUE_BYTES

Scheme = Literal["dense", "scalecom", "local_top_k"]
PASSES = 4  # over float32 arrays of the size of the gradient


class Cluster(NamedTuple):
    """Equal learners on equal links."""

    num_learners: int
    peak: float  # operations per second of a learner
    memory_bandwidth: float  # bytes per second of a learner
    link_bandwidth: float  # bytes per second that a learner sends while it receives as many
    latency: float = 0.0  # seconds of a message
    utilization: float = 1.0  # share of the peak that training reaches
    overlap: float = 0.0  # share of the computation that dense communication hides behind


class Workload(NamedTuple):
    """What a learner does in a step."""

    num_parameters: float
    operations: float  # for each sample, forward and backward
    minibatch: float  # samples for each learner
    gradient_bytes: float = 4.0  # of an element of a dense gradient on the wire


class StepTime(NamedTuple):
    """Seconds of one step."""

    compute: float
    compression: float
    communication: float  # what is not hidden

    @property
    def total(self) -> float:
        """All of the step."""
        return self.compute + self.compression + self.communication

    @property
    def communication_share(self) -> float:
        """Communication as a part of the step."""
        return self.communication / self.total


def step_time(
    cluster: Cluster, workload: Workload, scheme: Scheme = "dense", rate: float = 1.0
) -> StepTime:
    """The time of a training step.

    Args:
        cluster: the machines.
        workload: the model and its minibatch.
        scheme: "dense" all-reduce, "scalecom" (two all-reduces, of indices and values), or
            "local_top_k" (each learner's indices and values gathered by all).
        rate: elements for each element sent, above 1 unless dense.

    Returns:
        A `StepTime`.

    Raises:
        ValueError: if the scheme is unknown or a number is out of range.

    Example:
        >>> cluster = Cluster(8, peak=100e12, memory_bandwidth=200e9, link_bandwidth=32e9)
        >>> resnet50 = Workload(25.6e6, operations=24.6e9, minibatch=8)
        >>> step_time(cluster, resnet50).communication_share
    """
    _check(cluster, workload, rate)
    n = cluster.num_learners
    compute = workload.operations * workload.minibatch / (cluster.peak * cluster.utilization)
    count = workload.num_parameters / rate
    all_reduce_messages = 2 * (n - 1)
    if scheme == "dense":
        num_bytes = all_reduce_bytes(workload.gradient_bytes * workload.num_parameters, n)
        communication = _exchange(cluster, all_reduce_messages, num_bytes)
        hidden = cluster.overlap * compute
        return StepTime(compute, 0.0, max(communication - hidden, 0.0))
    compression = PASSES * 4 * workload.num_parameters / cluster.memory_bandwidth
    if scheme == "scalecom":
        num_bytes = all_reduce_bytes(count * (VALUE_BYTES + CHUNKWISE.index_bytes(rate)), n)
        messages = 2 * all_reduce_messages
    elif scheme == "local_top_k":
        num_bytes = (n - 1) * count * (VALUE_BYTES + SORTED.index_bytes(rate))
        messages = n - 1
    else:
        raise ValueError(f'`scheme` must be "dense", "scalecom" or "local_top_k", got {scheme!r}.')
    return StepTime(compute, compression, _exchange(cluster, messages, num_bytes))


def speedup(cluster: Cluster, workload: Workload, scheme: Scheme, rate: float) -> float:
    """How many times faster a step is than with dense gradients."""
    dense = step_time(cluster, workload).total
    return dense / step_time(cluster, workload, scheme, rate).total


def break_even(cluster: Cluster, workload: Workload, rate: float) -> float:
    """The link bandwidth from which on ScaleCom does not pay.

    Args:
        cluster: the machines; their own link bandwidth does not matter.
        workload: the model and its minibatch.
        rate: elements for each element sent.

    Returns:
        Bytes per second: below it ScaleCom's step is the shorter one.  Infinite if it is so at any
        bandwidth, which happens where there is nothing to communicate.
    """
    low, high = 1.0, 1e18

    def gain(bandwidth):
        return speedup(cluster._replace(link_bandwidth=bandwidth), workload, "scalecom", rate) - 1

    if gain(high) > 0:
        return math.inf
    if gain(low) < 0:
        return 0.0
    while high / low > 1 + 1e-9:  # The gain falls with the bandwidth.
        middle = math.sqrt(low * high)
        low, high = (middle, high) if gain(middle) > 0 else (low, middle)
    return low


def _exchange(cluster: Cluster, messages: int, num_bytes: float) -> float:
    return messages * cluster.latency + num_bytes / cluster.link_bandwidth


def _check(cluster: Cluster, workload: Workload, rate: float) -> None:
    if cluster.num_learners < 1:
        raise ValueError(f"`num_learners` must be at least 1, got {cluster.num_learners}.")
    if not 0 < cluster.utilization <= 1:
        raise ValueError(f"`utilization` must be above 0 and at most 1, got {cluster.utilization}.")
    if not 0 <= cluster.overlap <= 1:
        raise ValueError(f"`overlap` must be from 0 to 1, got {cluster.overlap}.")
    if cluster.latency < 0:
        raise ValueError(f"`latency` must be at least 0, got {cluster.latency}.")
    positive = {
        "peak": cluster.peak,
        "memory_bandwidth": cluster.memory_bandwidth,
        "link_bandwidth": cluster.link_bandwidth,
        "num_parameters": workload.num_parameters,
        "operations": workload.operations,
        "minibatch": workload.minibatch,
    }
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")
    if rate < 1:
        raise ValueError(f"`rate` must be at least 1, got {rate}.")
