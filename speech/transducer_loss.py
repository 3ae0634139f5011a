"""The transducer (RNN-T) loss, dense and with a joiner that is recomputed tile by tile.

The loss is -log P(labels | frames), summed over all alignments of T blanks with U labels (see
`lattice`).  Of the logits z(t, u, k) the lattice needs only two numbers per node,

    b(t, u) = z(t, u, blank) - logsumexp_k z(t, u, k),    l(t, u) alike for label u + 1,

and with the posteriors B and L of these two arcs the gradient is

    dloss/dz(t, u, k) = (B + L) softmax(z)_k - [k = blank] B - [k = label u + 1] L:

one pass over the logits, with the normalizer from the forward pass, and no array of
log-probabilities.  `joint_transducer_loss` goes further and never holds the logits of more than a
few frames: it computes them tile by tile, once for b and l and once more for their gradients.

Neither loss is reduced; mind that averages over utterances and over labels differ.

References:
    A. Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, arXiv:1211.3711.
    J. Li, R. Zhao, H. Hu, Y. Gong, "Improving RNN Transducer Modeling for End-to-End Speech
        Recognition", 2019, arXiv:1909.12415: the merged gradient.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from .lattice import FLOOR, Arcs, lattice_loss

Joiner = Callable[[jax.Array, jax.Array], jax.Array]

_NORMALIZER = "transducer_normalizer"


def transducer_loss(
    logits: jax.Array,
    logit_paddings: jax.Array,
    labels: jax.Array,
    label_paddings: jax.Array,
    blank_id: int = 0,
) -> jax.Array:
    """Negative log-probability of the labels, summed over alignments.

    Arguments follow ``optax.ctc_loss``.  There may be more labels than frames, and no labels at
    all.  A sequence without frames has loss 0 and gradient zero.  A label with logit -inf costs
    1e5.  The loss is computed in float32 or better and the gradient has the dtype of the logits.

    Args:
        logits: ``[batch, T, U + 1, vocabulary]``, unnormalized; entry u follows u labels.
        logit_paddings: ``[batch, T]``, 1 at padded frames, which stand on the right.
        labels: ``[batch, U]`` integers; values in the padding do not matter.
        label_paddings: ``[batch, U]``, 1 at padded labels, which stand on the right.
        blank_id: index of the blank.

    Returns:
        ``[batch]``, never negative.

    Raises:
        ValueError: if shapes disagree or `blank_id` is outside the vocabulary.

    Example:
        >>> logits = jnp.zeros((1, 2, 2, 3))  # 2 alignments of 3 symbols, each symbol 1/3
        >>> transducer_loss(logits, jnp.zeros((1, 2)), jnp.array([[1]]), jnp.zeros((1, 1)))
        Array([2.6026897], dtype=float32)
    """
    _check_shapes(logits.shape[:3], logit_paddings, labels, label_paddings)
    return lattice_loss(arc_log_probs(logits, labels, blank_id), logit_paddings, label_paddings)


def joint_transducer_loss(
    joiner: Joiner,
    encoded: jax.Array,
    predicted: jax.Array,
    encoded_paddings: jax.Array,
    labels: jax.Array,
    label_paddings: jax.Array,
    blank_id: int = 0,
    *,
    frames_per_tile: int | None = None,
) -> jax.Array:
    """`transducer_loss` of a joiner's logits, of which only a few frames exist at a time.

    Exact, with gradients for `encoded`, `predicted` and whatever the joiner closes over.  Memory
    grows with ``batch * frames_per_tile * (U + 1) * vocabulary``; the joiner runs twice.

    Args:
        joiner: a pure function of frames ``[batch, t, 1, E]`` and prefixes ``[batch, 1, U + 1, P]``
            to logits ``[batch, t, U + 1, vocabulary]``.
        encoded: ``[batch, T, E]``, the encoder's frames.
        predicted: ``[batch, U + 1, P]``, the predictor's output after 0 to U labels.
        encoded_paddings: ``[batch, T]``, 1 at padded frames, which stand on the right.
        labels: ``[batch, U]`` integers; values in the padding do not matter.
        label_paddings: ``[batch, U]``, 1 at padded labels, which stand on the right.
        blank_id: index of the blank.
        frames_per_tile: see `joint_arc_log_probs`.

    Returns:
        ``[batch]``, never negative.

    Raises:
        ValueError: if shapes disagree, or `blank_id` or `frames_per_tile` is out of range.

    Example:
        >>> loss = joint_transducer_loss(
        ...     lambda h, g: jnp.tanh(h * g) @ weights, encoded, predicted,
        ...     encoded_paddings, labels, label_paddings)
    """
    nodes = (*encoded.shape[:2], predicted.shape[1])
    _check_shapes(nodes, encoded_paddings, labels, label_paddings)
    log_probs = joint_arc_log_probs(
        joiner, encoded, predicted, labels, blank_id, frames_per_tile=frames_per_tile
    )
    return lattice_loss(log_probs, encoded_paddings, label_paddings)


def joint_arc_log_probs(
    joiner: Joiner,
    encoded: jax.Array,
    predicted: jax.Array,
    labels: jax.Array,
    blank_id: int = 0,
    *,
    frames_per_tile: int | None = None,
) -> Arcs:
    """`arc_log_probs` of a joiner's logits, of which only a few frames exist at a time.

    Args:
        joiner: see `joint_transducer_loss`.
        encoded: ``[batch, T, E]``.
        predicted: ``[batch, U + 1, P]``.
        labels: ``[batch, U]`` integers.
        blank_id: index of the blank.
        frames_per_tile: frames whose logits exist together; the default takes as many as keep a
            tile within 2048 nodes and 2**19 logits, at least one, which suits the caches of a CPU.
            A GPU wants more.

    Returns:
        Log-probabilities of the arcs, each ``[batch, T, U + 1]``.

    Raises:
        ValueError: if `blank_id` or `frames_per_tile` is out of range.
    """
    batch, num_frames, size = encoded.shape
    if frames_per_tile is None:
        frame = jax.eval_shape(joiner, encoded[:, :1, None], predicted[:, None])
        nodes_per_tile = min(2048, 2**19 // frame.shape[-1])
        frames_per_tile = max(1, nodes_per_tile // (batch * predicted.shape[1]))
    if frames_per_tile < 1:
        raise ValueError(f"`frames_per_tile` must be at least 1, got {frames_per_tile}.")
    num_tiles = -(-num_frames // frames_per_tile)
    extra = num_tiles * frames_per_tile - num_frames
    tiles = jnp.pad(encoded, ((0, 0), (0, extra), (0, 0)))
    tiles = tiles.reshape(batch, num_tiles, frames_per_tile, 1, size).swapaxes(0, 1)

    # Only the normalizers of the first pass are kept; the second recomputes the logits from them.
    @functools.partial(
        jax.checkpoint,
        prevent_cse=False,
        policy=jax.checkpoint_policies.save_only_these_names(_NORMALIZER),
    )
    def tile_log_probs(tile):
        return arc_log_probs(joiner(tile, predicted[:, None]), labels, blank_id)

    _, log_probs = jax.lax.scan(lambda _, tile: (None, tile_log_probs(tile)), None, tiles)
    return jax.tree.map(
        lambda x: x.swapaxes(0, 1).reshape(batch, -1, x.shape[-1])[:, :num_frames], log_probs
    )


def arc_log_probs(logits: jax.Array, labels: jax.Array, blank_id: int = 0) -> Arcs:
    """Log-probabilities of the blank and of the next label at every node.

    Args:
        logits: ``[batch, T, U + 1, vocabulary]``, unnormalized.
        labels: ``[batch, U]`` integers.
        blank_id: index of the blank.

    Returns:
        Log-probabilities of the arcs, each ``[batch, T, U + 1]``, in float32 or better; at least
        -1e5 where a logit is -inf.

    Raises:
        ValueError: if `blank_id` is outside the vocabulary.
    """
    if not 0 <= blank_id < logits.shape[-1]:
        raise ValueError(
            f"`blank_id` must lie in the vocabulary of {logits.shape[-1]}, got {blank_id}."
        )
    labels = jnp.pad(labels, ((0, 0), (0, 1)), constant_values=blank_id)
    return _arc_log_probs(logits, labels, blank_id)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _arc_log_probs(logits, next_labels, blank_id):
    return _arcs_forward(logits, next_labels, blank_id)[0]


def _arcs_forward(logits, next_labels, blank_id):
    wide = _widen(logits)
    normalizer = jax.nn.logsumexp(wide, axis=-1)
    normalizer = checkpoint_name(jnp.maximum(normalizer, jnp.finfo(wide.dtype).min), _NORMALIZER)
    index = next_labels[:, None, :, None]
    label = _widen(jnp.take_along_axis(logits, index, axis=-1, mode="clip")[..., 0])
    arcs = Arcs(blank=wide[..., blank_id] - normalizer, label=label - normalizer)
    arcs = jax.tree.map(lambda x: jnp.maximum(x, FLOOR), arcs)
    return arcs, (logits, next_labels, normalizer)


def _arcs_backward(blank_id, residuals, gradients):
    logits, next_labels, normalizer = residuals
    total = gradients.blank + gradients.label
    # A node without posterior has no gradient whatever its logits: padding may hold NaN.
    gradient = jnp.where(
        total[..., None] == 0,
        0,
        -total[..., None] * jnp.exp(_widen(logits) - normalizer[..., None]),
    )
    # Two scatters touch two symbols of a node; comparing every symbol with the label takes longer.
    gradient = gradient.at[..., blank_id].add(gradients.blank)
    batch, frame, node = jnp.indices(total.shape, sparse=True)
    gradient = gradient.at[batch, frame, node, next_labels[:, None, :]].add(
        gradients.label, unique_indices=True
    )
    return gradient.astype(logits.dtype), None


_arc_log_probs.defvjp(_arcs_forward, _arcs_backward)


def _widen(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _check_shapes(nodes, logit_paddings, labels, label_paddings) -> None:
    batch, num_frames, num_nodes = nodes
    expected = {
        "logit_paddings": (logit_paddings.shape, (batch, num_frames)),
        "labels": (labels.shape, (batch, num_nodes - 1)),
        "label_paddings": (label_paddings.shape, (batch, num_nodes - 1)),
    }
    for name, (shape, wanted) in expected.items():
        if shape != wanted:
            raise ValueError(
                f"`{name}` must have shape {wanted} for {batch} sequences of {num_frames} frames "
                f"and {num_nodes} label prefixes (0 to {num_nodes - 1} labels), got {shape}."
            )
