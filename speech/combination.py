"""Several transducers that read together, by the weighted mean of their log probabilities.

At every frame t after labels y the search sees

    log P(k | t, y) = sum_m w_m log P_m(k | t, y) - log Z,    sum_m w_m = 1,

each network with an encoder, a predictor and a state of its own; Z makes it a distribution again.
Networks must know the same labels and make as many frames of a recording.

References:
    Saon, Tueske, Bolanos, Kingsbury, Advancing RNN transducer technology for speech recognition,
    2021, arXiv:2103.09935.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .beam import Joiner, PredictorStep


class Network(NamedTuple):
    """A transducer that has heard a batch of recordings, as `beam_search` takes it."""

    encoded: jax.Array  # [batch, frames, E]
    encoded_paddings: jax.Array  # [batch, frames]
    predictor_step: PredictorStep
    joiner: Joiner
    initial_state: Any


def combine(networks: Sequence[Network], weights: Sequence[float] | None = None) -> Network:
    """Makes one network of several; call it inside `jax.jit`.

    Args:
        networks: at least one, over the same recordings.
        weights: of their log probabilities, with the sum 1; equal by default.

    Returns:
        The network, whose vectors are those of all of them side by side.

    Raises:
        ValueError: if the numbers of frames differ, or there are not as many weights.
    """
    shapes = [network.encoded_paddings.shape for network in networks]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"`networks` must make as many frames of a recording, got {shapes}; combine models of "
            "the same `reduction`."
        )
    if weights is None:
        weights = [1 / len(networks)] * len(networks)
    if len(weights) != len(networks):
        raise ValueError(
            f"`weights` must be one for each of {len(networks)} networks, got {len(weights)}."
        )
    first = networks[0]
    encoded_sizes = [network.encoded.shape[-1] for network in networks]
    token = jnp.zeros(first.encoded.shape[0], jnp.int32)
    predicted_sizes = [
        jax.eval_shape(network.predictor_step, token, network.initial_state)[0].shape[-1]
        for network in networks
    ]

    def predictor_step(tokens: jax.Array, states: Any) -> tuple[jax.Array, Any]:
        found = [
            network.predictor_step(tokens, state)
            for network, state in zip(networks, states, strict=True)
        ]
        return _side_by_side([vector for vector, _ in found]), tuple(state for _, state in found)

    def joiner(encoded: jax.Array, predicted: jax.Array) -> jax.Array:
        total = jnp.zeros(())
        parts = zip(
            networks, weights, _parts(encoded, encoded_sizes), _parts(predicted, predicted_sizes),
            strict=True,
        )  # fmt: skip
        for network, weight, frames, prefixes in parts:
            logits = network.joiner(frames, prefixes).astype(jnp.float32)
            total += weight * jax.nn.log_softmax(logits)
        return total

    return Network(
        _side_by_side([network.encoded for network in networks]),
        first.encoded_paddings,
        predictor_step,
        joiner,
        tuple(network.initial_state for network in networks),
    )


def _side_by_side(vectors: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate(vectors, axis=-1)


def _parts(vectors: jax.Array, sizes: Sequence[int]) -> list[jax.Array]:
    return jnp.split(vectors, list(itertools.accumulate(sizes))[:-1], axis=-1)
