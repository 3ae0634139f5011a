"""Alignments from nothing of sequences whose bounds are known."""

import numpy as np
import pytest

from gossamer.speech.hybrids import alignment, flat_start, lexicon, state_graph, tying

TEXTS = ["ab", "ba", "abba", "baab", "a", "b", "ab ba", "bab"]
SILENCE = "SIL"


@pytest.fixture(scope="module")
def states():
    return tying.monophones(["a", "b"], states=1)


@pytest.fixture(scope="module")
def spoken(states):
    """Features of noisy phones of random length, graphs, and the phone of each frame."""
    generator = np.random.default_rng(0)
    means = {phone: 3 * generator.normal(size=6) for phone in states.phones}
    mixing = generator.normal(size=(6, 6))  # noise with a covariance
    known = lexicon.graphemic([word for text in TEXTS for word in text.split()])
    features, graphs, truth = [], [], []
    for text in TEXTS * 6:
        phones = [SILENCE, *text.replace(" ", ""), SILENCE]
        frames = np.repeat(phones, generator.integers(2, 12, len(phones)))
        noise = generator.normal(size=(len(frames), 6)) @ mixing
        clean = np.stack([means[phone] for phone in frames])
        features.append((clean + noise).astype(np.float32))
        graphs.append(state_graph.build(text.split(), known, states))
        truth.append([states.pdf(SILENCE, phone, SILENCE, 0) for phone in frames])
    return features, graphs, truth


def agreement(graphs, paths, truth):
    pairs = zip(graphs, paths, truth, strict=True)
    return np.concatenate([graph.pdfs[path.states] == pdfs for graph, path, pdfs in pairs]).mean()


def test_it_finds_the_bounds(states, spoken):
    features, graphs, truth = spoken
    first = [alignment.uniform(graph, len(x)) for graph, x in zip(graphs, features, strict=True)]
    turns = []
    discriminants, found = flat_start.settle(
        features, graphs, first, states.num_pdfs, rounds=6, advance=turns.append
    )
    assert sum(turns) == 6
    assert agreement(graphs, first, truth) < 0.75
    assert agreement(graphs, found, truth) > 0.95
    again = flat_start.align(discriminants, features, graphs)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.states, other.states)


def test_differences_of_scores_are_those_of_gaussians(states, spoken):
    features, graphs, _ = spoken
    paths = [alignment.uniform(graph, len(x)) for graph, x in zip(graphs, features, strict=True)]
    found = flat_start.fit(features, graphs, paths, states.num_pdfs)
    pdfs = np.concatenate([g.pdfs[p.states] for g, p in zip(graphs, paths, strict=True)])
    x = np.concatenate(features).astype(np.float64)
    means = np.stack([x[pdfs == pdf].mean(axis=0) for pdf in range(states.num_pdfs)])
    rest = x - means[pdfs]
    covariance = rest.T @ rest / len(x)
    covariance += flat_start.RIDGE * np.mean(np.diag(covariance)) * np.eye(6)
    away = x[:50, None] - means
    expected = -0.5 * np.einsum("tpi,ij,tpj->tp", away, np.linalg.inv(covariance), away)
    scores = found.score(x[:50])
    np.testing.assert_allclose(
        scores - scores[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4
    )


def test_a_state_without_frames_is_like_all(spoken):
    features, graphs, _ = spoken
    paths = [alignment.uniform(graph, len(x)) for graph, x in zip(graphs, features, strict=True)]
    found = flat_start.fit(features, graphs, paths, 4)
    assert np.isfinite(found.score(features[0])).all()
    split = found.split(np.array([0, 0, 1]))
    np.testing.assert_array_equal(split.score(features[0])[:, 0], split.score(features[0])[:, 1])


def test_what_is_too_short_is_left_out(states, spoken):
    features, graphs, _ = spoken
    short = [features[0][:1], *features[1:4]]
    paths = [alignment.uniform(graph, len(x)) for graph, x in zip(graphs, short, strict=False)]
    assert paths[0] is None
    _, found = flat_start.settle(short, graphs[:4], paths, states.num_pdfs, rounds=1)
    assert [path is None for path in found] == [True, False, False, False]
    with pytest.raises(ValueError, match="every recording is too short"):
        flat_start.settle(short[:1], graphs[:1], [None], states.num_pdfs, rounds=1)
