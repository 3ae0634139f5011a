"""The search on the host against the one in JAX, with the same networks."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import beam, decoding
from gossamer.speech.transcriber.beam import BeamSearch, Fused
from gossamer.speech.transcriber.greedy import GreedySearch

VOCABULARY, SIZE = 4, 6


class Recurrent:
    """A random recurrent network; counts the rows that it is asked for."""

    sizes = (SIZE,)

    def __init__(self, seed, width):
        generator = np.random.default_rng(seed)
        self.embedding = 2 * generator.normal(size=(VOCABULARY, SIZE)).astype(np.float32)
        self.recurrent = generator.normal(size=(SIZE, SIZE)).astype(np.float32)
        self.output = generator.normal(size=(SIZE, width)).astype(np.float32)
        self.width, self.rows = width, 0

    def step(self, np, tokens, state):
        state = np.tanh(np.asarray(self.embedding)[tokens] + state @ self.recurrent)
        return state @ self.output, state

    def __call__(self, tokens, states):
        self.rows += len(tokens)
        vector, state = self.step(np, tokens, states[0])
        if self.width == VOCABULARY:  # a language model
            vector = vector - np.logaddexp.reduce(vector, axis=1, keepdims=True)
        return vector, [state]


class Case:
    """A random transducer with two language models, and an utterance."""

    def __init__(self, seed, num_frames=9, blank_bias=1.0):
        generator = np.random.default_rng(seed)
        self.predictor = Recurrent(seed, SIZE)
        self.models = [Recurrent(100 + seed, VOCABULARY), Recurrent(200 + seed, VOCABULARY)]
        self.output = generator.normal(size=(SIZE, VOCABULARY)).astype(np.float32)
        self.bias = np.array([[blank_bias, 0, 0, 0]], np.float32)
        self.encoded = 2 * generator.normal(size=(num_frames, SIZE)).astype(np.float32)

    def joiner(self, *, encoded, predicted):
        logits = np.tanh(encoded + predicted) @ self.output + self.bias
        return [logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)]

    def logits(self, encoded, predicted):
        logits = jnp.tanh(encoded + predicted) @ jnp.asarray(self.output)
        return logits + jnp.broadcast_to(jnp.asarray(self.bias), logits.shape)

    def fused(self, weights):
        return tuple(map(Fused, self.models, weights))

    def search(self, **options):
        return BeamSearch(self.predictor, self.joiner, **options)

    def expected(self, weights=(), length_reward=0.0, **options):
        """What `speech.beam` finds."""

        def fusion_step(tokens, states):
            increments, new = length_reward, []
            for model, weight, state in zip(self.models, weights, states, strict=False):
                logits, state = model.step(jnp, tokens, state)
                increments = increments + weight * jax.nn.log_softmax(logits)
                new.append(state)
            return increments + jnp.zeros((len(tokens), VOCABULARY)), tuple(new)

        def start(batch):
            return tuple(jnp.zeros((batch, SIZE)) for _ in weights)

        found = _search(
            jnp.asarray(self.encoded)[None],
            functools.partial(self.predictor.step, jnp),
            self.logits,
            fusion=beam.Fusion(start, fusion_step) if weights or length_reward else None,
            **options,
        )
        return read(found)


def _search(encoded, predictor_step, joiner, **options):
    return jax.jit(
        lambda encoded: beam.beam_search(
            encoded,
            jnp.zeros(encoded.shape[:2]),
            predictor_step=predictor_step,
            joiner=joiner,
            initial_state=jnp.zeros((1, SIZE)),
            **options,
        )
    )(encoded)


def read(found):
    found = jax.device_get(found)
    rows = zip(*(leaf[0] for leaf in found), strict=True)
    lists = []
    for labels, paddings, frames, score in rows:
        length = int(np.sum(paddings == 0))
        if score > -math.inf:
            lists.append((labels[:length].tolist(), frames[:length].tolist(), float(score)))
    return lists


def check(found, expected):
    assert [hypothesis.labels for hypothesis in found] == [labels for labels, _, _ in expected]
    assert [hypothesis.frames for hypothesis in found] == [frames for _, frames, _ in expected]
    scores = [score for _, _, score in expected]
    np.testing.assert_allclose([hypothesis.score for hypothesis in found], scores, atol=2e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("width", "nbest"), [(2, 1), (5, 5)])
def test_the_nbest_list_is_that_of_jax(seed, width, nbest):
    case = Case(seed)
    search = case.search(beam=width, nbest=nbest)
    search.feed(case.encoded, is_last=True)
    check(search.best(nbest), case.expected(beam=width, nbest=nbest))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weights", [(0.6,), (0.8, -0.5)])
def test_so_it_is_with_language_models(seed, weights):
    case = Case(seed)
    search = case.search(beam=4, nbest=4, models=case.fused(weights), length_reward=0.3)
    search.feed(case.encoded, is_last=True)
    check(search.best(4), case.expected(weights, length_reward=0.3, beam=4, nbest=4))


def test_a_language_model_is_asked_where_it_matters():
    case = Case(1, num_frames=30, blank_bias=4.0)
    search = case.search(beam=4, nbest=4, models=case.fused((0.6,)))
    search.feed(case.encoded, is_last=True)
    assert 0 < case.models[0].rows < case.predictor.rows
    check(search.best(4), case.expected((0.6,), beam=4, nbest=4))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fused", [False, True])
def test_pieces_give_the_whole(seed, fused):
    case = Case(seed, num_frames=14)
    options = {"beam": 4, "nbest": 2, "models": case.fused((0.6,)) if fused else ()}
    whole, parts = case.search(**options), case.search(**options)
    whole.feed(case.encoded, is_last=True)
    for part in np.split(case.encoded, [1, 1, 6]):
        parts.feed(part, is_last=len(part) == 8)
    assert parts.best(2) == whole.best(2)


def test_a_stream_keeps_only_the_frames_that_it_needs():
    case = Case(0, num_frames=60, blank_bias=2.0)
    whole, parts = case.search(beam=4), case.search(beam=4)
    whole.feed(case.encoded, is_last=True)
    for start in range(0, 60, 3):
        parts.feed(case.encoded[start : start + 3], is_last=start == 57)
        assert len(parts._encoded) < 30
    assert parts.best() == whole.best()


def test_a_stream_shows_what_it_holds():
    case = Case(0, num_frames=20)
    search = case.search(beam=4)
    search.feed(case.encoded[:10])
    assert search.best()[0].labels


@pytest.mark.parametrize("num_frames", [0, 1])
def test_short_utterances(num_frames):
    case = Case(0, num_frames=num_frames)
    search = case.search(beam=3, nbest=3)
    search.feed(case.encoded, is_last=True)
    if num_frames == 0:
        assert search.best(3) == [([], [], 0.0)]
    else:
        check(search.best(3), case.expected(beam=3, nbest=3))


def test_pruning_keeps_the_best_and_does_less():
    case = Case(2, num_frames=30)
    full, pruned = case.search(beam=8), case.search(beam=8, prune=3.0)
    full.feed(case.encoded, is_last=True)
    before = case.predictor.rows
    pruned.feed(case.encoded, is_last=True)
    assert pruned.best()[0].labels == full.best()[0].labels
    assert case.predictor.rows - before < before


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blank_bias", [-2.0, 1.0])
def test_greedy_search_is_that_of_jax(seed, blank_bias):
    case = Case(seed, num_frames=40, blank_bias=blank_bias)
    found = decoding.greedy_decode(
        jnp.asarray(case.encoded)[None],
        jnp.zeros((1, 40)),
        predictor_step=functools.partial(case.predictor.step, jnp),
        joiner=case.logits,
        initial_state=jnp.zeros((1, SIZE)),
    )
    search = GreedySearch(case.predictor, case.joiner)
    for part in np.split(case.encoded, [3, 3, 20]):
        search.feed(part)
    length = int(np.sum(found.label_paddings == 0))
    (best,) = search.best()
    assert best.labels == found.labels[0, :length].tolist()
    assert best.frames == found.frames[0, :length].tolist()
    np.testing.assert_allclose(best.score, found.scores[0], rtol=1e-5, atol=1e-4)
