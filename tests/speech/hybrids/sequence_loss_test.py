"""The sum over all paths against their enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.hybrids import state_graph
from gossamer.speech.hybrids.frame_batches import NO_TARGET
from gossamer.speech.hybrids.phone_graph import unite
from gossamer.speech.hybrids.sequence_loss import log_total, mmi_loss
from gossamer.speech.hybrids.tying import monophones

LEXICON = {"a": [("A",)], "ab": [("A", "B")], "ba": [("B", "A")]}
TYING = monophones("AB", states=1, silence_states=1)


@pytest.fixture(scope="module")
def graph():
    return unite(state_graph.build(text.split(), LEXICON, TYING) for text in ("a ab", "ba", "ba a"))


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(scale=3, size=(2, 5, TYING.num_pdfs)).astype(np.float32)


def enumerate_paths(graph, scores):
    """Log probability of each sequence of states, without its normalization."""
    number = len(graph.pdfs)
    moves = 0.5 * np.eye(number)
    moves[graph.sources, graph.targets] += graph.weights
    found = {}
    for path in itertools.product(range(number), repeat=len(scores)):
        weight = graph.first[path[0]] * np.prod(moves[path[:-1], path[1:]])
        if weight > 0:
            emitted = scores[np.arange(len(path)), graph.pdfs[list(path)]]
            found[path] = np.log(weight) + emitted.sum(dtype=np.float64)
    return found


def test_the_sum_is_that_of_all_paths(graph, scores):
    expected = [np.logaddexp.reduce(list(enumerate_paths(graph, x).values())) for x in scores]
    found = jax.jit(lambda x: log_total(graph, x, jnp.ones(x.shape[:2], bool)))(scores)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_frames_without_a_target_are_skipped(graph, scores):
    valid = np.array([[False, True, True, False, True], [True, True, False, False, False]])
    found = log_total(graph, jnp.asarray(scores), jnp.asarray(valid))
    for row in range(2):
        expected = np.logaddexp.reduce(
            list(enumerate_paths(graph, scores[row][valid[row]]).values())
        )
        assert found[row] == pytest.approx(expected, rel=1e-5)
    nothing = log_total(graph, jnp.asarray(scores), jnp.zeros((2, 5), bool))
    np.testing.assert_array_equal(nothing, 0)


def test_the_gradient_is_expectation_less_alignment(graph, scores):
    targets = np.array([[0, 1, 1, 2, 0], [2, 2, 1, NO_TARGET, NO_TARGET]])
    scale, frames = 0.7, 8
    gradient = jax.jit(jax.grad(lambda x: mmi_loss(graph, x, targets, scale=scale)))(scores)
    expected = np.zeros_like(scores)
    for row, aligned in enumerate(targets):
        length = int(np.sum(aligned != NO_TARGET))
        paths = enumerate_paths(graph, scale * scores[row, :length])
        total = np.logaddexp.reduce(list(paths.values()))
        for path, weight in paths.items():
            for frame, state in enumerate(path):
                expected[row, frame, graph.pdfs[state]] += np.exp(weight - total)
        expected[row, np.arange(length), aligned[:length]] -= 1
    np.testing.assert_allclose(gradient, scale * expected / frames, atol=2e-6)


def test_a_constant_of_a_frame_changes_nothing(graph, scores):
    targets = np.array([[0, 1, 1, 2, 0], [2, 2, 1, 1, 1]])
    shift = np.random.default_rng(1).normal(size=(2, 5, 1)).repeat(3, 2).astype(np.float32)
    before, after = (mmi_loss(graph, x, targets, scale=0.5) for x in (scores, scores + shift))
    np.testing.assert_allclose(before, after, atol=1e-5)
