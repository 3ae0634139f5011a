"""Beam search, of which greedy decoding is the beam of one, as one compiled loop.

A hypothesis y of an input x is ranked by

    log p(y | x) / ((5 + |y|) / 6)^alpha

with |y| its tokens, the end included.  The beam narrows: a hypothesis that has ended keeps its
place, and the others share the rest, so that a beam of one ends where greedy decoding does.  Keys
and values of earlier tokens are kept, so that each step runs the decoder over one token.

References:
    Y. Wu et al., "Google's Neural Machine Translation System", 2016, arXiv:1609.08144 (eq. 14).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .byte_pairs import END, PAD, START
from .transformer import Cache, Transformer, empty_cache

ENDED = 1e9  # priority of hypotheses that have ended: above any of the others
IMPOSSIBLE = -1e9


class Hypotheses(NamedTuple):
    """Translations of a batch, the best ones first."""

    tokens: jax.Array  # [batch, beam, T] int32, `PAD` behind `END`
    scores: jax.Array  # [batch, beam] log probabilities over the length penalty
    log_probabilities: jax.Array  # [batch, beam]
    ended: jax.Array  # [batch, beam] bool: False for one that was cut at T


class _State(NamedTuple):
    step: jax.Array  # []
    tokens: jax.Array  # [batch, beam, T]
    log_probabilities: jax.Array  # [batch, beam]
    ended: jax.Array  # [batch, beam]
    last: jax.Array  # [batch, beam] the last tokens
    cache: Cache  # of [batch * beam, ...]


@jax.jit(static_argnames=("model", "beam", "max_length"))
def beam_search(
    model: Transformer,
    params: Any,
    source: jax.Array,
    *,
    beam: int = 4,
    max_length: int = 64,
    alpha: float = 0.6,
) -> Hypotheses:
    """Translates a batch.

    Args:
        model: the network.
        params: its parameters.
        source: [batch, S] int, `END` behind each text, then `PAD`.
        beam: hypotheses of a text; 1 is greedy decoding.
        max_length: tokens of a translation at most, `END` included.
        alpha: exponent of the length penalty; 0 ranks by probability.

    Returns:
        The `beam` best hypotheses.

    Raises:
        ValueError: if `beam` or `max_length` is below 1.
    """
    if beam < 1 or max_length < 1:
        raise ValueError(
            f"`beam` and `max_length` must be at least 1, got {beam} and {max_length}."
        )
    apply: Callable[..., Any] = model.apply
    batch = source.shape[0]
    memory = apply({"params": params}, source, method=Transformer.read)
    memory = jax.tree.map(lambda x: jnp.repeat(x, beam, axis=0), memory)
    first = jnp.arange(beam)[None] == 0  # the others stand for no hypothesis yet
    start = _State(
        step=jnp.zeros([], jnp.int32),
        tokens=jnp.full((batch, beam, max_length), PAD, jnp.int32),
        log_probabilities=jnp.broadcast_to(jnp.where(first, 0.0, IMPOSSIBLE), (batch, beam)),
        ended=jnp.zeros((batch, beam), bool),
        last=jnp.full((batch, beam), START, jnp.int32),
        cache=empty_cache(model.config, batch * beam, max_length),
    )

    def advance(state: _State) -> _State:
        logits, cache = apply(
            {"params": params},
            state.last.reshape(-1, 1),
            memory,
            state.cache,
            state.step,
            method=Transformer.write,
        )
        following = jax.nn.log_softmax(logits[:, 0]).reshape(batch, beam, -1)
        totals = state.log_probabilities[..., None] + following
        chosen, parents, tokens = _choose(totals, state.ended)

        def inherit(x):
            return jnp.take_along_axis(x, parents.reshape(parents.shape + (1,) * (x.ndim - 2)), 1)

        was_ended = inherit(state.ended)
        written = jax.lax.dynamic_update_index_in_dim(
            inherit(state.tokens), tokens, state.step, axis=2
        )
        cache = jax.tree.map(
            lambda x: inherit(x.reshape(batch, beam, *x.shape[1:])).reshape(x.shape), cache
        )
        return _State(
            state.step + 1,
            written,
            jnp.where(was_ended, inherit(state.log_probabilities), chosen),
            was_ended | (tokens == END),
            tokens,
            cache,
        )

    final = jax.lax.while_loop(
        lambda state: (state.step < max_length) & ~jnp.all(state.ended), advance, start
    )
    return _rank(final, alpha)


def _choose(totals: jax.Array, ended: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The best continuations [batch, beam, vocabulary]: their totals, parents and tokens."""
    batch, beam, size = totals.shape
    stays = jnp.broadcast_to((jnp.arange(size) == PAD)[None, None], totals.shape)
    kept = jnp.where(stays, ENDED, 2 * IMPOSSIBLE)
    # A text that goes on has no padding.  What stands for no hypothesis must not end: it would keep
    # its place.
    ends = jnp.broadcast_to((jnp.arange(size) == END)[None, None], totals.shape)
    barred = stays | (ends & (totals < IMPOSSIBLE / 2))
    open_totals = jnp.where(barred, 2 * IMPOSSIBLE, totals)
    priorities = jnp.where(ended[..., None], kept, open_totals)
    chosen, places = jax.lax.top_k(priorities.reshape(batch, beam * size), beam)
    return chosen, places // size, places % size


def _rank(state: _State, alpha: float) -> Hypotheses:
    """Hypotheses by their scores; those that were cut come last."""
    lengths = jnp.sum(state.tokens != PAD, axis=-1)
    scores = state.log_probabilities / ((5.0 + lengths) / 6.0) ** alpha
    order = jnp.argsort(-jnp.where(state.ended, scores, scores + IMPOSSIBLE), axis=1)

    def sort(x):
        return jnp.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - 2)), 1)

    return Hypotheses(
        sort(state.tokens), sort(scores), sort(state.log_probabilities), sort(state.ended)
    )
