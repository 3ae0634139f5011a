import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.speech.corpora import splicing
from gossamer.speech.corpora.corpus import Utterance, Utterances, Word

RATE = 1000


def make(sizes):
    """Recordings whose word number w of utterance u lasts 0.2 s and sounds like 1 + 100 u + w."""
    recordings, words = [], []
    for u, size in enumerate(sizes):
        sound = np.repeat(1.0 + 100 * u + np.arange(size), RATE // 5).astype(np.float32)
        aligned = tuple(Word(f"w{u}x{w}", 0.2 * w + 0.01, 0.2 * w + 0.19) for w in range(size))
        text = " ".join(word.text for word in aligned)
        recordings.append(Utterance(f"u{u}", text, sound, RATE))
        words.append(aligned)
    return Utterances.of(recordings), words


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 3))
def test_sound_and_text_of_a_sentence_belong_together(sizes, seed):
    utterances, words = make(sizes)
    pool = splicing.splice(utterances, words, number=4, seed=seed, seconds=(0.4, 2.0))
    assert len(pool) == len(utterances) + 4
    for index in range(len(pool)):
        utterance = pool[index]
        assert utterance.text == pool.texts[index]
        assert len(utterance.waveform) == pytest.approx(pool.seconds[index] * RATE, abs=8)
        middles = utterance.waveform[RATE // 10 :: RATE // 5]
        heard = [f"w{int(value - 1) // 100}x{int(value - 1) % 100}" for value in middles]
        assert heard == utterance.text.split()


def test_originals_are_repeated_and_come_first():
    utterances, words = make([2, 3])
    pool = splicing.splice(utterances, words, number=1, repeats=3)
    assert pool.texts[:6] == utterances.texts * 3
    assert pool[4].name == "u0"


def test_the_pool_follows_from_the_seed():
    utterances, words = make([4, 5, 6])
    texts = [splicing.splice(utterances, words, number=9, seed=seed).texts for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_runs_are_no_longer_than_asked():
    utterances, words = make([6] * 4)
    pool = splicing.splice(utterances, words, number=50, max_words=1, seconds=(1.0, 2.0))
    neighbors = 0
    for text in pool.texts[4:]:
        spoken = text.split()
        neighbors += sum(
            a[:2] == b[:2] and int(b[3:]) == int(a[3:]) + 1 for a, b in itertools.pairwise(spoken)
        )
    # By chance one of 24 words follows its predecessor with probability 5 in 144; three times that
    # is far off.
    assert neighbors < 3 * 5 / 144 * sum(len(text.split()) for text in pool.texts[4:])


def test_crossfade_keeps_length_and_silences_the_seam():
    joined = splicing.crossfade([np.ones(10), np.ones(10), np.ones(1)], 4)
    assert len(joined) == 21
    np.testing.assert_allclose(joined[:6], 1)
    np.testing.assert_allclose(joined[6:10], [0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(joined[10:14], [0, 0.25, 0.5, 0.75])


def test_refuses_words_that_do_not_fit():
    utterances, words = make([2, 2])
    with pytest.raises(ValueError, match="one entry per utterance"):
        splicing.splice(utterances, words[:1], number=1)
    with pytest.raises(ValueError, match="at least one aligned"):
        splicing.splice(utterances, [(), ()], number=1)
