"""A hybrid with random parameters: what it computes of recordings, alone and together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.hybrids import hybrid, lexicon, state_graph, tying
from gossamer.speech.hybrids.acoustic_model import AcousticModel
from gossamer.speech.hybrids.acoustic_model_config import AcousticModelConfig
from gossamer.speech.hybrids.frame_batches import num_frames
from gossamer.speech.hybrids.hybrid import Hybrid
from gossamer.speech.run_config import DataConfig


@pytest.fixture(scope="module")
def model():
    states = tying.monophones(["SIL", "a", "b"], states=2)
    config = AcousticModelConfig(layers=1, size=8, bottleneck=8, dropout=0.0)
    params = AcousticModel(config, states.num_pdfs).init(
        jax.random.key(0), jnp.zeros((1, 8, 240)), jnp.zeros((1, 8))
    )
    priors = np.log(np.arange(1, states.num_pdfs + 1) / 15).astype(np.float32)
    return Hybrid(config, DataConfig(), states, priors, params)


@pytest.fixture(scope="module")
def waveforms(noise):
    return [noise(seconds, seed) for seed, seconds in enumerate((0.9, 0.5, 0.7))]


def test_likelihoods_are_posteriors_over_priors(model, waveforms):
    scaled = hybrid.log_likelihoods(model, waveforms)
    posteriors = hybrid.log_likelihoods(model, waveforms, prior_scale=0.0)
    for waveform, scores, log_probs in zip(waveforms, scaled, posteriors, strict=True):
        assert scores.shape == (num_frames(len(waveform), 8000), model.tying.num_pdfs)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(scores, log_probs - model.log_priors, rtol=1e-6)


def test_neighbors_in_a_batch_change_nothing(model, waveforms):
    together = hybrid.log_likelihoods(model, waveforms)
    for waveform, scores in zip(waveforms, together, strict=True):
        (alone,) = hybrid.log_likelihoods(model, [waveform])
        np.testing.assert_allclose(alone, scores, atol=2e-5)
    assert hybrid.log_likelihoods(model, []) == []


def test_features_are_those_that_the_network_reads(model, waveforms):
    found = hybrid.read_features(model.data, waveforms)
    (scores,) = hybrid.log_likelihoods(model, waveforms[:1], prior_scale=0.0)
    inputs = jnp.asarray(found[0])[None]
    logits = model.model.apply(model.params, inputs, jnp.zeros(inputs.shape[:2]))
    np.testing.assert_allclose(jax.nn.log_softmax(logits)[0], scores, atol=2e-5)


def test_an_alignment_is_the_best_of_all_paths(model, waveforms):
    graph = state_graph.build(["ab"], lexicon.graphemic(["ab"]), model.tying)
    short = waveforms[0][:1500]
    (path,) = hybrid.align_graphs(model, [short], [graph])
    (scores,) = hybrid.log_likelihoods(model, [short])
    best = max(
        sum(scores[t, graph.pdfs[state]] for t, state in enumerate(states))
        for states in every_path(graph, len(scores))
    )
    found = sum(scores[t, graph.pdfs[state]] for t, state in enumerate(path.states))
    np.testing.assert_allclose(found, best, rtol=1e-5)


def every_path(graph, num_frames):
    """All sequences of states from a start to an end of the graph, one by one."""
    paths = [[int(state)] for state in np.flatnonzero(graph.is_first)]
    for _ in range(num_frames - 1):
        paths = [
            [*path, state]
            for path in paths
            for state in range(len(graph.pdfs))
            if state == path[-1] or path[-1] in graph.predecessors[state]
        ]
    return [path for path in paths if graph.is_last[path[-1]]]


def test_too_short_for_its_text(model, noise):
    spoken = lexicon.graphemic(["ababab"])
    assert hybrid.align(model, [noise(0.1)], ["ababab"], spoken) == [None]


def test_a_packed_hybrid_gives_the_same(model, waveforms, tmp_path):
    hybrid.save(tmp_path / "hybrid.safetensors", model)
    again = hybrid.load(tmp_path / "hybrid.safetensors")
    assert again.tying == model.tying
    for left, right in zip(
        hybrid.log_likelihoods(model, waveforms),
        hybrid.log_likelihoods(again, waveforms),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, atol=5e-3)  # weights in half precision
    with pytest.raises(ValueError, match="not a packed hybrid recognizer"):
        hybrid.load(__file__)
