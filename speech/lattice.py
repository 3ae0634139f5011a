"""The alignment lattice of a transducer: its likelihood and the posterior probability of each arc.

Node (t, u) has read t frames and written u labels.  A blank leads from (t, u) to (t + 1, u), a
label to (t, u + 1), and an alignment is a path from (0, 0) to (T, U).  With the log-probabilities
b(t, u) and l(t, u) of the two arcs that leave a node,

    alpha(t, u) = logaddexp(alpha(t - 1, u) + b(t - 1, u), alpha(t, u - 1) + l(t, u - 1)),
    log P       = alpha(T, U),

and beta, the log-probability of reaching the end, is the alpha of the reversed lattice.  Nodes with
equal t + u depend only on those with one less, so that one scan over T + U anti-diagonals computes
both side by side, with u as rows and the sequences of the batch as lanes.

Two choices keep float32 accurate on long recordings.  Each anti-diagonal is shifted to a maximum of
zero and the shifts are summed at the end, so that no value grows with T.  And as every alignment
crosses from one anti-diagonal to the next on exactly one arc, posteriors are normalized over the
arcs of each crossing, not by log P.

Shorter sequences of a batch reach the common end (T, U) on free arcs: blanks after their last
frame, then labels below the last frame of the lattice.

References:
    A. Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, arXiv:1211.3711.
    T. Bagby, K. Rao, K. C. Sim, "Efficient Implementation of Recurrent Neural Network Transducer in
        TensorFlow", 2018, IEEE Spoken Language Technology Workshop.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

FLOOR = -1e5  # least log-probability of an arc: an impossible label costs 1e5, not infinity
DEAD = -1e30  # log-probability of an arc that does not exist; finite, because inf - inf is NaN


class Arcs(NamedTuple):
    """One value for each of the two arcs that leave each node of a lattice."""

    blank: jax.Array  # [batch, T, U + 1]: from (t, u) to (t + 1, u)
    label: jax.Array  # [batch, T, U + 1]: from (t, u) to (t, u + 1); column U has no meaning


def lattice_loss(
    log_probs: Arcs, logit_paddings: jax.Array, label_paddings: jax.Array
) -> jax.Array:
    """Negative log-probability of all alignments together, -log P.

    Its gradient with respect to an arc is minus the arc's posterior, see `arc_posteriors`.  The
    recursion runs in float32 or better; log-probabilities below -1e5 count as -1e5.

    Args:
        log_probs: log-probabilities of the arcs, each ``[batch, T, U + 1]``.
        logit_paddings: ``[batch, T]``, 1 at padded frames, which stand on the right.
        label_paddings: ``[batch, U]``, 1 at padded labels, which stand on the right.

    Returns:
        ``[batch]``, never negative; 0 with zero gradient for a sequence without frames.
    """
    return _lattice_loss(_widen(log_probs), logit_paddings, label_paddings)


def arc_posteriors(log_probs: Arcs, logit_paddings: jax.Array, label_paddings: jax.Array) -> Arcs:
    """Probability that an alignment uses an arc, given the labels.

    The two arcs of a node sum to its occupation.  In each frame the blanks sum to one over u; for
    each label the labels sum to one over t.

    Args:
        log_probs: log-probabilities of the arcs, each ``[batch, T, U + 1]``.
        logit_paddings: ``[batch, T]``, 1 at padded frames, which stand on the right.
        label_paddings: ``[batch, U]``, 1 at padded labels, which stand on the right.

    Returns:
        Posteriors, each ``[batch, T, U + 1]``, zero in the padding.
    """
    return _forward_backward(_widen(log_probs), logit_paddings, label_paddings)[1]


def _widen(log_probs: Arcs) -> Arcs:
    wide = jnp.promote_types(jnp.result_type(*log_probs), jnp.float32)
    return Arcs(*(x.astype(wide) for x in log_probs))


@jax.custom_vjp
def _lattice_loss(log_probs, logit_paddings, label_paddings):
    _, log_likelihood = _scan_diagonals(_crossings(log_probs, logit_paddings, label_paddings))
    return jnp.maximum(-log_likelihood, 0)


def _loss_backward(posteriors, gradient):
    return jax.tree.map(lambda x: -gradient[:, None, None] * x, posteriors), None, None


def _forward_backward(log_probs, logit_paddings, label_paddings):
    """The loss ``[batch]`` and the posteriors of the arcs."""
    batch, num_frames, _ = log_probs.blank.shape
    arcs = _crossings(log_probs, logit_paddings, label_paddings)
    # The reversed lattices take the lanes after the batch: one scan runs in both directions.
    both = jax.tree.map(lambda x: jnp.concatenate([x, jnp.flip(x, (0, 1))], axis=2), arcs)
    diagonals, log_likelihood = _scan_diagonals(both)
    alpha, beta = diagonals[:, :, :batch], jnp.flip(diagonals[:, :, batch:], (0, 1))
    paths = jnp.concatenate(
        [alpha + arcs.blank + beta, alpha[:, :-1] + arcs.label + beta[:, 1:]], 1
    )
    shares = jax.nn.softmax(paths, axis=1)
    blank, label = jnp.split(shares, [alpha.shape[1]], axis=1)
    label = jnp.pad(label, ((0, 0), (0, 1), (0, 0)))
    inside = _inside(log_probs, logit_paddings, label_paddings)
    posteriors = jax.tree.map(
        lambda x, mask: jnp.where(mask, _unskew(x, num_frames), 0), Arcs(blank, label), inside
    )
    return jnp.maximum(-log_likelihood[:batch], 0), posteriors


_lattice_loss.defvjp(_forward_backward, _loss_backward)


def _scan_diagonals(arcs: Arcs) -> tuple[jax.Array, jax.Array]:
    """Forward log-probabilities ``[T + U, U + 1, lanes]``, shifted, and log P ``[lanes]``."""

    def cross(alpha, arcs):
        shift = jnp.max(alpha, axis=0, keepdims=True)
        alpha = alpha - shift
        dead = jnp.full_like(alpha[:1], DEAD)
        from_label = jnp.concatenate([dead, alpha[:-1] + arcs.label])
        return jnp.logaddexp(alpha + arcs.blank, from_label), (alpha, shift[0])

    start = jnp.full_like(arcs.blank, DEAD, shape=arcs.blank.shape[1:]).at[0].set(0)
    end, (alphas, shifts) = jax.lax.scan(cross, start, arcs)
    return alphas, end[-1] + jnp.sum(shifts, axis=0)


def _crossings(log_probs: Arcs, logit_paddings, label_paddings) -> Arcs:
    """The arcs between anti-diagonals, ``[T + U, U + 1, batch]`` and ``[T + U, U, batch]``."""
    _, num_frames, num_nodes = log_probs.blank.shape
    lengths, label_lengths = _lengths(logit_paddings, label_paddings)
    frame = jnp.arange(num_frames + 1)[None, :, None]
    node = jnp.arange(num_nodes)[None, None, :]
    free = Arcs(
        blank=(frame[:, :-1] >= lengths) & (node == label_lengths),
        label=(frame == num_frames) & (node >= label_lengths),
    )
    inside = _inside(log_probs, logit_paddings, label_paddings)

    def complete(x, inside, free):
        x = jnp.where(inside, jnp.maximum(x, FLOOR), DEAD)
        below = ((0, 0), (0, free.shape[1] - num_frames), (0, 0))
        return jnp.where(free, 0, jnp.pad(x, below, constant_values=DEAD))

    blank, label = jax.tree.map(complete, log_probs, inside, free)
    num_crossings = num_frames + num_nodes - 1
    return Arcs(_skew(blank, num_crossings), _skew(label[:, :, :-1], num_crossings))


def _inside(log_probs: Arcs, logit_paddings, label_paddings) -> Arcs:
    """Which arcs belong to a sequence, ``[batch, T, U + 1]`` each."""
    _, num_frames, num_nodes = log_probs.blank.shape
    lengths, label_lengths = _lengths(logit_paddings, label_paddings)
    real_frame = jnp.arange(num_frames)[None, :, None] < lengths
    node = jnp.arange(num_nodes)[None, None, :]
    return Arcs(real_frame & (node <= label_lengths), real_frame & (node < label_lengths))


def _lengths(logit_paddings, label_paddings) -> tuple[jax.Array, jax.Array]:
    """Frames and labels of each sequence, ``[batch, 1, 1]``; no labels where no frames are."""
    frames, labels = (
        jnp.sum(1 - x.astype(jnp.int32), axis=1)[:, None, None]
        for x in (logit_paddings, label_paddings)
    )
    return frames, jnp.where(frames > 0, labels, 0)


def _skew(x: jax.Array, num_crossings: int) -> jax.Array:
    """``[batch, t, u] -> [t + u, u, batch]``: row u, one longer than needed, shifts right by u."""
    batch, num_frames, num_nodes = x.shape
    x = jnp.transpose(x, (2, 1, 0))
    extra = num_crossings + 1 - num_frames
    x = jnp.pad(x, ((0, 0), (0, extra), (0, 0)), constant_values=DEAD)
    x = x.reshape(num_nodes * (num_crossings + 1), batch)[: num_nodes * num_crossings]
    return x.reshape(num_nodes, num_crossings, batch).swapaxes(0, 1)


def _unskew(x: jax.Array, num_frames: int) -> jax.Array:
    """``[t + u, u, batch] -> [batch, t, u]``, the inverse of `_skew`."""
    num_crossings, num_nodes, batch = x.shape
    x = x.swapaxes(0, 1).reshape(num_nodes * num_crossings, batch)
    x = jnp.pad(x, ((0, num_nodes), (0, 0)))
    x = x.reshape(num_nodes, num_crossings + 1, batch)[:, :num_frames]
    return jnp.transpose(x, (2, 1, 0))
