"""Reading with a hybrid whose likelihoods are given, in a graph of two words."""

import dataclasses

import numpy as np
import pytest

from gossamer.speech.graphs import decoding_graph, ngram
from gossamer.speech.hybrids import hybrid, lexicon, tying, word_search
from gossamer.speech.hybrids.hybrid import FRAME_SECONDS
from gossamer.speech.hybrids.word_search import WordSearch

WORDS = ["ab", "ba", "ab ba"]


@pytest.fixture(scope="module")
def search():
    spoken = lexicon.graphemic(["ab", "ba"])
    states = tying.monophones(spoken.phones, states=1)
    graph = decoding_graph.build(spoken, ngram.train(WORDS, order=2), states)
    model = hybrid.Hybrid(None, None, states, None, None)  # type: ignore[arg-type]
    return WordSearch(model, graph, acoustic_scale=1.0)


def sound(search, phones, repeats=3):
    """Likelihoods ``[frames, pdfs]`` in which each phone is clear."""
    states = search.model.tying
    pdfs = [states.pdf("SIL", phone, "SIL", 0) for phone in phones]
    return np.log(0.02 + 0.9 * np.eye(states.num_pdfs, dtype=np.float32)[np.repeat(pdfs, repeats)])


@pytest.fixture
def heard(search, monkeypatch):
    """Waveforms are likelihoods here."""
    monkeypatch.setattr(hybrid, "log_likelihoods", lambda model, waveforms: list(waveforms))
    return [
        sound(search, ["a", "b", "SIL", "b", "a"]),
        sound(search, "ba"),
        np.zeros((0, 3), np.float32),
    ]


def test_words_and_when_they_begin(search, heard):
    one, other, nothing = word_search.transcribe(search, heard)
    assert [one.text, other.text, nothing.text] == ["ab ba", "ba", ""]
    assert "".join(label for label, _ in one.labels) == "ab ba"
    starts = sorted({second for _, second in one.labels})
    np.testing.assert_allclose(starts, [0, 9 * FRAME_SECONDS])


def test_the_best_of_several_is_the_best(search, heard):
    found = word_search.transcribe_nbest(search, heard, 2)
    best = word_search.transcribe(search, heard)
    assert [texts[0].text for texts in found] == [one.text for one in best]
    for texts, one in zip(found, best, strict=True):
        np.testing.assert_allclose(texts[0].score, one.score, rtol=1e-5)
        assert [x.score for x in texts] == sorted((x.score for x in texts), reverse=True)


def test_the_scale_is_chosen_by_its_errors(search, heard):
    quiet = dataclasses.replace(search, beam=40.0)

    def error(found):
        return sum(x.text != y for x, y in zip(found, ["ab ba", "ba", ""], strict=True))

    best, errors = word_search.tune(quiet, heard, error, [1e-4, 1.0, 2.0])
    assert best.acoustic_scale == 1.0
    assert errors[1:] == [0, 0]
    assert errors[0] > 0


@pytest.mark.parametrize("name", ["acoustic_scale", "beam"])
def test_refusals(search, name):
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        dataclasses.replace(search, **{name: 0.0})
