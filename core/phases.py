"""The steps of a changing topology, each compiled as a whole, so that their messages may overlap.

A topology that changes chooses the mixing of a step by ``jax.lax.switch``, and what stands in a
branch cannot overlap with what stands outside: messages leave when the gradient is done, in either
order.  Here the whole step is the branch, gradient included, and inside it the topology is static.
Every distinct mixing of the period costs a copy of the step in the program, and its compilation: 3
for `topology.one_peer_exponential` of 8 learners, but 16 for a bank of 16 random rings.
"""

from collections.abc import Callable
from typing import Any

import jax

from . import gossip, mixing
from .mixture import Topology


def unroll(
    build: Callable[[Topology], Callable[..., Any]],
    topology: Topology,
    axis_name: str = "learner",
) -> Callable[..., Any]:
    """The step of a changing topology as a choice between steps of static ones.

    Args:
        build: gives the step for a topology, ``step(state, *arguments)``; called once for each
            distinct mixing, with a topology of period 1.
        topology: who averages with whom.
        axis_name: the axis of learners.

    Returns:
        A step that does what ``build(topology)`` does.

    Raises:
        ValueError: when called, if there is not exactly one `gossip.MixState` in `state`.

    Example:
        >>> def build(graph):
        ...     return training.train_step(loss, gossip.dpsgd(inner, graph), axis_name="learner")
        >>> step = learners.spread(unroll(build, one_peer_exponential(8)), 8, engine="shard_map")
    """

    def build_static(static):
        return build(Topology(topology.num_learners, (static,)))

    def step(state, *arguments):
        return mixing.choose(build_static, topology, _count(state), axis_name)(state, *arguments)

    return step


def _count(state: Any) -> jax.Array:
    """The number of the mixing step, from wherever in the state it is."""

    def is_mix(node):
        return isinstance(node, gossip.MixState)

    found = [node.step for node in jax.tree.leaves(state, is_leaf=is_mix) if is_mix(node)]
    if len(found) != 1:
        raise ValueError(
            "`state` must hold the state of exactly one `gossip.mix`, which tells the step of the "
            f"topology, got {len(found)}; hold all changing topologies but one inside the step."
        )
    return found[0]
