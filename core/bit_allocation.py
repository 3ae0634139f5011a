"""How many bits each weight tensor deserves: sensitivities, and widths under a budget of memory.

Tensors differ in how much their rounding errors hurt. Measured one tensor at a time and taken to
add up, the losses give the problem

    minimize  sum_t cost_t(bits_t)      subject to  sum_t size_t bits_t <= budget,

which is solved by always widening the tensor whose loss falls most for each added bit:

    quantizers = weight_paths(policy, params)
    costs = candidate_errors(loss, params, quantizers)
    widths = allocate(costs, sizes, budget_bits=4.5 * sum(sizes.values()))
    policy = apply_allocation(policy, widths)

Learned clips are taken anew from the weights, by `Quantizer.init`, for each width.

References:
    Y. Shoham and A. Gersho, "Efficient Bit Allocation for an Arbitrary Set of Quantizers", 1988,
        IEEE Transactions on Acoustics, Speech, and Signal Processing 36(9).
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from .paths import join
from .quantization import Policy
from .quantizer import Quantizer
from .quantizers import SAWB_COEFFICIENTS, Sawb, max_abs

Loss = Callable[[Any], Any]  # params -> scalar
OnStep = Callable[[int, int], None]  # (losses evaluated, losses in all)
Mode = Literal["only", "all_but"]


class Sensitivity(NamedTuple):
    """What quantizing one tensor does."""

    path: str  # in the tree of parameters
    loss_change: float  # loss minus reference, see `sensitivity`
    relative_error: float  # ||x_hat - x||^2 / ||x||^2 when quantized; 0 for a tensor of zeros
    size: int  # number of elements


def sensitivity(
    loss: Loss,
    params: Any,
    quantizers: Mapping[str, Quantizer],
    *,
    mode: Mode = "only",
    on_step: OnStep | None = None,
) -> list[Sensitivity]:
    """Measures how the loss depends on the quantization of each tensor.

    Args:
        loss: ``loss(params) -> scalar``, such as a jitted mean over calibration batches; called
            once for each tensor and once for the reference.
        params: a tree of weights in float.
        quantizers: path -> quantizer, such as `quantization.weight_paths` gives.
        mode: "only" quantizes one tensor and compares with float: what the tensor costs. "all_but"
            quantizes all others and compares with all quantized: a negative change is what
            leaving the tensor in float gains.
        on_step: called after each loss with the number of losses so far and in all.

    Returns:
        One record for each tensor, in the order of `quantizers`.

    Raises:
        ValueError: if the mode is another, or a path is not in the tree.

    Example:
        >>> found = sensitivity(loss, params, weight_paths(policy, params))
        >>> worst = max(found, key=lambda tensor: tensor.loss_change).path
    """
    if mode not in get_args(Mode):
        raise ValueError(f"`mode` must be one of {get_args(Mode)}, got {mode!r}.")
    tensors = _tensors(params, quantizers)
    rounded = {path: _quantize(quantizers[path], x) for path, x in tensors.items()}
    reference, other = (tensors, rounded) if mode == "only" else (rounded, tensors)
    trials = [reference, *(reference | {path: other[path]} for path in tensors)]
    changes = _loss_changes(loss, params, trials, len(trials), on_step)
    return [
        Sensitivity(path, change, _relative_error(x, rounded[path]), x.size)
        for (path, x), change in zip(tensors.items(), changes, strict=True)
    ]


def candidate_errors(
    loss: Loss,
    params: Any,
    quantizers: Mapping[str, Quantizer],
    widths: Iterable[int] = (2, 3, 4, 5, 6, 8),
    *,
    on_step: OnStep | None = None,
) -> dict[str, dict[int, float]]:
    """Measures what each tensor costs at each width while the others are in float.

    Args:
        loss: see `sensitivity`; called once for each tensor and width, and once in float.
        params: a tree of weights in float.
        quantizers: path -> quantizer, remade for each width by `with_bits`.
        widths: the bits to try, 2 to 8.
        on_step: see `sensitivity`.

    Returns:
        path -> bits -> increase of the loss over that in float; over few batches, it may be
        negative and need not fall with the width.

    Raises:
        ValueError: if a path is not in the tree, or a width is out of range.
    """
    tensors = _tensors(params, quantizers)
    candidates = {
        (path, bits): with_bits(quantizers[path], bits) for bits in set(widths) for path in tensors
    }

    def trials():  # one at a time: all of them would be several copies of the model
        yield {}
        for (path, _), quantizer in candidates.items():
            yield {path: _quantize(quantizer, tensors[path])}

    changes = _loss_changes(loss, params, trials(), 1 + len(candidates), on_step)
    found = dict(zip(candidates, changes, strict=True))
    return {path: {bits: found[path, bits] for bits in sorted(set(widths))} for path in tensors}


def allocate(
    costs: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int], *, budget_bits: float
) -> dict[str, int]:
    """Chooses widths of small total cost that fit into a budget.

    From the narrowest widths on, the tensor and width are taken that lower the cost most for each
    added bit and still fit. Until one does not fit, such steps are edges of the lower convex hulls
    of (size * bits, cost): the result is optimal if the budget is what some number of them spends,
    and otherwise exceeds the least cost by no more than the fall along one edge. The same is done
    from each uniform width that fits, so that the best result is no worse than uniform widths.

    Args:
        costs: path -> bits -> increase of the loss, such as `candidate_errors` gives. A width that
            is no better than a narrower one is never taken, nor is one whose cost is not finite.
        sizes: path -> number of elements, for the same paths.
        budget_bits: the most that the codes of all tensors may take together; scales are apart.

    Returns:
        path -> bits.

    Raises:
        ValueError: if the budget is too small for the narrowest widths, if the paths of costs and
            sizes differ, or if a tensor has no finite cost.

    Example:
        >>> costs = {"a": {2: 1.0, 4: 0.1}, "b": {2: 0.3, 4: 0.2}}
        >>> allocate(costs, {"a": 10, "b": 10}, budget_bits=60)
        {'a': 4, 'b': 2}
    """
    if costs.keys() != sizes.keys():
        different = ", ".join(sorted(costs.keys() ^ sizes.keys()))
        raise ValueError(f"`sizes` must have the paths of `costs`, one of them lacks {different}.")
    useful = {path: _useful(path, losses) for path, losses in costs.items()}
    least = _total(sizes, {path: min(losses) for path, losses in useful.items()})
    if not least <= budget_bits:
        raise ValueError(
            f"`budget_bits` must be at least {least}, which the narrowest widths take, got "
            f"{budget_bits}; raise it or offer narrower widths."
        )
    starts = [
        {
            path: max((width for width in losses if width <= bits), default=min(losses))
            for path, losses in useful.items()
        }
        for bits in sorted({0}.union(*costs.values()))  # 0: the narrowest of each
    ]
    fitting = [start for start in starts if _total(sizes, start) <= budget_bits]
    results = [_widen(start, useful, sizes, budget_bits) for start in fitting]
    return min(results, key=lambda widths: sum(useful[path][widths[path]] for path in useful))


def apply_allocation(policy: Policy, allocation: Mapping[str, int]) -> Policy:
    """A policy in which some tensors have widths of their own.

    Args:
        policy: what quantizes the tensors so far.
        allocation: path -> bits, such as `allocate` gives.

    Returns:
        The policy with a rule for each of these paths, by `with_bits`, before its other rules.

    Raises:
        ValueError: if the policy leaves one of the tensors in float.
    """
    rules = []
    for path, bits in allocation.items():
        quantizer = policy.weight(path)
        if quantizer is None:
            raise ValueError(f"`policy` must quantize what `allocation` names, but not {path!r}.")
        rules.append((re.escape(path), with_bits(quantizer, bits)))
    return dataclasses.replace(policy, weights=(*rules, *policy.weights))


def with_bits(quantizer: Quantizer, bits: int) -> Quantizer:
    """The same quantizer at another width; `max_abs` for SAWB at 7 and 8 bits, which it lacks."""
    if isinstance(quantizer, Sawb) and bits > max(SAWB_COEFFICIENTS):
        return max_abs(bits, quantizer.blocks)
    return dataclasses.replace(quantizer, bits=bits)


def _widen(widths, useful, sizes, budget_bits) -> dict[str, int]:
    """Takes the steepest step that fits until none does."""
    widths = dict(widths)
    while True:
        spare = budget_bits - _total(sizes, widths)
        steps = [
            ((losses[widths[path]] - losses[bits]) / added, -added, path, bits)
            for path, losses in useful.items()
            for bits in losses
            if 0 < (added := sizes[path] * (bits - widths[path])) <= spare
        ]
        if not steps:
            return widths
        *_, path, bits = max(steps)
        widths[path] = bits


def _useful(path: str, losses: Mapping[int, float]) -> dict[int, float]:
    """The widths whose cost is finite and less than that of every narrower one."""
    useful: dict[int, float] = {}
    for bits in sorted(losses):
        if -math.inf < losses[bits] < min(useful.values(), default=math.inf):
            useful[bits] = losses[bits]
    if not useful:
        raise ValueError(f"`costs` must have a finite cost for {path!r}, got {dict(losses)}.")
    return useful


def _total(sizes: Mapping[str, int], widths: Mapping[str, int]) -> int:
    return sum(sizes[path] * bits for path, bits in widths.items())


def _loss_changes(loss: Loss, params, trials, total, on_step: OnStep | None) -> list[float]:
    """The loss with each replacement of tensors, path -> tensor, minus that with the first."""
    losses = []
    for replacements in trials:
        tree = jax.tree.map_with_path(
            lambda path, leaf, new=replacements: new.get(join(path), leaf), params
        )
        losses.append(float(loss(tree)))
        if on_step is not None:
            on_step(len(losses), total)
    return [value - losses[0] for value in losses[1:]]


def _tensors(params: Any, paths: Iterable[str]) -> dict[str, jax.Array]:
    leaves = {join(path): leaf for path, leaf in jax.tree.leaves_with_path(params)}
    for path in paths:
        if path not in leaves:
            known = ", ".join(list(leaves)[:20])
            raise ValueError(f"`quantizers` must have paths of `params` ({known}), got {path!r}.")
    return {path: leaves[path] for path in paths}


def _quantize(quantizer: Quantizer, x: jax.Array) -> jax.Array:
    return quantizer.apply(quantizer.init(x), x)


def _relative_error(x: jax.Array, rounded: jax.Array) -> float:
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    norm = jnp.sum(jnp.square(x))
    return float(jnp.sum(jnp.square(rounded - x)) / jnp.maximum(norm, jnp.finfo(x.dtype).tiny))
