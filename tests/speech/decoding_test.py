"""Greedy decoding against a decoder that reads one utterance, one symbol at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.decoding import greedy_decode

VOCABULARY, SIZE, BATCH, FRAMES = 5, 8, 4, 11
LENGTHS = np.array([11, 6, 1, 0])


class Model(NamedTuple):
    """A random recurrent predictor and an additive joiner."""

    embedding: np.ndarray  # [vocabulary, size]
    recurrent: np.ndarray  # [size, size]
    output: np.ndarray  # [size, vocabulary]
    bias: np.ndarray  # [vocabulary]

    def predictor_step(self, tokens, state):
        hidden = jnp.tanh(jnp.asarray(self.embedding)[tokens] + state["hidden"] @ self.recurrent)
        return hidden, {"hidden": hidden, "step": state["step"] + 1}

    def joiner(self, encoded, predicted):
        logits = jnp.tanh(encoded + predicted) @ jnp.asarray(self.output)
        return logits + jnp.broadcast_to(jnp.asarray(self.bias), logits.shape)


def random_model(seed, blank_bias=0.0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    bias = draw(VOCABULARY)
    bias[0] += blank_bias
    return Model(2 * draw(VOCABULARY, SIZE), draw(SIZE, SIZE), draw(SIZE, VOCABULARY), bias)


def random_frames(seed):
    rng = np.random.default_rng(1000 + seed)
    encoded = 2 * rng.standard_normal((BATCH, FRAMES, SIZE)).astype(np.float32)
    return encoded, (np.arange(FRAMES)[None] >= LENGTHS[:, None]).astype(np.float32)


def initial_state(batch):
    return {"hidden": jnp.zeros((batch, SIZE)), "step": jnp.zeros(batch, jnp.int32)}


def decode(model, encoded, paddings, **options):
    @jax.jit
    def run(encoded, paddings):
        return greedy_decode(
            encoded,
            paddings,
            predictor_step=model.predictor_step,
            joiner=model.joiner,
            initial_state=initial_state(len(encoded)),
            **options,
        )

    return jax.device_get(run(encoded, paddings))


def read_one(model, frames, max_symbols, max_labels, blank_id=0):
    """The textbook loop in float64."""
    hidden = np.tanh(model.embedding[blank_id].astype(np.float64))
    labels, times, score = [], [], 0.0
    for t, frame in enumerate(frames):
        for symbol in range(max_symbols + 1):
            logits = np.tanh(frame + hidden) @ model.output + model.bias
            log_probs = logits - np.log(np.sum(np.exp(logits)))
            best = int(np.argmax(log_probs)) if symbol < max_symbols else blank_id
            score += log_probs[best]
            if best == blank_id:
                break
            labels.append(best)
            times.append(t)
            if len(labels) == max_labels:
                return labels, times, score
            hidden = np.tanh(model.embedding[best] + hidden @ model.recurrent)
    return labels, times, score


def check(hypotheses, model, encoded, lengths, max_symbols, max_labels, blank_id=0):
    for row, length in enumerate(lengths):
        labels, times, score = read_one(
            model, encoded[row, :length], max_symbols, max_labels, blank_id
        )
        count = len(labels)
        assert hypotheses.labels[row, :count].tolist() == labels
        assert hypotheses.frames[row, :count].tolist() == times
        assert (hypotheses.labels[row, count:] == blank_id).all()
        expected = np.arange(hypotheses.labels.shape[1]) >= count
        np.testing.assert_array_equal(hypotheses.label_paddings[row], expected)
        # At most 55 log probabilities are summed, each rounded to float32 from logits near 10.
        np.testing.assert_allclose(hypotheses.scores[row], score, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("blank_bias", [-1.0, 2.0])
@pytest.mark.parametrize("max_symbols", [1, 4])
@pytest.mark.parametrize("lookahead", [1, 4])
def test_agrees_with_the_textbook_loop(blank_bias, max_symbols, lookahead):
    model = random_model(0, blank_bias)
    encoded, paddings = random_frames(0)
    hypotheses = decode(
        model, encoded, paddings, max_symbols_per_frame=max_symbols, lookahead=lookahead
    )
    assert hypotheses.labels.shape == (BATCH, FRAMES * max_symbols)
    check(hypotheses, model, encoded, LENGTHS, max_symbols, None)


def test_agrees_with_the_textbook_loop_on_many_models():
    # One model per row would need one compilation each; instead the model's arrays are traced.
    @jax.jit
    def run(model, encoded, paddings):
        return greedy_decode(
            encoded,
            paddings,
            predictor_step=model.predictor_step,
            joiner=model.joiner,
            initial_state=initial_state(BATCH),
            max_symbols_per_frame=2,
            lookahead=3,
        )

    emitted = 0
    for seed in range(30):
        model = random_model(seed, blank_bias=seed % 5 - 1.0)
        encoded, paddings = random_frames(seed)
        hypotheses = jax.device_get(run(model, encoded, paddings))
        check(hypotheses, model, encoded, LENGTHS, 2, None)
        emitted += (1 - hypotheses.label_paddings).sum()
    assert 100 < emitted < 30 * 2 * LENGTHS.sum()  # neither always nor never blank
    assert run._cache_size() == 1


def test_never_blank_emits_the_bound_at_every_frame():
    model = random_model(1, blank_bias=-1e3)
    encoded, paddings = random_frames(1)
    hypotheses = decode(model, encoded, paddings, max_symbols_per_frame=3)
    np.testing.assert_array_equal((1 - hypotheses.label_paddings).sum(axis=1), 3 * LENGTHS)
    np.testing.assert_array_equal(hypotheses.frames[0], np.repeat(np.arange(FRAMES), 3))
    check(hypotheses, model, encoded, LENGTHS, 3, None)  # the blank of the last frame counts


def test_always_blank_emits_nothing():
    model = random_model(2, blank_bias=1e3)
    encoded, paddings = random_frames(2)
    hypotheses = decode(model, encoded, paddings)
    assert hypotheses.label_paddings.all()
    assert not hypotheses.labels.any()
    np.testing.assert_array_equal(hypotheses.scores, 0)


@pytest.mark.parametrize("max_labels", [1, 3])
def test_a_full_hypothesis_stops(max_labels):
    model = random_model(3, blank_bias=-1.0)
    encoded, paddings = random_frames(3)
    hypotheses = decode(model, encoded, paddings, max_labels=max_labels)
    assert hypotheses.labels.shape == (BATCH, max_labels)
    assert not hypotheses.label_paddings[0].any()
    check(hypotheses, model, encoded, LENGTHS, 4, max_labels)


def test_another_blank():
    model = random_model(4, blank_bias=1.0)
    model = model._replace(bias=np.roll(model.bias, 2))
    encoded, paddings = random_frames(4)
    hypotheses = decode(model, encoded, paddings, blank_id=2)
    check(hypotheses, model, encoded, LENGTHS, 4, None, blank_id=2)


def test_padding_changes_nothing():
    model = random_model(5, blank_bias=1.0)
    encoded, paddings = random_frames(5)
    short = decode(model, encoded, paddings, max_labels=20)
    more = np.full((BATCH, 7, SIZE), np.nan, np.float32)
    garbage = np.where(paddings[:, :, None] == 1, np.nan, encoded)
    long = decode(
        model,
        np.concatenate([garbage, more], axis=1),
        np.concatenate([paddings, np.ones((BATCH, 7), np.float32)], axis=1),
        max_labels=20,
    )
    jax.tree.map(np.testing.assert_array_equal, short, long)


def test_an_utterance_alone_is_read_as_in_a_batch():
    model = random_model(6, blank_bias=1.0)
    encoded, paddings = random_frames(6)
    together = decode(model, encoded, paddings)
    for row in range(BATCH):
        alone = decode(model, encoded[row : row + 1], paddings[row : row + 1])
        np.testing.assert_array_equal(alone.labels[0], together.labels[row])
        np.testing.assert_array_equal(alone.frames[0], together.frames[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "padding_shape", "options", "argument"),
    [
        ((2, 3, SIZE), (3, 2), {}, "`encoded_paddings`"),
        ((3, SIZE), (3,), {}, "`encoded`"),
        ((2, 0, SIZE), (2, 0), {}, "`encoded.shape"),
        ((2, 3, SIZE), (2, 3), {"max_symbols_per_frame": 0}, "`max_symbols_per_frame`"),
        ((2, 3, SIZE), (2, 3), {"max_labels": 0}, "`max_labels`"),
        ((2, 3, SIZE), (2, 3), {"lookahead": 0}, "`lookahead`"),
    ],
)
def test_bad_arguments_are_named(shape, padding_shape, options, argument):
    with pytest.raises(ValueError, match=argument):
        decode(random_model(0), jnp.zeros(shape), jnp.zeros(padding_shape), **options)
