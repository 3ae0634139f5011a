"""Local SGD: many local steps for one exchange, with or without an outer optimizer.

    every         a link of a chain, such as `gossip.mix`, acts on each H-th step only
    outer_step    on each H-th step an outer optimizer acts, on the way back as its gradient

With weights x_i, an anchor z_i, which is the weights after the last outer step, and the outer
optimizer's update v_i, an outer step is

    d_i = z_i - x_i,    z_i <- z_i + v_i(d_i),    x_i <- z_i.

With an outer `gossip.dpsgd` the learners agree on anchors by neighbor averages.  On the complete
graph with Nesterov momentum that is DiLoCo; on random pairs, in the spirit of NoLoCo.  The steps in
between communicate nothing: the exchange stands in one branch of a ``jax.lax.cond``.

References:
    S. U. Stich, "Local SGD Converges Fast and Communicates Little", 2018, arXiv:1805.09767.
    A. Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023,
        arXiv:2311.08105.
    J. Kolehmainen et al., "NoLoCo: No-all-reduce Low Communication Training Method for Large
        Models", 2025, arXiv:2506.10911.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import mixing
from .mixture import check_positive


class OuterState(NamedTuple):
    """State of `outer_step`."""

    step: jax.Array  # [] int32: number of inner steps so far
    inner: Any  # state of the inner optimizer
    outer: Any  # state of the outer optimizer
    anchor: Any  # z, tree, shapes and dtypes of the parameters


def every(
    link: optax.GradientTransformation, num_steps: int, *, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """Lets a link act on the steps H, 2 H, 3 H, ... and pass updates through in between.

    The state of the link rests meanwhile: a changing topology moves on once in H steps.

    Args:
        link: a transform that may use collectives over `axis_name`.
        num_steps: H >= 1; 1 is the link itself.
        axis_name: the axis of learners; None for a single learner.

    Returns:
        A transform, to stand where `link` would.

    Raises:
        ValueError: if `num_steps` is below 1.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1), every(mix(ring(8), order="atc"), 10))

    References:
        S. U. Stich, 2018, arXiv:1805.09767.
    """
    check_positive(num_steps, "num_steps")

    def acts(step, **extra_args):
        del extra_args
        return _is_due(jnp.asarray(step), num_steps, axis_name)

    return optax.conditionally_transform(link, acts)


def outer_step(
    inner: optax.GradientTransformation,
    outer: optax.GradientTransformation,
    num_steps: int,
    *,
    axis_name: str | None = "learner",
) -> optax.GradientTransformationExtraArgs:
    """Local steps of one optimizer, and on every H-th an outer step of another with gossip.

    Args:
        inner: the optimizer each learner runs on its own gradients; its state is never averaged.
        outer: the optimizer of the anchors, which has the exchange in it.  ``gossip.dpsgd(
            optax.sgd(1.0), topology, order="atc")`` averages the weights and does nothing else.
        num_steps: H >= 1, the number of inner steps for an outer one.
        axis_name: the axis of learners; None for a single learner.

    Returns:
        A transform whose ``update`` needs `params`.

    Raises:
        ValueError: if `num_steps` is below 1; in ``update``, if `params` is missing.

    Example:
        >>> nesterov = optax.sgd(0.7, momentum=0.9, nesterov=True)
        >>> outer = gossip.dpsgd(nesterov, complete(8), order="atc")
        >>> optimizer = outer_step(optax.adamw(1e-3), outer, num_steps=100)

    References:
        A. Douillard et al., 2023, arXiv:2311.08105.
    """
    check_positive(num_steps, "num_steps")
    inner, outer = optax.with_extra_args_support(inner), optax.with_extra_args_support(outer)

    def init(params):
        anchor = jax.tree.map(jnp.copy, params)
        zero = jnp.zeros([], jnp.int32)
        return OuterState(zero, inner.init(params), outer.init(params), anchor)

    def update(updates, state, params=None, **extra_args):
        if params is None:
            raise ValueError("`params` must be given to the update of `outer_step`.")
        updates, inner_state = inner.update(updates, state.inner, params, **extra_args)

        def synchronize():
            local = optax.apply_updates(params, updates)
            way_back = optax.tree.sub(state.anchor, local)
            moves, outer_state = outer.update(way_back, state.outer, state.anchor, **extra_args)
            anchor = optax.apply_updates(state.anchor, moves)
            jump = jax.tree.map(lambda z, x, u: (z - x).astype(u.dtype), anchor, params, updates)
            return jump, outer_state, anchor

        def go_on():
            return updates, state.outer, state.anchor

        is_due = _is_due(state.step, num_steps, axis_name)
        updates, outer_state, anchor = jax.lax.cond(is_due, synchronize, go_on)
        step = jnp.asarray(optax.safe_increment(state.step))
        return updates, OuterState(step, inner_state, outer_state, anchor)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_due(step: jax.Array, num_steps: int, axis_name: str | None) -> jax.Array:
    if axis_name is not None:
        step = mixing.share_step(step, axis_name)
    return step % num_steps == num_steps - 1
