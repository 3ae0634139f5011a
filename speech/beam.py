"""Alignment-length synchronous beam search of a transducer, batched, inside one loop.

A hypothesis of label sequence y and alignment length i has read t = i - |y| frames and weighs the
sum over its alignments.  All hypotheses of a beam have the same i; one iteration extends each by

    the blank      (y, i) -> (y, i + 1)      log P(blank | t, y), the next frame
    a label v      (y, i) -> (y v, i + 1)    log P(v | t, y) + fusion(v | y), the same frame

adds up what leads to the same labels, keeps the best of the rest and stops after T + U_max
iterations at the latest.  A hypothesis that has read every frame is complete; as that happens at
i = T + |y| and at no other length, complete hypotheses never meet again.

Hypotheses of a beam differ, so that only a blank and a label can lead to the same sequence: the
blank after ``y v`` and the label v after ``y``.  Whether one sequence starts with another is known
for every pair of a beam and brought forward exactly from beam to beam; nothing is hashed.  The sum
is taken before the beam is pruned, lest equal sequences take two places.

References:
    Saon, Tueske, Audhkhasi, Alignment-length synchronous decoding for RNN transducer, ICASSP 2020.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PredictorStep = Callable[[jax.Array, Any], tuple[jax.Array, Any]]
Joiner = Callable[[jax.Array, jax.Array], jax.Array]


class NBest(NamedTuple):
    """Several label sequences per utterance, the best first."""

    labels: jax.Array  # [batch, nbest, max_labels] int32, the blank where padded
    label_paddings: jax.Array  # [batch, nbest, max_labels] float32, 1 where padded
    frames: jax.Array  # [batch, nbest, max_labels] int32, encoder frame of each label
    scores: jax.Array  # [batch, nbest] float32, -inf where there are fewer sequences


class Fusion(NamedTuple):
    """What is added to the score of each label, see `fusion`; the blank's part is ignored."""

    initial_state: Callable[[int], Any]  # batch -> the state before the start, leaves [batch, ...]
    step: PredictorStep  # (tokens [batch], state) -> (increments [batch, vocabulary], state)


class _Sequences(NamedTuple):
    scores: jax.Array  # [batch, places] float32, -inf where the place is empty
    num_labels: jax.Array  # [batch, places] int32
    labels: jax.Array  # [batch, places, max_labels] int32
    frames: jax.Array  # [batch, places, max_labels] int32


class _Memory(NamedTuple):
    predicted: jax.Array  # [batch * beam, P], the predictor's vector of the labels
    increments: jax.Array  # [batch * beam, vocabulary] or 0, what fusion adds to the next label
    predictor: Any  # state, leaves [batch * beam, ...]
    fusion: Any  # state, leaves [batch * beam, ...]


class _Search(NamedTuple):
    step: jax.Array  # [] int32, the alignment length
    beam: _Sequences  # places: beam
    starts: jax.Array  # [batch, beam, beam] bool, whether sequence [b, k] starts with [b, j]
    memory: _Memory
    complete: _Sequences  # places: nbest, the best first


class _Merge(NamedTuple):
    scores: jax.Array  # [batch, beam], of staying with the same labels
    parents: jax.Array  # [batch, beam] int32, who reaches them by a label; `beam` if nobody does
    is_later: jax.Array  # [batch, beam] bool, whether that weighs more than the blank


def beam_search(
    encoded: jax.Array,
    encoded_paddings: jax.Array,
    *,
    predictor_step: PredictorStep,
    joiner: Joiner,
    initial_state: Any,
    beam: int = 16,
    nbest: int | None = None,
    fusion: Fusion | None = None,
    blank_id: int = 0,
    max_symbols_per_frame: int | None = 4,
    max_labels: int | None = None,
) -> NBest:
    """Finds the label sequences of the largest total probability; call it inside `jax.jit`.

    Args:
        encoded: encoder vectors, ``[batch, frames, E]``.
        encoded_paddings: ``[batch, frames]``, 1 at padded frames, right padding only.
        predictor_step: ``(tokens [n] int32, state) -> (predicted [n, P], state)`` for any n; the
            blank is fed first and starts the sequence.
        joiner: ``(encoded [n, E], predicted [n, P]) -> logits [n, vocabulary]`` for any n.
        initial_state: the predictor's state before the start symbol, a pytree with leaves
            ``[batch, ...]``.
        beam: hypotheses kept at each alignment length.
        nbest: sequences returned; None returns as many as ``beam``.
        fusion: what to add to the labels' scores, none by default.
        blank_id: index of the blank.
        max_symbols_per_frame: labels after which a frame is left, at the cost of its blank, counted
            on the likelier side wherever alignments met; None for no bound.  Without one a model
            that repeats itself can fill the beam with labels of one frame.
        max_labels: the longest sequence, U_max of the paper.  None allows each utterance as many
            labels as it has frames.

    Returns:
        The sequences, sorted.  A score is the log probability of all alignments that the beam held,
        plus what fusion added.  Frames are those of the likelier side wherever alignments met.
        An utterance without frames has the empty sequence, with score 0.

    Raises:
        ValueError: if the paddings do not match, there is no frame, or a bound is not positive.

    Example:
        >>> def predictor_step(tokens, state):
        ...     return jax.nn.one_hot(tokens, 3), state
        >>> encoded = jnp.array([[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])
        >>> found = beam_search(
        ...     encoded,
        ...     jnp.zeros((1, 3)),
        ...     predictor_step=predictor_step,
        ...     joiner=lambda encoded, predicted: encoded - 10 * predicted,
        ...     initial_state=(),
        ...     beam=4,
        ...     nbest=1,
        ... )
        >>> found.labels.tolist(), found.frames[0, 0].tolist()
        ([[[1, 2, 0]]], [0, 2, 0])
    """
    check(
        encoded,
        encoded_paddings,
        beam=beam,
        nbest=nbest,
        max_symbols_per_frame=max_symbols_per_frame,
        max_labels=max_labels,
    )
    batch, num_frames, _ = encoded.shape
    nbest = beam if nbest is None else nbest
    lengths = jnp.sum(encoded_paddings == 0, axis=1)[:, None]  # [batch, 1]
    bound = lengths if max_labels is None else max_labels
    rows = jnp.arange(batch)[:, None]
    places = jnp.arange(beam)[None]

    def empty(places: int, is_started: jax.Array) -> _Sequences:
        first = (jnp.arange(places) == 0)[None] & is_started
        labels = jnp.zeros((batch, places, max_labels or num_frames), jnp.int32)
        num_labels = jnp.zeros((batch, places), jnp.int32)
        return _Sequences(jnp.where(first, 0.0, -jnp.inf), num_labels, labels, labels)

    def advance(tokens: jax.Array, predictor_state: Any, fusion_state: Any) -> _Memory:
        predicted, predictor_state = predictor_step(tokens, predictor_state)
        increments = jnp.zeros(())
        if fusion is not None:
            increments, fusion_state = fusion.step(tokens, fusion_state)
            increments = increments.astype(jnp.float32).at[:, blank_id].set(0)
        return _Memory(predicted, increments, predictor_state, fusion_state)

    def extend(is_longer: jax.Array, tokens: jax.Array, memory: _Memory) -> _Memory:
        """Advances the rows that are longer: mostly a third, so that half as many go at a time."""
        size = -(-len(tokens) // 2)
        place = jnp.cumsum(is_longer) - 1  # among the longer ones
        order = jnp.argsort(~is_longer, stable=True)
        order = jnp.pad(order, (0, 2 * size - len(tokens)))

        def some(carry: tuple[jax.Array, _Memory]) -> tuple[jax.Array, _Memory]:
            first, memory = carry
            index = jax.lax.dynamic_slice_in_dim(order, first, size)
            part = jax.tree.map(lambda leaf: leaf[index] if leaf.ndim else leaf, memory)
            part = advance(tokens[index], part.predictor, part.fusion)
            offset = place - first
            is_here = is_longer & (offset >= 0) & (offset < size)
            back = jnp.clip(offset, 0, size - 1)
            part = jax.tree.map(lambda leaf: leaf[back] if leaf.ndim else leaf, part)
            return first + size, select_rows(is_here, part, memory)

        number = jnp.sum(is_longer)
        _, memory = jax.lax.while_loop(
            lambda carry: carry[0] < number, some, (jnp.zeros_like(number), memory)
        )
        return memory

    def score(search: _Search) -> jax.Array:
        """What each extension would score, ``[batch, beam, vocabulary]``."""
        sequences, memory = search.beam, search.memory
        frame = search.step - sequences.num_labels
        current = encoded[rows, jnp.minimum(frame, num_frames - 1)].reshape(batch * beam, -1)
        logits = joiner(current, memory.predicted).astype(jnp.float32)
        gains = (jax.nn.log_softmax(logits) + memory.increments).reshape(batch, beam, -1)
        is_allowed = (sequences.num_labels < bound)[:, :, None]
        if max_symbols_per_frame is not None:
            emitted = _at(sequences.frames, sequences.num_labels - max_symbols_per_frame)
            is_full = (sequences.num_labels >= max_symbols_per_frame) & (emitted == frame)
            is_allowed &= ~is_full[:, :, None]
        is_allowed |= (jnp.arange(gains.shape[2]) == blank_id)[None, None]
        is_allowed &= (sequences.scores > -jnp.inf)[:, :, None]
        return jnp.where(is_allowed, sequences.scores[:, :, None] + gains, -jnp.inf)

    def step(search: _Search) -> _Search:
        old = search.beam
        frame = search.step - old.num_labels
        scores = score(search)
        is_last = frame == lengths - 1
        complete = _best(
            search.complete,
            old._replace(scores=jnp.where(is_last, scores[:, :, blank_id], -jnp.inf)),
        )
        scores = scores.at[:, :, blank_id].set(jnp.where(is_last, -jnp.inf, scores[:, :, blank_id]))
        merge = _merge(search, scores, blank_id)
        scores = scores.at[rows, merge.parents, _last(old)].set(-jnp.inf, mode="drop")
        scores = scores.at[:, :, blank_id].set(merge.scores)

        kept, index = jax.lax.top_k(scores.reshape(batch, -1), beam)
        source, token = index // scores.shape[2], index % scores.shape[2]
        is_longer = token != blank_id
        is_later = ~is_longer & merge.is_later[rows, source]
        num_labels = old.num_labels[rows, source]
        slot = jnp.where(is_longer, num_labels, old.labels.shape[2])  # out of bounds: dropped
        labels = old.labels[rows, source].at[rows, places, slot].set(token, mode="drop")
        slot = jnp.where(is_later, num_labels - 1, slot)
        frames = old.frames[rows, jnp.where(is_later, merge.parents[rows, source], source)]
        emitted = frame[rows, source] + is_later  # the parent has one label less, one frame more
        frames = frames.at[rows, places, slot].set(emitted, mode="drop")
        new = _Sequences(kept, num_labels + is_longer, labels, frames)

        flat = (rows * beam + source).reshape(-1)
        memory = jax.tree.map(lambda leaf: leaf[flat] if leaf.ndim else leaf, search.memory)
        memory = extend(is_longer.reshape(-1), token.reshape(-1), memory)
        if fusion is None:  # what is left sums to less than each sequence of the result
            rest = jax.nn.logsumexp(new.scores, axis=1, keepdims=True)
            is_done = rest < complete.scores[:, -1:]
            new = new._replace(scores=jnp.where(is_done, -jnp.inf, new.scores))
        starts = _starts(search.starts, new, source, token, is_longer)
        return _Search(search.step + 1, new, starts, memory, complete)

    memory = advance(
        jnp.full(batch, blank_id, jnp.int32),
        initial_state,
        None if fusion is None else fusion.initial_state(batch),
    )
    search = jax.lax.while_loop(
        lambda search: jnp.any(search.beam.scores > -jnp.inf),
        step,
        _Search(
            step=jnp.int32(0),
            beam=empty(beam, lengths > 0),
            starts=jnp.broadcast_to(jnp.eye(beam, dtype=bool), (batch, beam, beam)),
            memory=jax.tree.map(
                lambda leaf: jnp.repeat(leaf, beam, axis=0) if leaf.ndim else leaf, memory
            ),
            complete=empty(nbest, lengths == 0),
        ),
    )
    scores, num_labels, labels, frames = search.complete
    num_labels = jnp.where(scores > -jnp.inf, num_labels, 0)
    is_padded = jnp.arange(labels.shape[2])[None, None] >= num_labels[:, :, None]
    return NBest(
        jnp.where(is_padded, blank_id, labels),
        is_padded.astype(jnp.float32),
        jnp.where(is_padded, 0, frames),
        scores,
    )


def check(encoded: jax.Array, encoded_paddings: jax.Array, **bounds: int | None) -> None:
    """Refuses what no search can read.

    Args:
        encoded: ``[batch, frames, E]``.
        encoded_paddings: ``[batch, frames]``.
        **bounds: options by name that must be positive, or None.

    Raises:
        ValueError: if the paddings do not match, there is no frame, or a bound is not positive.
    """
    if encoded.ndim != 3 or encoded_paddings.shape != encoded.shape[:2]:
        raise ValueError(
            "`encoded` must be [batch, frames, E] and `encoded_paddings` [batch, frames], got "
            f"{encoded.shape} and {encoded_paddings.shape}."
        )
    for name, bound in {"encoded.shape[1]": encoded.shape[1], **bounds}.items():
        if bound is not None and bound < 1:
            raise ValueError(f"`{name}` must be positive, got {bound}.")


def _best(complete: _Sequences, candidates: _Sequences) -> _Sequences:
    """The best of both, as many as there are places in ``complete``."""
    places = complete.scores.shape[1]
    both = jax.tree.map(lambda *pair: jnp.concatenate(pair, axis=1), complete, candidates)
    _, index = jax.lax.top_k(both.scores, places)
    rows = jnp.arange(len(index))[:, None]
    return jax.tree.map(lambda leaf: leaf[rows, index], both)


def _merge(search: _Search, scores: jax.Array, blank_id: int) -> _Merge:
    """Adds to the blank of ``y v`` the label v of ``y``, where the beam holds both."""
    sequences = search.beam
    num_labels, is_alive = sequences.num_labels, sequences.scores > -jnp.inf
    is_parent = search.starts & (num_labels[:, :, None] == num_labels[:, None, :] + 1)
    is_parent &= is_alive[:, :, None] & is_alive[:, None, :]  # [batch, child, parent]
    has_parent = jnp.any(is_parent, axis=2)
    parents = jnp.argmax(is_parent, axis=2).astype(jnp.int32)
    rows = jnp.arange(len(parents))[:, None]
    label = jnp.where(has_parent, scores[rows, parents, _last(sequences)], -jnp.inf)
    blank = scores[:, :, blank_id]
    parents = jnp.where(has_parent, parents, parents.shape[1])
    return _Merge(jnp.logaddexp(blank, label), parents, label > blank)


def _last(sequences: _Sequences) -> jax.Array:
    """The last label of each sequence, ``[batch, places]``; any if there is none."""
    return _at(sequences.labels, sequences.num_labels - 1)


def _at(values: jax.Array, index: jax.Array) -> jax.Array:
    """``values [batch, places, n]`` at ``index [batch, places]``; the first if negative."""
    return jnp.take_along_axis(values, jnp.maximum(index, 0)[:, :, None], axis=2)[:, :, 0]


def _starts(
    starts: jax.Array, new: _Sequences, source: jax.Array, token: jax.Array, is_longer: jax.Array
) -> jax.Array:
    """Which of the new sequences start with which, from the same of their sources.

    ``y' = y v`` starts with ``z' = z w`` when y starts with z, w follows there, and z' is no longer
    than y'.  That y' equals z without y starting with z cannot be: it was merged.
    """
    rows = jnp.arange(len(source))[:, None, None]
    inherited = starts[rows, source[:, :, None], source[:, None, :]]
    index = jnp.maximum(new.num_labels - 1, 0)[:, None, :]
    places = jnp.arange(source.shape[1])[None, :, None]
    follows = new.labels[rows, places, index] == token[:, None, :]
    is_shorter = new.num_labels[:, None, :] <= new.num_labels[:, :, None]
    return inherited & is_shorter & (follows | ~is_longer[:, None, :])


def select_rows(condition: jax.Array, chosen: Any, otherwise: Any) -> Any:
    """Rows of `chosen` where `condition` [batch] holds, else of `otherwise`; its scalars always."""

    def select(new: jax.Array, old: jax.Array) -> jax.Array:
        if not new.ndim:
            return new
        return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(select, chosen, otherwise)
