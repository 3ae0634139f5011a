"""Combined networks against sums over all alignments, computed in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.beam import beam_search
from gossamer.speech.combination import Network, combine
from gossamer.speech.decoding import greedy_decode

FRAMES, LABELS = 3, 3  # the blank is label 0


class Toy:
    """A transducer whose predictor sums what it has read, in vectors of its own size."""

    def __init__(self, seed, size, frames=FRAMES):
        generator = np.random.default_rng(seed)
        self.encoded = generator.normal(size=(1, frames, size)).astype(np.float32)
        self.embedding = generator.normal(size=(LABELS, size + 1)).astype(np.float32)
        self.frames = generator.normal(size=(size, LABELS)).astype(np.float32)
        self.prefixes = generator.normal(size=(size + 1, LABELS)).astype(np.float32)

    def network(self):
        def predictor_step(tokens, state):
            state = state + jnp.asarray(self.embedding)[tokens]
            return jnp.tanh(state), state

        return Network(
            jnp.asarray(self.encoded),
            jnp.zeros(self.encoded.shape[:2]),
            predictor_step,
            lambda encoded, predicted: encoded @ self.frames + predicted @ self.prefixes,
            jnp.zeros((1, self.embedding.shape[1])),
        )

    def log_probs(self, frame, labels):
        prefix = np.tanh(self.embedding[[0, *labels]].sum(0))
        logits = self.encoded[0, frame] @ self.frames + prefix @ self.prefixes
        return logits - np.logaddexp.reduce(logits)


def total_score(toys, weights, labels):
    """log P(labels), over all ways to place them in the frames."""

    def log_probs(frame, prefix):
        mean = sum(w * toy.log_probs(frame, prefix) for w, toy in zip(weights, toys, strict=True))
        return mean - np.logaddexp.reduce(mean)

    totals = []
    for places in itertools.combinations_with_replacement(range(FRAMES), len(labels)):
        score = sum(log_probs(frame, labels[:u])[labels[u]] for u, frame in enumerate(places))
        for frame in range(FRAMES):
            score += log_probs(frame, labels[: sum(place <= frame for place in places)])[0]
        totals.append(score)
    return np.logaddexp.reduce(totals)


@pytest.mark.parametrize("weights", [None, (0.8, 0.2)])
def test_a_beam_sums_over_alignments_of_the_mean(weights):
    toys = [Toy(0, 2), Toy(1, 4)]
    network = combine([toy.network() for toy in toys], weights)
    found = jax.jit(lambda: beam_search(**network._asdict(), beam=30, max_labels=2))()
    sequences = [s for n in range(3) for s in itertools.product(range(1, LABELS), repeat=n)]
    expected = {s: total_score(toys, weights or (0.5, 0.5), s) for s in sequences}
    assert np.isfinite(found.scores[0]).sum() == len(sequences)
    for labels, paddings, score in zip(
        found.labels[0], found.label_paddings[0], found.scores[0], strict=True
    ):
        if np.isfinite(score):
            sequence = tuple(int(label) for label in labels[paddings == 0])
            assert score == pytest.approx(expected[sequence], abs=1e-4)


def test_one_network_twice_is_that_network():
    network = Toy(2, 3).network()
    one = greedy_decode(**network._asdict())
    two = greedy_decode(**combine([network, network])._asdict())
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)


def test_refusals():
    network, short = Toy(0, 2).network(), Toy(1, 2, frames=2).network()
    with pytest.raises(ValueError, match=r"as many frames .* the same `reduction`"):
        combine([network, short])
    with pytest.raises(ValueError, match="one for each of 2 networks, got 1"):
        combine([network, network], [1.0])
