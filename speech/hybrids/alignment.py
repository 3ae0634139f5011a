"""Forced alignment: which state each frame of known words belongs to, by Viterbi, in batches.

    score[t, s] = log p(x_t | s) + max(score[t - 1, s] + log stay,
                                       max_{s' before s} score[t - 1, s'] + log(1 - stay))

over the states of each utterance's graph (see `state_graph`).  One scan over time works on all
utterances of a batch; what is kept for tracing back is one byte for each frame and state.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .lexicon import SILENCE
from .state_graph import NO_WORD, StateGraph

STAY = 0.5  # probability of staying in a state, which hardly matters
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)  # states that graphs are padded to


class Alignment(NamedTuple):
    """Where the frames of an utterance belong."""

    states: np.ndarray  # [frames] int32, states of its graph
    score: float  # log likelihood of the path


class Segment(NamedTuple):
    """A phone or a word of an utterance."""

    label: str
    start: float  # s
    end: float  # s
    word: int  # which word of the utterance, or NO_WORD for silence


class _Batch(NamedTuple):
    pdfs: np.ndarray  # [batch, states]
    predecessors: np.ndarray  # [batch, states, K], `states` where there are fewer
    is_first: np.ndarray  # [batch, states]
    is_last: np.ndarray  # [batch, states]


def align(
    log_likelihoods: jax.Array, paddings: jax.Array, graphs: Sequence[StateGraph]
) -> list[Alignment | None]:
    """The best path of each utterance.

    Args:
        log_likelihoods: ``[batch, frames, pdfs]``, up to a constant for each frame.
        paddings: ``[batch, frames]``, 1 at padded frames, which stand on the right.
        graphs: of each utterance.

    Returns:
        Alignments; None where an utterance has fewer frames than its words need.

    Raises:
        ValueError: if the shapes do not match, or a graph has more states than `SIZES`.
    """
    if log_likelihoods.ndim != 3 or paddings.shape != log_likelihoods.shape[:2]:
        raise ValueError(
            "`log_likelihoods` must be [batch, frames, pdfs] and `paddings` [batch, frames], got "
            f"{log_likelihoods.shape} and {paddings.shape}."
        )
    if len(graphs) != len(paddings):
        raise ValueError(f"`graphs` must be one for each of {len(paddings)} utterances.")
    batch = _stack(graphs)
    states, scores = jax.device_get(_viterbi(log_likelihoods, paddings, batch))
    lengths = np.sum(np.asarray(paddings) == 0, axis=1)
    return [
        Alignment(path[:length], float(score)) if np.isfinite(score) else None
        for path, score, length in zip(states, scores, lengths, strict=True)
    ]


def segments(
    alignment: Alignment, graph: StateGraph, words: Sequence[str], *, frame_seconds: float
) -> tuple[list[Segment], list[Segment]]:
    """An alignment in seconds.

    Args:
        alignment: of an utterance.
        graph: its graph.
        words: its words.
        frame_seconds: from frame to frame.

    Returns:
        The phones, silence among them, and the words, in order.
    """
    slots = graph.slots[alignment.states]
    changes = np.flatnonzero(np.diff(slots)) + 1
    bounds = [0, *changes.tolist(), len(slots)]
    phones, spoken = [], []
    for start, end in itertools.pairwise(bounds):
        if start == end:
            continue
        phone, word = graph.phones[int(slots[start])]
        times = start * frame_seconds, end * frame_seconds
        phones.append(Segment(phone, *times, word))
        if word == NO_WORD:
            continue
        if spoken and spoken[-1].word == word:
            spoken[-1] = spoken[-1]._replace(end=times[1])
        else:
            spoken.append(Segment(words[word], *times, word))
    return phones, spoken


def uniform(graph: StateGraph, num_frames: int, *, silence: float = 0.1) -> Alignment | None:
    """A first alignment that knows nothing: equal parts for all states of one pronunciation.

    Args:
        graph: of the utterance.
        num_frames: its frames.
        silence: share of the frames at each end.

    Returns:
        The alignment with score 0; None if there are fewer frames than states.
    """
    path = [int(np.flatnonzero(graph.is_last)[-1])]
    while True:  # backward from the last silence, by the first predecessor that is no silence
        before = graph.predecessors[path[-1]]
        before = before[before >= 0]
        spoken = [state for state in before if graph.contexts[state].phone != SILENCE]
        if not spoken:
            break
        path.append(int(spoken[0]))
    first = [
        state
        for state in graph.predecessors[path[-1]]
        if state >= 0 and graph.contexts[state].phone == SILENCE
    ]
    path += [int(first[0])] if first else []
    path.reverse()
    if num_frames < len(path):
        return None
    is_silence = np.array([graph.contexts[state].phone == SILENCE for state in path])
    inner = max(1, int(np.sum(~is_silence)))
    weights = np.where(is_silence, silence / max(1, int(is_silence.sum()) / 2), 1.0)
    weights = np.where(is_silence, weights, (1 - 2 * silence) / inner)
    free = num_frames - len(path)
    ends = np.round(np.cumsum(weights / weights.sum()) * free).astype(int)
    lengths = 1 + np.diff(ends, prepend=0)
    return Alignment(np.repeat(np.array(path, np.int32), lengths), 0.0)


def _stack(graphs: Sequence[StateGraph]) -> _Batch:
    """Graphs padded to one size, few of which are compiled."""
    largest = max(len(graph.pdfs) for graph in graphs)
    size = next((size for size in SIZES if size >= largest), None)
    if size is None:
        raise ValueError(
            f"`graphs` must have at most {SIZES[-1]} states, got {largest}; cut the recording and "
            "its text into sentences."
        )
    width = max(graph.predecessors.shape[1] for graph in graphs)
    width = 1 << (width - 1).bit_length()
    batch = _Batch(
        np.zeros((len(graphs), size), np.int32),
        np.full((len(graphs), size, width), size, np.int32),
        np.zeros((len(graphs), size), bool),
        np.zeros((len(graphs), size), bool),
    )
    for row, graph in enumerate(graphs):
        number = len(graph.pdfs)
        batch.pdfs[row, :number] = graph.pdfs
        before = np.where(graph.predecessors < 0, size, graph.predecessors)
        batch.predecessors[row, :number, : before.shape[1]] = before
        batch.is_first[row, :number] = graph.is_first
        batch.is_last[row, :number] = graph.is_last
    return batch


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0))
def _viterbi(
    log_likelihoods: jax.Array, paddings: jax.Array, graph: _Batch
) -> tuple[jax.Array, jax.Array]:
    """The states of the best path ``[frames]``, and its score."""
    emitted = log_likelihoods[:, graph.pdfs]  # [frames, states]
    stay, leave = math.log(STAY), math.log(1 - STAY)

    def step(scores, frame):
        emission, is_padded = frame
        padded = jnp.append(scores, -jnp.inf)
        candidates = jnp.concatenate(
            [(scores + stay)[:, None], padded[graph.predecessors] + leave], axis=1
        )
        choice = jnp.argmax(candidates, axis=1)
        best = jnp.max(candidates, axis=1) + emission
        choice = jnp.where(is_padded, 0, choice)  # padded frames stay where they are
        return jnp.where(is_padded, scores, best), choice.astype(jnp.uint8)

    first = jnp.where(graph.is_first, emitted[0], -jnp.inf)
    scores, choices = jax.lax.scan(step, first, (emitted[1:], paddings[1:] > 0))
    final = jnp.where(graph.is_last, scores, -jnp.inf)
    last = jnp.argmax(final).astype(jnp.int32)

    def back(state, choice):
        options = jnp.append(state, graph.predecessors[state])
        before = options[choice[state]]
        return before, state

    start, states = jax.lax.scan(back, last, choices, reverse=True)
    return jnp.append(start, states), final[last]
