"""What holds of every n-best list, where a search ends, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import decoding
from gossamer.speech.beam import Fusion, beam_search

from .beam_cases import BATCH, SIZE, VOCABULARY, build, random_frames, random_model, read


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
