"""Greedy search on the host against the one in JAX, with the same networks."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import decoding
from gossamer.speech.transcriber.greedy import GreedySearch

VOCABULARY, SIZE = 4, 6


class Predictor:
    """A random recurrent network."""

    sizes, width = (SIZE,), SIZE

    def __init__(self, generator):
        self.embedding = 2 * generator.normal(size=(VOCABULARY, SIZE)).astype(np.float32)
        self.recurrent = generator.normal(size=(SIZE, SIZE)).astype(np.float32)

    def step(self, np, tokens, state):
        state = np.tanh(np.asarray(self.embedding)[tokens] + state @ self.recurrent)
        return state, state

    def __call__(self, tokens, states):
        vector, state = self.step(np, tokens, states[0])
        return vector, [state]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blank_bias", [-2.0, 1.0])
def test_greedy_search_is_that_of_jax(seed, blank_bias):
    generator = np.random.default_rng(seed)
    predictor = Predictor(generator)
    output = generator.normal(size=(SIZE, VOCABULARY)).astype(np.float32)
    bias = np.array([[blank_bias, 0, 0, 0]], np.float32)
    encoded = 2 * generator.normal(size=(40, SIZE)).astype(np.float32)

    def joiner(*, encoded, predicted):
        logits = np.tanh(encoded + predicted) @ output + bias
        return [logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)]

    def logits(encoded, predicted):
        product = jnp.tanh(encoded + predicted) @ output
        return product + jnp.broadcast_to(jnp.asarray(bias), product.shape)

    expected = decoding.greedy_decode(
        jnp.asarray(encoded)[None],
        jnp.zeros((1, 40)),
        predictor_step=functools.partial(predictor.step, jnp),
        joiner=logits,
        initial_state=jnp.zeros((1, SIZE)),
    )
    search = GreedySearch(predictor, joiner)
    for part in np.split(encoded, [3, 3, 20]):
        search.feed(part)
    length = int(np.sum(expected.label_paddings == 0))
    (best,) = search.best()
    assert length > 3
    assert best.labels == expected.labels[0, :length].tolist()
    assert best.frames == expected.frames[0, :length].tolist()
    np.testing.assert_allclose(best.score, expected.scores[0], rtol=1e-5, atol=1e-4)
