"""Beam search against enumeration, a plain search over dictionaries, and a time-synchronous one."""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import decoding
from gossamer.speech.beam import Fusion, beam_search

VOCABULARY, SIZE, BATCH = 4, 6, 4


class Model(NamedTuple):
    """A random recurrent predictor, an additive joiner, and a bigram to fuse with."""

    embedding: np.ndarray  # [vocabulary, size]
    recurrent: np.ndarray  # [size, size]
    output: np.ndarray  # [size, vocabulary]
    bias: np.ndarray  # [vocabulary]
    bigram: np.ndarray  # [vocabulary, vocabulary]

    def predictor_step(self, tokens, state):
        hidden = jnp.tanh(jnp.asarray(self.embedding)[tokens] + state["hidden"] @ self.recurrent)
        return hidden, {"hidden": hidden, "step": state["step"] + 1}

    def joiner(self, encoded, predicted):
        logits = jnp.tanh(encoded + predicted) @ jnp.asarray(self.output)
        return logits + jnp.broadcast_to(jnp.asarray(self.bias), logits.shape)

    def log_probs(self, frame, labels, blank_id=0):
        """Float64, ``[vocabulary]``, after a whole prefix; no state that could be wrong."""
        hidden = np.zeros(SIZE)
        for label in (blank_id, *labels):
            hidden = np.tanh(self.embedding[label] + hidden @ self.recurrent)
        logits = np.tanh(frame + hidden) @ self.output + self.bias
        return logits - np.log(np.sum(np.exp(logits)))

    def fusion(self):
        """A bigram whose state is the label before, so that states must be chosen rightly too."""

        def step(tokens, state):
            del state
            return jnp.asarray(self.bigram)[tokens], tokens

        return Fusion(lambda batch: jnp.zeros(batch, jnp.int32), step)

    def fused(self, labels):
        pairs = itertools.pairwise((0, *labels))
        return sum(float(self.bigram[pair]) for pair in pairs)


def random_model(seed, blank_bias=0.0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    bias = draw(VOCABULARY)
    bias[0] += blank_bias
    return Model(
        2 * draw(VOCABULARY, SIZE),
        draw(SIZE, SIZE),
        draw(SIZE, VOCABULARY),
        bias,
        draw(VOCABULARY, VOCABULARY),
    )


def random_frames(seed, lengths):
    rng = np.random.default_rng(1000 + seed)
    num_frames = max(lengths)
    encoded = 2 * rng.standard_normal((len(lengths), num_frames, SIZE)).astype(np.float32)
    paddings = np.arange(num_frames)[None] >= np.asarray(lengths)[:, None]
    return encoded, paddings.astype(np.float32)


@functools.cache
def build(*, fused=False, search=beam_search, **options):
    """A jitted search with the model's arrays as arguments: one compilation for many models."""

    @jax.jit
    def run(model, encoded, paddings):
        batch = len(encoded)
        more = {"fusion": model.fusion()} if fused else {}
        return search(
            encoded,
            paddings,
            predictor_step=model.predictor_step,
            joiner=model.joiner,
            initial_state={
                "hidden": jnp.zeros((batch, SIZE)),
                "step": jnp.zeros(batch, jnp.int32),
            },
            **more,
            **options,
        )

    return run


def read(found, row):
    """What one utterance's n-best list holds, as ``[(labels, score), ...]``."""
    lengths = np.sum(found.label_paddings[row] == 0, axis=1)
    return [
        (tuple(labels[:length].tolist()), float(score))
        for labels, length, score in zip(found.labels[row], lengths, found.scores[row], strict=True)
        if score > -math.inf
    ]


def total_log_prob(model, frames, labels, blank_id=0):
    """Sums all alignments by the forward recursion."""
    alpha = np.full((len(frames) + 1, len(labels) + 1), -np.inf)
    alpha[0, 0] = 0
    for t, u in itertools.product(range(len(frames)), range(len(labels) + 1)):
        log_probs = model.log_probs(frames[t], labels[:u], blank_id)
        alpha[t + 1, u] = np.logaddexp(alpha[t + 1, u], alpha[t, u] + log_probs[blank_id])
        if u < len(labels):
            alpha[t, u + 1] = np.logaddexp(alpha[t, u + 1], alpha[t, u] + log_probs[labels[u]])
    return alpha[-1, -1]


def enumerate_all(model, frames, max_labels, *, fused=False, blank_id=0):
    """Every label sequence, the likeliest first."""
    labels = [label for label in range(VOCABULARY) if label != blank_id]
    sequences = itertools.chain.from_iterable(
        itertools.product(labels, repeat=length) for length in range(max_labels + 1)
    )
    scored = [
        (
            sequence,
            total_log_prob(model, frames, sequence, blank_id)
            + (model.fused(sequence) if fused else 0),
        )
        for sequence in sequences
    ]
    return sorted(scored, key=lambda pair: -pair[1])


def search_dictionaries(model, frames, beam, max_labels, *, max_symbols=None, fused=False):
    """The same algorithm for one utterance, its beam a dictionary of labels."""
    hypotheses: dict = {(): (0.0, ())}
    complete = {}
    for step in range(len(frames) + max_labels):
        extended: dict = {}
        for labels, (score, times) in hypotheses.items():
            frame = step - len(labels)
            log_probs = model.log_probs(frames[frame], labels)
            for token in range(VOCABULARY):
                new, new_times = (
                    (labels, times) if token == 0 else ((*labels, token), (*times, frame))
                )
                if token and (len(new) > max_labels or times.count(frame) == max_symbols):
                    continue
                new_score = score + log_probs[token]
                if fused and token:
                    new_score += model.fused(new) - model.fused(labels)
                if token == 0 and frame == len(frames) - 1:
                    complete[new] = new_score, times
                    continue
                other, other_times = extended.get(new, (-np.inf, ()))
                likelier = new_times if new_score > other else other_times
                extended[new] = np.logaddexp(new_score, other), likelier
        hypotheses = dict(sorted(extended.items(), key=lambda pair: -pair[1][0])[:beam])
    ranked = sorted(complete.items(), key=lambda pair: -pair[1][0])[:beam]
    return [(labels, score, times) for labels, (score, times) in ranked]


def search_by_time(model, frames, beam, max_symbols):
    """Time-synchronous: all hypotheses have read the same frames."""
    hypotheses = {(): 0.0}
    for frame in frames:
        following: dict = {}
        level = hypotheses
        for symbols in range(max_symbols + 1):
            longer: dict = {}
            for labels, score in level.items():
                log_probs = model.log_probs(frame, labels)
                stay = score + log_probs[0]
                following[labels] = np.logaddexp(following.get(labels, -np.inf), stay)
                if symbols == max_symbols:
                    continue
                for token in range(1, VOCABULARY):
                    new = (*labels, token)
                    longer[new] = np.logaddexp(longer.get(new, -np.inf), score + log_probs[token])
            level = dict(sorted(longer.items(), key=lambda pair: -pair[1])[:beam])
        hypotheses = dict(sorted(following.items(), key=lambda pair: -pair[1])[:beam])
    return sorted(hypotheses.items(), key=lambda pair: -pair[1])


def check_lists(found, expected):
    """Equal sequences with equal scores; equal scores may be in any order."""
    assert len(found) == len(expected)
    # A score sums up to 30 log probabilities, each rounded to float32 from logits near 10.
    np.testing.assert_allclose(
        [score for _, score in found], [score for _, score in expected], rtol=1e-5, atol=1e-5
    )
    scores = dict(expected)
    for labels, score in found:
        assert scores[labels] == pytest.approx(score, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_a_wide_beam_finds_what_enumeration_finds(fused):
    # 40 sequences of at most 3 labels from 3; no alignment length has more hypotheses.
    run = build(beam=40, max_labels=3, max_symbols_per_frame=None, fused=fused)
    for seed in range(6):
        model = random_model(seed, blank_bias=seed % 3 - 1.0)
        encoded, paddings = random_frames(seed, (3, 2, 1, 0))
        found = jax.device_get(run(model, encoded, paddings))
        for row, length in enumerate((3, 2, 1)):
            expected = enumerate_all(model, encoded[row, :length], 3, fused=fused)
            check_lists(read(found, row), expected)
        assert read(found, 3) == [((), 0.0)]


def test_bounds_labels_by_frames_by_default():
    model = random_model(3)
    encoded, paddings = random_frames(3, (3, 2, 1, 0))
    found = jax.device_get(build(beam=40, max_symbols_per_frame=3)(model, encoded, paddings))
    assert found.labels.shape == (4, 40, 3)
    for row, length in enumerate((3, 2, 1)):
        check_lists(read(found, row), enumerate_all(model, encoded[row, :length], length))


def test_another_blank():
    model = random_model(4)
    encoded, paddings = random_frames(4, (3, 2, 1, 0))
    found = jax.device_get(build(beam=40, max_labels=3, blank_id=2)(model, encoded, paddings))
    check_lists(read(found, 0), enumerate_all(model, encoded[0], 3, blank_id=2))
    assert (found.labels[found.label_paddings == 1] == 2).all()


@pytest.mark.parametrize(
    ("beam", "fused", "max_symbols"),
    [(1, False, 1), (2, True, None), (5, False, None), (5, True, 2)],
)
def test_a_narrow_beam_agrees_with_the_search_over_dictionaries(beam, fused, max_symbols):
    bounds = {"max_labels": 9, "max_symbols_per_frame": max_symbols}
    run = build(beam=beam, fused=fused, **bounds)
    lengths = (11, 6, 1, 0)
    for seed in range(10):
        model = random_model(seed, blank_bias=seed % 5 - 1.0)
        encoded, paddings = random_frames(seed, lengths)
        found = jax.device_get(run(model, encoded, paddings))
        for row, length in enumerate(lengths[:3]):
            expected = search_dictionaries(
                model, encoded[row, :length], beam, 9, max_symbols=max_symbols, fused=fused
            )
            check_lists(read(found, row), [pair[:2] for pair in expected])
            labels, _, times = expected[0]
            assert found.labels[row, 0, : len(labels)].tolist() == list(labels)
            assert found.frames[row, 0, : len(labels)].tolist() == list(times)
    assert run._cache_size() == 1


def test_agrees_with_a_time_synchronous_search():
    run = build(beam=64, nbest=5, max_labels=12, max_symbols_per_frame=3)
    for seed in range(4):
        model = random_model(seed, blank_bias=2.0)
        encoded, paddings = random_frames(seed, (6, 6, 6, 6))
        found = jax.device_get(run(model, encoded, paddings))
        for row in range(2):
            expected = search_by_time(model, encoded[row], beam=64, max_symbols=3)
            (labels, score), *_ = read(found, row)
            assert labels == expected[0][0]
            # The two prune, and bound the labels, differently: less than a hundredth of the mass.
            assert score == pytest.approx(expected[0][1], abs=1e-2)


def test_scores_no_less_than_greedy_decoding():
    # Greedy decoding follows one alignment, the beam sums many.  A pruned beam cannot promise it,
    # and without a bound on symbols per frame it fails on such models.
    beam = build(beam=8, max_labels=44)
    greedy = build(search=decoding.greedy_decode, max_labels=44)
    for seed in range(30):
        model = random_model(seed, blank_bias=1.0 + seed % 3)
        encoded, paddings = random_frames(seed, (11, 6, 1, 0))
        found = jax.device_get(beam(model, encoded, paddings))
        path = jax.device_get(greedy(model, encoded, paddings))
        assert (found.scores[:, 0] >= path.scores - 1e-5).all()


def test_lists_are_sorted_distinct_and_padded():
    model = random_model(5, blank_bias=1.0)
    lengths = (11, 6, 1, 0)
    encoded, paddings = random_frames(5, lengths)
    found = jax.device_get(build(beam=8, max_labels=44)(model, encoded, paddings))
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    for row, length in enumerate(lengths):
        sequences = [labels for labels, _ in read(found, row)]
        assert len(set(sequences)) == len(sequences)
        for place in range(len(sequences)):
            count = len(sequences[place])
            frames = found.frames[row, place, :count]
            assert (np.diff(frames) >= 0).all()
            assert ((frames >= 0) & (frames < length)).all()
    assert (found.labels[found.label_paddings == 1] == 0).all()
    assert (found.frames[found.label_paddings == 1] == 0).all()


def test_frames_are_those_of_the_emission():
    # Certain: label 1 at frame 1 and labels 2, 3 at frame 3, nothing else.
    logits = np.full((5, 4, VOCABULARY), -20.0, np.float32)  # [frames, labels so far, vocabulary]
    logits[:, :, 0] = 0
    for frame, before, label in ((1, 0, 1), (3, 1, 2), (3, 2, 3)):
        logits[frame, before] = -20.0
        logits[frame, before, label] = 0
    search = functools.partial(
        beam_search,
        predictor_step=lambda tokens, state: (state[:, None].astype(jnp.float32), state + 1),
        joiner=lambda encoded, predicted: jnp.asarray(logits)[
            encoded[:, 0].astype(jnp.int32), predicted[:, 0].astype(jnp.int32)
        ],
        initial_state=jnp.zeros(1, jnp.int32),
        beam=4,
    )
    found = jax.device_get(jax.jit(search)(jnp.arange(5.0)[None, :, None], jnp.zeros((1, 5))))
    assert read(found, 0)[0][0] == (1, 2, 3)
    assert found.frames[0, 0].tolist() == [1, 3, 3, 0, 0]


def test_stopping_early_loses_nothing():
    # A fusion of zeros adds nothing, but the search cannot know that and runs to the end.
    def fuse(*arguments, **options):
        zeros = Fusion(
            lambda batch: (), lambda tokens, state: (jnp.zeros((len(tokens), VOCABULARY)), state)
        )
        return beam_search(*arguments, fusion=zeros, **options)

    early, late = (build(search=search, beam=4, nbest=2) for search in (beam_search, fuse))
    for seed in range(10):
        model = random_model(seed, blank_bias=seed % 5 - 1.0)
        arguments = (model, *random_frames(seed, (11, 6, 1, 0)))
        jax.tree.map(np.testing.assert_array_equal, early(*arguments), late(*arguments))


def test_never_blank_still_ends():
    model = random_model(1, blank_bias=-1e3)
    encoded, paddings = random_frames(1, (11, 6, 1, 0))
    found = jax.device_get(
        build(beam=3, max_labels=5, max_symbols_per_frame=None)(model, encoded, paddings)
    )
    assert np.isfinite(found.scores[:3]).all()
    assert not found.label_paddings[0].any()  # the beam holds labels only, until none is allowed


def test_always_blank_emits_nothing():
    model = random_model(2, blank_bias=1e3)
    encoded, paddings = random_frames(2, (11, 6, 1, 0))
    found = jax.device_get(build(beam=3)(model, encoded, paddings))
    assert found.label_paddings[:, 0].all()
    np.testing.assert_array_equal(found.scores[:, 0], 0)


def test_logits_that_are_no_numbers_end_with_empty_lists():
    model = random_model(2)._replace(bias=np.full(VOCABULARY, np.nan, np.float32))
    encoded, paddings = random_frames(2, (11, 6, 1, 0))
    found = jax.device_get(build(beam=3)(model, encoded, paddings))
    assert not np.isfinite(found.scores[:3]).any()
    assert found.label_paddings.all()


def test_padding_and_the_batch_change_nothing():
    model = random_model(6, blank_bias=1.0)
    encoded, paddings = random_frames(6, (11, 6, 1, 0))
    run = build(beam=4, max_labels=11)
    alone = run(model, encoded, paddings)
    more = np.full((BATCH, 7, SIZE), np.nan, np.float32)
    padded = run(
        model,
        np.concatenate([np.where(paddings[:, :, None] == 1, np.nan, encoded), more], axis=1),
        np.concatenate([paddings, np.ones((BATCH, 7), np.float32)], axis=1),
    )
    jax.tree.map(np.testing.assert_array_equal, alone, padded)
    order = np.array([2, 0, 3, 1])
    shuffled = run(model, encoded[order], paddings[order])
    # Rows may be summed in another order, as the compiler lays them out.
    np.testing.assert_array_equal(shuffled.labels, alone.labels[order])
    np.testing.assert_array_equal(shuffled.frames, alone.frames[order])
    np.testing.assert_allclose(shuffled.scores, alone.scores[order], rtol=1e-5, atol=1e-5)


def test_can_be_had_from_decoding():
    assert decoding.beam_search is beam_search


@pytest.mark.parametrize(
    ("shape", "padding_shape", "options", "argument"),
    [
        ((2, 3, SIZE), (3, 2), {}, "`encoded_paddings`"),
        ((2, 0, SIZE), (2, 0), {}, "`encoded.shape"),
        ((2, 3, SIZE), (2, 3), {"beam": 0}, "`beam` must be positive, got 0"),
        ((2, 3, SIZE), (2, 3), {"nbest": 0}, "`nbest`"),
        ((2, 3, SIZE), (2, 3), {"max_labels": 0}, "`max_labels`"),
        ((2, 3, SIZE), (2, 3), {"max_symbols_per_frame": 0}, "`max_symbols_per_frame`"),
    ],
)
def test_bad_arguments_are_named(shape, padding_shape, options, argument):
    with pytest.raises(ValueError, match=argument):
        build(**options)(random_model(0), jnp.zeros(shape), jnp.zeros(padding_shape))
