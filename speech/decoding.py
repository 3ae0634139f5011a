"""Greedy decoding of a transducer, batched, with every utterance at its own pace.

The other search, `beam_search`, lives in `beam` and can be had from here too.

At frame t after labels y the most likely symbol of ``joiner(h_t, g_y)`` is taken: the blank moves
on to frame t + 1, a label is emitted and may be followed by others in the same frame.  Between two
labels the predictor's vector ``g_y`` stands still, so the joiner can look at several frames at
once.  One iteration serves the whole batch:

    look at frames t .. t + K - 1 of each utterance, with its own t
    no label there:   t += K
    first label at k: t += k, emit it, advance the predictor

which takes about as many iterations as the longest hypothesis has labels, and no utterance waits
for another.  Label looping (Bataev et al.) instead searches frame by frame, in an inner loop that
ends when every utterance has found its label.

References:
    Graves, Sequence transduction with recurrent neural networks, 2012, arXiv:1211.3711.
    Bataev, Xu, Galvez, Lavrukhin, Ginsburg, Label-looping: highly efficient decoding for
    transducers, 2024, arXiv:2406.06220.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .beam import Joiner, NBest, PredictorStep, beam_search, check, select_rows

__all__ = ["Hypotheses", "NBest", "beam_search", "greedy_decode"]


class Hypotheses(NamedTuple):
    """One label sequence per utterance."""

    labels: jax.Array  # [batch, max_labels] int32, the blank where padded
    label_paddings: jax.Array  # [batch, max_labels] float32, 1 where padded
    frames: jax.Array  # [batch, max_labels] int32, encoder frame at which each label was emitted
    scores: jax.Array  # [batch] float32, log probability of the path taken, blanks included


class _Search(NamedTuple):
    frame: jax.Array  # [batch] int32, the next frame to look at
    symbols: jax.Array  # [batch] int32, labels emitted at that frame so far
    num_labels: jax.Array  # [batch] int32, labels emitted at all
    predicted: jax.Array  # [batch, P], the predictor's vector of the labels so far
    state: Any  # the predictor's, leaves [batch, ...]
    labels: jax.Array  # [batch, max_labels] int32
    frames: jax.Array  # [batch, max_labels] int32
    scores: jax.Array  # [batch] float32


def greedy_decode(
    encoded: jax.Array,
    encoded_paddings: jax.Array,
    *,
    predictor_step: PredictorStep,
    joiner: Joiner,
    initial_state: Any,
    blank_id: int = 0,
    max_symbols_per_frame: int = 4,
    max_labels: int | None = None,
    lookahead: int = 4,
) -> Hypotheses:
    """Takes the most likely symbol at every step; call it inside `jax.jit`.

    Args:
        encoded: encoder vectors, ``[batch, frames, E]``.
        encoded_paddings: ``[batch, frames]``, 1 at padded frames, right padding only.
        predictor_step: ``(tokens [batch] int32, state) -> (predicted [batch, P], state)``; the
            blank is fed first and starts the sequence.
        joiner: ``(encoded [n, E], predicted [n, P]) -> logits [n, vocabulary]`` for any n.
        initial_state: the predictor's state before the start symbol, a pytree with leaves
            ``[batch, ...]``.
        blank_id: index of the blank.
        max_symbols_per_frame: labels after which a frame is left, at the cost of its blank.
        max_labels: length of the hypotheses; an utterance that reaches it stops there.  None leaves
            room for ``max_symbols_per_frame`` labels at every frame.
        lookahead: frames K the joiner looks at in one iteration; it changes the speed only.

    Returns:
        The hypotheses.

    Raises:
        ValueError: if the paddings do not match, there is no frame, or a bound is not positive.

    Example:
        >>> def predictor_step(tokens, state):
        ...     return jax.nn.one_hot(tokens, 3), state
        >>> encoded = jnp.array([[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])
        >>> hypotheses = greedy_decode(
        ...     encoded,
        ...     jnp.zeros((1, 3)),
        ...     predictor_step=predictor_step,
        ...     joiner=lambda encoded, predicted: encoded - 10 * predicted,
        ...     initial_state=(),
        ...     max_symbols_per_frame=1,
        ...     max_labels=4,
        ... )
        >>> hypotheses.labels.tolist(), hypotheses.frames.tolist()
        ([[1, 2, 0, 0]], [[0, 2, 0, 0]])
    """
    check(
        encoded,
        encoded_paddings,
        max_symbols_per_frame=max_symbols_per_frame,
        max_labels=max_labels,
        lookahead=lookahead,
    )
    start = jnp.full(encoded.shape[0], blank_id, jnp.int32)
    hypotheses, _ = greedy_decode_part(
        encoded,
        encoded_paddings,
        predictor_step(start, initial_state),
        predictor_step=predictor_step,
        joiner=joiner,
        blank_id=blank_id,
        max_symbols_per_frame=max_symbols_per_frame,
        max_labels=max_labels,
        lookahead=lookahead,
    )
    return hypotheses


def greedy_decode_part(
    encoded: jax.Array,
    encoded_paddings: jax.Array,
    prefix: tuple[jax.Array, Any],
    *,
    predictor_step: PredictorStep,
    joiner: Joiner,
    blank_id: int = 0,
    max_symbols_per_frame: int = 4,
    max_labels: int | None = None,
    lookahead: int = 4,
) -> tuple[Hypotheses, tuple[jax.Array, Any]]:
    """As `greedy_decode`, over the next frames of utterances; the parts give the whole.

    Args:
        encoded: as there, ``[batch, frames, E]``; there may be none.
        encoded_paddings: as there.
        prefix: the predictor's vector ``[batch, P]`` of the labels before and its state: what the
            call for the part before returned, ``predictor_step(blanks, initial_state)`` at first.
        predictor_step: as there.
        joiner: as there.
        blank_id: as there.
        max_symbols_per_frame: as there.
        max_labels: as there, for this part.
        lookahead: as there.

    Returns:
        The labels of this part, their frames counted from its start, and the new prefix.
    """
    batch, num_frames, _ = encoded.shape
    room = num_frames * max_symbols_per_frame if max_labels is None else max_labels
    lengths = jnp.sum(encoded_paddings == 0, axis=1)
    encoded = jnp.pad(encoded, ((0, 0), (0, lookahead), (0, 0)))  # lest the last window is shifted
    rows, offsets = jnp.arange(batch), jnp.arange(lookahead)[None]

    def is_active(search: _Search) -> jax.Array:
        is_inside = search.frame < lengths
        return is_inside if max_labels is None else is_inside & (search.num_labels < max_labels)

    def step(search: _Search) -> _Search:
        window = jax.vmap(
            lambda frames, first: jax.lax.dynamic_slice_in_dim(frames, first, lookahead)
        )(encoded, search.frame)
        log_probs = _log_probs(joiner, window, search.predicted)
        best = jnp.argmax(log_probs, axis=2).astype(jnp.int32)
        exhausted = (search.symbols == max_symbols_per_frame)[:, None] & (offsets == 0)
        inside = (search.frame[:, None] + offsets < lengths[:, None]) & is_active(search)[:, None]
        is_label = inside & ~exhausted & (best != blank_id)

        found = jnp.any(is_label, axis=1)
        first = jnp.where(found, jnp.argmax(is_label, axis=1), lookahead)
        skipped = inside & (offsets < first[:, None])
        scores = search.scores + jnp.sum(log_probs[:, :, blank_id], axis=1, where=skipped)
        frame = search.frame + jnp.sum(skipped, axis=1)

        column = jnp.minimum(first, lookahead - 1)
        label = best[rows, column]
        scores = jnp.where(found, scores + log_probs[rows, column, label], scores)
        slot = jnp.where(found, search.num_labels, room)  # out of bounds: dropped
        predicted, state = select_rows(
            found, predictor_step(label, search.state), (search.predicted, search.state)
        )
        return _Search(
            frame=frame,
            symbols=jnp.where(first == 0, search.symbols, 0) + found,
            num_labels=search.num_labels + found,
            predicted=predicted,
            state=state,
            labels=search.labels.at[rows, slot].set(label, mode="drop"),
            frames=search.frames.at[rows, slot].set(frame, mode="drop"),
            scores=scores,
        )

    zeros = jnp.zeros(batch, jnp.int32)
    predicted, state = prefix
    search = jax.lax.while_loop(
        lambda search: jnp.any(is_active(search)),
        step,
        _Search(
            frame=zeros,
            symbols=zeros,
            num_labels=zeros,
            predicted=predicted,
            state=state,
            labels=jnp.full((batch, room), blank_id, jnp.int32),
            frames=jnp.zeros((batch, room), jnp.int32),
            scores=jnp.zeros(batch),
        ),
    )
    padded = jnp.arange(room)[None] >= search.num_labels[:, None]
    found = Hypotheses(search.labels, padded.astype(jnp.float32), search.frames, search.scores)
    return found, (search.predicted, search.state)


def _log_probs(joiner: Joiner, window: jax.Array, predicted: jax.Array) -> jax.Array:
    """Joins every frame of ``window [batch, K, E]`` with its row of ``predicted [batch, P]``."""
    batch, lookahead, size = window.shape
    repeated = jnp.repeat(predicted, lookahead, axis=0)
    logits = joiner(window.reshape(batch * lookahead, size), repeated)
    return jax.nn.log_softmax(logits.astype(jnp.float32)).reshape(batch, lookahead, -1)
