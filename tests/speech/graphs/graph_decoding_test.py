import sys

import numpy as np
import pytest

from gossamer.speech.graphs import decoding_graph, graph_decoding, ngram
from gossamer.speech.graphs.graph_decoding import Segment
from gossamer.speech.hybrids.lexicon import Lexicon

WORDS = Lexicon(
    {
        "to": (("T", "UW"), ("T", "AH")),
        "two": (("T", "UW"),),
        "tuna": (("T", "UW", "N", "AH"),),
        "nut": (("N", "AH", "T"),),
        "a": (("AH",),),
    }
)
TEXTS = ["to a nut", "two tuna", "a two", "a tuna to two", "nut"]


@pytest.fixture(scope="module")
def graph(pair_tying):
    return decoding_graph.build(WORDS, ngram.train(TEXTS, order=2), pair_tying(WORDS.phones))


def draw(graph, frames, seed):
    return np.random.default_rng(seed).normal(size=(frames, graph.num_pdfs))


@pytest.mark.parametrize("seed", range(10))
def test_both_engines_find_the_same_path(graph, seed):
    likelihoods = draw(graph, 40, seed)
    ours, kaldis = (
        graph_decoding.decode(
            graph, likelihoods, acoustic_scale=1.5, beam=40.0, max_active=10**6, engine=engine
        )
        for engine in ("numpy", "kaldi")
    )
    assert kaldis[:2] == ours[:2]
    assert kaldis.complete
    assert ours.complete
    # Kaldi adds 40 frames in float32.
    assert kaldis.score == pytest.approx(ours.score, abs=1e-3)


@pytest.mark.parametrize("engine", ["kaldi", "numpy"])
def test_words_and_phones_are_found_where_they_were_said(graph, pair_tying, engine):
    tying = pair_tying(WORDS.phones)
    said = [("SIL", 3), ("T", 2), ("AH", 3), ("AH", 1), ("SIL", 2), ("T", 1), ("UW", 4)]
    said += [("N", 2), ("AH", 2)]
    phones = ["SIL", *(phone for phone, _ in said), "SIL"]
    likelihoods, frame, spans = np.full((20, graph.num_pdfs), -5.0), 0, []
    for i, (phone, frames) in enumerate(said, start=1):
        for t in range(frames):
            state = min(t, tying.num_states(phone) - 1)
            likelihoods[frame + t, tying.pdf(phones[i - 1], phone, phones[i + 1], state)] = 0.0
        spans.append(Segment(phone, frame, frame + frames))
        frame += frames
    assert frame == 20
    decoded = graph_decoding.decode(graph, likelihoods, acoustic_scale=5.0, engine=engine)
    assert decoded.text == "to a tuna"
    assert decoded.words == (Segment("to", 3, 8), Segment("a", 8, 9), Segment("tuna", 11, 20))
    assert decoded.phones == tuple(spans)
    assert decoded.complete


@pytest.mark.parametrize("seed", range(5))
def test_nbest_lists_hold_the_best_of_all_paths(graph, all_paths, seed):
    likelihoods = draw(graph, 4, seed)
    scores = 0.5 * likelihoods[:, graph.input_pdfs]
    best: dict[str, float] = {}
    for inputs, outputs, cost, final in all_paths(graph.automaton, 4):
        if final:
            text = " ".join(graph.words[output - 1] for output in outputs)
            score = sum(scores[t, i - 1] for t, i in enumerate(inputs)) - cost
            best[text] = max(score, best.get(text, -np.inf))
    wanted = sorted(best.items(), key=lambda pair: -pair[1])[:6]
    found = graph_decoding.decode_nbest(
        graph, likelihoods, 6, acoustic_scale=0.5, beam=100.0, lattice_beam=100.0
    )
    assert [decoded.text for decoded in found] == [text for text, _ in wanted]
    assert [decoded.score for decoded in found] == pytest.approx([s for _, s in wanted], abs=1e-4)
    first = graph_decoding.decode(graph, likelihoods, acoustic_scale=0.5, beam=100.0)
    assert found[0][:2] == first[:2]
    assert len(graph_decoding.decode_nbest(graph, likelihoods, 6, lattice_beam=0.01)) == 1


@pytest.mark.parametrize("engine", ["kaldi", "numpy"])
def test_speech_that_breaks_off_is_told(graph, pair_tying, engine):
    tying = pair_tying(WORDS.phones)
    likelihoods = np.full((6, graph.num_pdfs), -9.0)
    likelihoods[:2, tying.pdf("SIL", "AH", "T", 0)] = 0.0  # "a tu..."
    likelihoods[2:4, tying.pdf("AH", "T", "UW", 0)] = 0.0
    likelihoods[4:, tying.pdf("T", "UW", "N", 0)] = 0.0
    whole = graph_decoding.decode(graph, likelihoods[:2], acoustic_scale=9.0, engine=engine)
    assert whole.text == "a"
    one_frame = draw(graph, 1, 0)
    one_frame[:, tying.pdf("SIL", "T", "UW", 0)] = 50.0
    cut = graph_decoding.decode(graph, one_frame, acoustic_scale=1.0, beam=5.0, engine=engine)
    assert not cut.complete
    assert cut.words == ()  # "to", "two" or "tuna"
    assert cut.phones == (Segment("T", 0, 1),)
    cut = graph_decoding.decode(graph, likelihoods, acoustic_scale=9.0, beam=9.0, engine=engine)
    assert not cut.complete
    assert cut.words[0] == Segment("a", 0, 2)
    assert cut.phones[1:] == (Segment("T", 2, 4), Segment("UW", 4, 6))


def test_matching_prefers_what_fits_wholly():
    lexicon = Lexicon({"x": (("A", "B"), ("A",)), "y": (("B",), ("B", "C"))})
    assert graph_decoding._match(lexicon, ["x", "y"], ["A", "B"], complete=True) == [(0, 1), (1, 2)]
    phones = ["SIL", "A", "SIL", "B"]
    assert graph_decoding._match(lexicon, ["x", "y"], phones, complete=False) == [(1, 2), (3, 4)]
    assert graph_decoding._match(lexicon, ["x"], ["A", "C"], complete=False) == [(0, 1)]
    assert graph_decoding._match(lexicon, [], ["SIL"], complete=True) == []


@pytest.mark.parametrize("frames", [1, 7])
def test_kaldi_is_taken_where_it_is_installed(graph, monkeypatch, frames):
    likelihoods = draw(graph, frames, 3)
    with_kaldi = graph_decoding.decode(graph, likelihoods)
    monkeypatch.setitem(sys.modules, "kaldi_decoder", None)
    without = graph_decoding.decode(graph, likelihoods)
    assert without[:2] == with_kaldi[:2]
    assert without.score == graph_decoding.decode(graph, likelihoods, engine="numpy").score
    with pytest.raises(ValueError, match=r"pip install '\.\[hybrid\]' in a checkout"):
        graph_decoding.decode(graph, likelihoods, engine="kaldi")


def test_likelihoods_are_checked(graph):
    for shape in ((5, graph.num_pdfs + 1), (0, graph.num_pdfs), (graph.num_pdfs,)):
        with pytest.raises(ValueError, match=r"`log_likelihoods` must be \[frames, 27\]"):
            graph_decoding.decode(graph, np.zeros(shape))
    with pytest.raises(ValueError, match="must be finite; clip"):
        graph_decoding.decode(graph, np.full((2, graph.num_pdfs), -np.inf))
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        graph_decoding.decode_nbest(graph, draw(graph, 2, 0), 0)
