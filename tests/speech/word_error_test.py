"""Error rates against jiwer, and the interval against closed forms."""

import math

import jiwer
import numpy as np
import pytest
import scipy.stats

from gossamer.speech.word_error import align, word_error_rate

WORDS = ["press", "one", "two", "three", "for", "the", "sales", "department", "please", "hold"]


def random_texts(seed, num_texts=40, shortest=1):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(shortest, 9))) for _ in range(num_texts)]


@pytest.mark.parametrize("seed", range(3))
def test_rates_agree_with_jiwer(seed):
    references, hypotheses = random_texts(seed), random_texts(seed + 100, shortest=0)
    ours = word_error_rate(references, hypotheses, num_samples=10)
    theirs = jiwer.process_words(references, hypotheses)
    assert ours.rate == pytest.approx(theirs.wer, rel=1e-12)
    assert ours.character_error_rate == pytest.approx(jiwer.cer(references, hypotheses), rel=1e-12)
    assert ours.words == theirs.hits + theirs.substitutions + theirs.deletions
    assert ours.words == sum(len(text.split()) for text in references)
    # Of equally cheap alignments either may be counted, but the difference of lengths is fixed.
    assert ours.insertions - ours.deletions == theirs.insertions - theirs.deletions


def test_counts_by_hand():
    errors = word_error_rate(["a b c", "d", "e f"], ["a x c", "", "e f g"])
    assert (errors.substitutions, errors.deletions, errors.insertions) == (1, 1, 1)
    assert errors.words == 6
    assert errors.rate == 0.5
    assert errors.character_error_rate == (1 + 1 + 2) / (5 + 1 + 3)


def test_white_space_does_not_count():
    errors = word_error_rate(["  thank   you "], ["thank you"])
    assert (errors.rate, errors.character_error_rate) == (0, 0)


def test_interval_agrees_with_the_binomial():
    # One word per utterance, a third of them wrong: a draw has binomial(300, 1/3) errors, with a
    # standard deviation of 8.2.  Of 10,000 draws the 2.5% quantile has a standard error of
    # sqrt(.025 * .975 / 10000) / .058 * 8.2 = 0.2, which rounding to whole errors stretches to one.
    errors = word_error_rate(["a"] * 300, ["a"] * 200 + ["b"] * 100)
    low, high = scipy.stats.binom.ppf([0.025, 0.975], 300, 1 / 3)
    assert abs(300 * errors.low - low) < 1.01
    assert abs(300 * errors.high - high) < 1.01


def test_a_higher_confidence_is_a_wider_interval():
    references, hypotheses = random_texts(0), random_texts(1)
    narrow = word_error_rate(references, hypotheses, confidence=0.5, num_samples=500)
    wide = word_error_rate(references, hypotheses, confidence=0.99, num_samples=500)
    assert wide.low < narrow.low < narrow.rate < narrow.high < wide.high


def test_interval_depends_on_the_seed_alone():
    references, hypotheses = random_texts(0), random_texts(1)
    options = {"num_samples": 50}
    first = word_error_rate(references, hypotheses, **options)
    assert first == word_error_rate(references, hypotheses, **options)
    assert first[:1] == word_error_rate(references, hypotheses, **options, seed=1)[:1]
    assert first[1:3] != word_error_rate(references, hypotheses, **options, seed=1)[1:3]


@pytest.mark.parametrize(
    ("references", "hypotheses", "rate"),
    [
        ([""], [""], 0.0),
        ([""], ["a b"], math.inf),
        (["a b"], [""], 1.0),
        (["a", ""], ["a", "b"], 1.0),
    ],
)
def test_empty_texts(references, hypotheses, rate):
    errors = word_error_rate(references, hypotheses)
    assert errors.rate == rate
    assert errors.character_error_rate == rate or rate not in (0.0, math.inf)
    assert not math.isnan(errors.low)
    assert errors.low <= errors.high


@pytest.mark.parametrize(
    ("reference", "hypothesis", "columns"),
    [
        ("", "", []),
        ("a", "", [("a", None)]),
        ("", "a", [(None, "a")]),
        ("a b", "a c", [("a", "a"), ("b", "c")]),
        ("a b c", "a c d", [("a", "a"), ("b", None), ("c", "c"), (None, "d")]),
    ],
)
def test_align_by_hand(reference, hypothesis, columns):
    assert align(reference, hypothesis) == columns


@pytest.mark.parametrize("seed", range(5))
def test_an_alignment_spells_both_texts(seed):
    (reference,), (hypothesis,) = random_texts(seed, 1), random_texts(seed + 50, 1)
    columns = align(reference, hypothesis)
    assert " ".join(spoken for spoken, _ in columns if spoken) == reference
    assert " ".join(heard for _, heard in columns if heard) == hypothesis
    errors = sum(spoken != heard for spoken, heard in columns)
    assert errors / len(reference.split()) == pytest.approx(jiwer.wer(reference, hypothesis))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("a", ["a"]), {}, TypeError, "`references`"),
        (([], []), {}, ValueError, "positive length, got 0 and 0"),
        ((["a"], ["a", "b"]), {}, ValueError, "got 1 and 2"),
        ((["a"], ["a"]), {"confidence": 95}, ValueError, "`confidence`.*got 95"),
        ((["a"], ["a"]), {"num_samples": 0}, ValueError, "`num_samples`"),
    ],
)
def test_bad_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        word_error_rate(*arguments, **options)
