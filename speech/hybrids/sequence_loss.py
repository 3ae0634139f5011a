"""Lattice-free MMI: the aligned path against all that could have been said.

    L = (log sum_paths P(path) prod_t p(x_t | s_t)^k - k sum_t log p(x_t | s*_t)) / T,

with the paths of a `PhoneGraph` that may end anywhere, the path s* of an alignment, and an acoustic
scale k.  Its gradient is k times what the graph expects at each frame less what is aligned there.
The sum runs over products that are made to sum to one at every frame, not over logarithms.

References:
    D. Povey et al., "Purely sequence-trained neural networks for ASR based on lattice-free MMI",
        Interspeech 2016.
"""

import jax
import jax.numpy as jnp

from .alignment import STAY
from .frame_batches import NO_TARGET
from .phone_graph import PhoneGraph


def log_total(graph: PhoneGraph, scores: jax.Array, valid: jax.Array) -> jax.Array:
    """Logarithm of the sum over all paths, which may end in any state.

    Args:
        graph: its arcs.
        scores: ``[batch, frames, pdfs]`` log likelihoods.
        valid: ``[batch, frames]`` bool; a path skips the other frames.

    Returns:
        ``[batch]``; a recording without a valid frame has 0.
    """
    frames = jnp.moveaxis(scores, 0, 2)  # [frames, pdfs, batch]: states gather whole rows
    number = len(graph.pdfs)
    weights = jnp.asarray(graph.weights)[:, None]

    @jax.checkpoint
    def step(carry, frame):
        before, total, begun = carry  # [states, batch], [1, batch], [1, batch]
        score, is_valid = frame
        arriving = jax.ops.segment_sum(
            before[graph.sources] * weights, graph.targets, number, indices_are_sorted=True
        )
        moved = jnp.where(begun, STAY * before + arriving, before)
        highest = jax.lax.stop_gradient(jnp.max(score, axis=0, keepdims=True))
        now = moved * jnp.exp(score - highest)[graph.pdfs]
        sums = jnp.maximum(jnp.sum(now, axis=0, keepdims=True), 1e-30)
        total = jnp.where(is_valid, total + jnp.log(sums) + highest, total)
        return (jnp.where(is_valid, now / sums, before), total, begun | is_valid), None

    first = jnp.broadcast_to(jnp.asarray(graph.first)[:, None], (number, len(scores)))
    start = (first, jnp.zeros((1, len(scores))), jnp.zeros((1, len(scores)), bool))
    (_, total, _), _ = jax.lax.scan(step, start, (frames, valid.T[:, None]))
    return total[0]


def mmi_loss(
    graph: PhoneGraph, log_likelihoods: jax.Array, targets: jax.Array, *, scale: float
) -> jax.Array:
    """Lattice-free MMI of a batch, a mean over frames.

    Args:
        graph: what could have been said.
        log_likelihoods: ``[batch, frames, pdfs]``, up to a constant for each frame, such as logits
            less log priors.
        targets: ``[batch, frames]`` aligned tied states, `NO_TARGET` where there is none.
        scale: what log likelihoods count beside the probabilities of the graph.
    """
    valid = targets != NO_TARGET
    scores = scale * log_likelihoods
    aligned = jnp.take_along_axis(scores, jnp.maximum(targets, 0)[..., None], axis=2)[..., 0]
    ours = jnp.sum(aligned, axis=1, where=valid)
    return jnp.sum(log_total(graph, scores, valid) - ours) / jnp.maximum(jnp.sum(valid), 1)
