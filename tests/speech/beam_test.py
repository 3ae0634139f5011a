"""Beam search against enumeration, a plain search over dictionaries, and a time-synchronous one."""

import itertools

import jax
import numpy as np
import pytest

from .beam_cases import VOCABULARY, build, random_frames, random_model, read


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
