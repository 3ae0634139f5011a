"""Sparse mean gradients: ScaleCom, and the selections it is measured against.

Learner i wants to send k = p / rate of the p elements of u_i.  If each sends its own largest ones,
the union that all must receive grows with the number of learners.  ScaleCom lets one learner, the
leader of the step, choose for all: they send the same indices, which one all-reduce sums, and the
bytes do not depend on the number of learners.  The leader changes in turn.

    clt_k           cyclic local top-k, the indices of the leader: ScaleCom    constant in n
    random_k        random indices from a seed that all share                  constant in n
    gtop_k          their own, merged pair by pair to k again                  grows as log n
    local_top_k     their own, gathered by all                                 grows as n
    global_top_k    those of the mean of u, an oracle                          a dense mean

All are compressors for `error_feedback.error_feedback`; `scalecom` is the link for an optax chain.
Arrays are compressed one by one, and what they send is joined into one message.  To choose from the
whole gradient as one vector, wrap the link: ``optax.flatten(scalecom(...))``.

References:
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
    S. Shi et al., "A Distributed Synchronous SGD Algorithm with Global Top-k Sparsification for Low
        Bandwidth Networks", 2019, arXiv:1901.04359 (gTop-k).
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from . import mixing, selection
from .error_feedback import (
    Compressor,
    Rate,
    Reduced,
    all_reduce_bytes,
    error_feedback,
)
from .selection import CHUNKWISE, SORTED, Selection

VALUE_BYTES = 4  # of the float32 sums that are sent


def scalecom(
    rate: Rate,
    beta: float = 1.0,
    axis_name: str | None = "learner",
    *,
    warmup_steps: int = 0,
    dense: Any = None,
    selection: Selection = CHUNKWISE,
) -> optax.GradientTransformationExtraArgs:
    """ScaleCom as the first link of an optax chain: sparse mean gradients at constant traffic.

    At step t learner t mod n leads.  All send their u = residual + gradient at the leader's indices
    and go on from the residual (1 - beta) residual + beta (u - sent).  Begin with dense steps, a
    tenth of training or less, leave first layers dense, and lower `beta` to 0.1 where the learning
    rate is scaled up for large batches.

    As the last link it sends each learner's own updates instead.  Adam needs that: it divides by
    the size of what it sees, so that what arrives rarely moves the weights too little.

    Args:
        rate: elements for each element sent, 65 to 400 in the paper; a number, a tree of them for
            the layers, see `layer_rates`, or a function from the parameters to the tree.
        beta: filter of the residual, in (0, 1]; 1 is classic error feedback.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        warmup_steps: number of first steps that are dense.
        dense: which arrays are not compressed, see `error_feedback.error_feedback`.
        selection: how the leader chooses, see `clt_k`.

    Returns:
        A transform of local gradients; its output is the same on all learners.

    Raises:
        ValueError: as `error_feedback.error_feedback`.

    Example:
        >>> optimizer = optax.chain(scalecom(100, beta=0.1), optax.sgd(0.1, momentum=0.9))
        >>> optimizer = optax.chain(optax.adam(1e-3), scalecom(100, beta=0.1))

    References:
        C.-Y. Chen et al., 2020, arXiv:2104.11125.
    """
    return error_feedback(
        clt_k(selection),
        rate,
        beta=beta,
        axis_name=axis_name,
        dense=dense,
        warmup_steps=warmup_steps,
    )


def layer_rates(operations: Any) -> Any:
    """Rates by layer, from how much a layer computes for each gradient that it sends.

    A layer that computes long for its gradients leaves time to send them and is compressed less: 25
    from 196 operations for each element of the gradient, 50 from 128, and 400 below.

    Args:
        operations: tree of numbers, one for each array: operations of a learner's minibatch in the
            layer, for each element of its gradient.

    Returns:
        A tree of rates, for `scalecom`.
    """

    def rate(ratio):
        return 25.0 if ratio >= 196 else 50.0 if ratio >= 128 else 400.0

    return jax.tree.map(rate, operations)


def clt_k(selection: Selection = CHUNKWISE) -> Compressor:
    """Cyclic local top-k: the leader's indices for all, see `scalecom`.

    Args:
        selection: the largest element of each chunk of `rate` elements, whose index takes one byte
            up to a rate of 256 and two beyond, or the largest of all, by a sort.

    Returns:
        A compressor.
    """

    def reduce(arrays, rates, memory, step, axis_name):
        leads = jax.lax.axis_index(axis_name) == step % jax.lax.axis_size(axis_name)
        names = mixing.map_packed(
            lambda x: jax.lax.psum(jnp.where(leads, x, jnp.zeros_like(x)), axis_name),
            _choose(selection, arrays, rates),
        )
        return _mean_at(_locate(selection, names, arrays, rates), arrays, memory, axis_name)

    def traffic(arrays, rates, num_learners):
        return all_reduce_bytes(_message_bytes(selection, arrays, rates), num_learners)

    return Compressor(_no_memory, reduce, traffic)


def local_top_k(selection: Selection = SORTED) -> Compressor:
    """Top-k of each learner, gathered by all: what is sent grows with the number of learners.

    Args:
        selection: how each learner chooses.

    Returns:
        A compressor.
    """

    def reduce(arrays, rates, memory, step, axis_name):
        del step
        names = _choose(selection, arrays, rates)
        found = _locate(selection, names, arrays, rates)
        values = _values(arrays, found)
        gather = functools.partial(jax.lax.all_gather, axis_name=axis_name)
        all_found = _locate(selection, mixing.map_packed(gather, names), arrays, rates)
        n = jax.lax.axis_size(axis_name)
        means = [
            _scatter(x, where.reshape(-1), value.reshape(-1)) / n
            for x, where, value in zip(
                arrays, all_found, mixing.map_packed(gather, values), strict=True
            )
        ]
        return Reduced(means, _without(arrays, found), memory)

    def traffic(arrays, rates, num_learners):
        return (num_learners - 1.0) * _message_bytes(selection, arrays, rates)

    return Compressor(_no_memory, reduce, traffic)


def global_top_k(selection: Selection = SORTED) -> Compressor:
    """Top-k of the mean over the learners: an oracle, since the dense mean must be known.

    Args:
        selection: how it is chosen.

    Returns:
        A compressor.
    """

    def reduce(arrays, rates, memory, step, axis_name):
        del step
        means = jax.lax.pmean(arrays, axis_name)
        found = _locate(selection, _choose(selection, means, rates), arrays, rates)
        kept = _scatter_all(arrays, found, _values(means, found))
        return Reduced(kept, _without(arrays, found), memory)

    def traffic(arrays, rates, num_learners):
        del rates
        return all_reduce_bytes(VALUE_BYTES * sum(x.size for x in arrays), num_learners)

    return Compressor(_no_memory, reduce, traffic)


def gtop_k() -> Compressor:
    """Top-k of each learner, added and cut to k again by pairs of learners, in log2(n) rounds.

    What a learner sent for an element that is not among the last k stays in its residual.  What is
    cut on the way, of an element that other learners bring to the end, is lost.

    Returns:
        A compressor, for a power of two of learners.
    """

    def reduce(arrays, rates, memory, step, axis_name):
        del step
        n = jax.lax.axis_size(axis_name)
        if n & (n - 1):
            raise ValueError(f"`gtop_k` needs a power of two of learners, got {n}.")
        mine = _choose(SORTED, arrays, rates)
        found, values = mine, _values(arrays, mine)
        for bit in range(n.bit_length() - 1):
            pairs = [(i, i ^ (1 << bit)) for i in range(n)]
            swap = functools.partial(jax.lax.ppermute, axis_name=axis_name, perm=pairs)
            theirs = zip(
                arrays, mixing.map_packed(swap, found), mixing.map_packed(swap, values), strict=True
            )
            sums = [
                _scatter(x, where, value) + _scatter(x, *other)
                for (x, *other), where, value in zip(theirs, found, values, strict=True)
            ]
            found = _choose(SORTED, sums, rates)
            values = _values(sums, found)
        # Of its own, a learner sent what is among the last k.
        last = _scatter_all(arrays, found, [jnp.ones(len(where), jnp.int8) for where in found])
        sent = [last.reshape(-1)[where] for last, where in zip(last, mine, strict=True)]
        rest = [
            x.reshape(-1).at[where].multiply(1 - sent).reshape(x.shape)
            for x, where, sent in zip(arrays, mine, sent, strict=True)
        ]
        return Reduced([x / n for x in _scatter_all(arrays, found, values)], rest, memory)

    def traffic(arrays, rates, num_learners):
        return math.log2(num_learners) * _message_bytes(SORTED, arrays, rates)

    return Compressor(_no_memory, reduce, traffic)


def random_k(seed: int = 0) -> Compressor:
    """A random element of each chunk of `rate` elements, the same on all learners.

    Args:
        seed: of the draws.

    Returns:
        A compressor; indices are not sent.
    """

    def reduce(arrays, rates, memory, step, axis_name):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), len(arrays))
        names = [
            selection.random_in_chunks(key, x.size, selection.to_chunk(rate))
            for key, x, rate in zip(keys, arrays, rates, strict=True)
        ]
        return _mean_at(_locate(CHUNKWISE, names, arrays, rates), arrays, memory, axis_name)

    def traffic(arrays, rates, num_learners):
        counts = [CHUNKWISE.count(x.size, r) for x, r in zip(arrays, rates, strict=True)]
        return all_reduce_bytes(VALUE_BYTES * sum(counts), num_learners)

    return Compressor(_no_memory, reduce, traffic)


def _no_memory(arrays: Any, rates: Any) -> tuple[()]:
    del arrays, rates
    return ()


def _choose(selection: Selection, arrays, rates) -> list[jax.Array]:
    return [selection.choose(x, rate) for x, rate in zip(arrays, rates, strict=True)]


def _locate(selection: Selection, names, arrays, rates) -> list[jax.Array]:
    return [
        selection.locate(name, x.size, rate)
        for name, x, rate in zip(names, arrays, rates, strict=True)
    ]


def _message_bytes(selection: Selection, arrays, rates) -> int:
    """Bytes of a learner's indices and values."""
    return sum(
        selection.count(x.size, rate) * (selection.index_bytes(rate) + VALUE_BYTES)
        for x, rate in zip(arrays, rates, strict=True)
    )


def _mean_at(found, arrays, memory, axis_name: str) -> Reduced:
    """The mean over the learners of elements at common positions."""
    values = _values(arrays, found)
    means = mixing.map_packed(lambda x: jax.lax.pmean(x, axis_name), values)
    return Reduced(_scatter_all(arrays, found, means), _without(arrays, found), memory)


def _values(arrays, found) -> list[jax.Array]:
    return [x.reshape(-1)[where] for x, where in zip(arrays, found, strict=True)]


def _without(arrays, found) -> list[jax.Array]:
    """Arrays with zeros at positions."""
    return [
        x.reshape(-1).at[where].set(0.0, unique_indices=True).reshape(x.shape)
        for x, where in zip(arrays, found, strict=True)
    ]


def _scatter_all(arrays, found, values) -> list[jax.Array]:
    return [_scatter(*each) for each in zip(arrays, found, values, strict=True)]


def _scatter(x: jax.Array, where: jax.Array, values: jax.Array) -> jax.Array:
    """Zeros of the shape of `x` with values added at positions."""
    return jnp.zeros(x.size, values.dtype).at[where].add(values).reshape(x.shape)
