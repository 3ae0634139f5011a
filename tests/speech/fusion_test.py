import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech.beam import beam_search
from gossamer.speech.calibration import draw_variables
from gossamer.speech.fusion import FusedModels, density_ratio, shallow_fusion, tune
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.policies import named_policy

VOCABULARY = 3
EXTERNAL = np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.2, 0.5, 0.3]], np.float32)
SOURCE = np.array([[0.2, 0.4, 0.4], [0.2, 0.7, 0.1], [0.4, 0.3, 0.3]], np.float32)
# Two frames of a transducer without memory: P(symbol | frame).
SPOKEN = np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]], np.float32)


class Bigram:
    """P(label | label before), as logits that are off by a constant."""

    def __init__(self, table):
        self.table = jnp.asarray(table)

    def step(self, tokens, state):
        return jnp.log(self.table)[tokens] + 7.0, state + 1

    def initial_state(self, batch):
        return jnp.zeros(batch, jnp.int32)


def log_prob(table, labels):
    return sum(math.log(table[pair]) for pair in itertools.pairwise((0, *labels)))


def acoustic(labels):
    """Both frames end with a blank; the labels are split between them in any way."""
    return math.log(
        sum(
            math.prod(float(SPOKEN[0, label]) for label in labels[:split])
            * math.prod(float(SPOKEN[1, label]) for label in labels[split:])
            * float(SPOKEN[0, 0] * SPOKEN[1, 0])
            for split in range(len(labels) + 1)
        )
    )


def find(fusion):
    return beam_search(
        jnp.log(jnp.asarray(SPOKEN))[None],
        jnp.zeros((1, 2)),
        predictor_step=lambda tokens, state: (jnp.zeros((len(tokens), VOCABULARY)), state),
        joiner=lambda encoded, predicted: encoded + predicted,
        initial_state=(),
        beam=8,
        fusion=fusion,
    )


def search(fusion):
    return jax.device_get(jax.jit(lambda: find(fusion))())


def lists(found):
    lengths = np.sum(found.label_paddings[0] == 0, axis=1)
    return {
        tuple(labels[:length].tolist()): float(score)
        for labels, length, score in zip(found.labels[0], lengths, found.scores[0], strict=True)
        if score > -math.inf
    }


def test_shallow_fusion_agrees_with_hand_computation():
    found = search(shallow_fusion(Bigram(EXTERNAL), weight=0.4, length_reward=0.25))
    scores = lists(found)
    assert len(scores) == 7  # all of at most two labels
    for labels, score in scores.items():
        expected = acoustic(labels) + 0.4 * log_prob(EXTERNAL, labels) + 0.25 * len(labels)
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_density_ratio_agrees_with_hand_computation():
    fusion = density_ratio(
        Bigram(EXTERNAL), Bigram(SOURCE), external_weight=0.7, source_weight=0.5, length_reward=0.2
    )
    scores = lists(search(fusion))
    assert len(scores) == 7
    for labels, score in scores.items():
        expected = acoustic(labels) + 0.7 * log_prob(EXTERNAL, labels) + 0.2 * len(labels)
        expected -= 0.5 * log_prob(SOURCE, labels)
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_zero_weights_change_nothing():
    fusion = density_ratio(Bigram(EXTERNAL), Bigram(SOURCE), external_weight=0.0, source_weight=0.0)
    plain, fused = search(None), search(fusion)
    np.testing.assert_array_equal(plain.labels, fused.labels)
    np.testing.assert_array_equal(plain.scores, fused.scores)


def test_equal_models_cancel():
    fusion = density_ratio(Bigram(SOURCE), Bigram(SOURCE), external_weight=0.5, source_weight=0.5)
    # The two terms are rounded to float32 before they cancel.
    np.testing.assert_allclose(search(fusion).scores, search(None).scores, rtol=1e-6, atol=1e-6)


def test_the_blank_gets_nothing():
    # Only the empty sequence, all blanks, is allowed to be short: its score is the transducer's.
    fusion = shallow_fusion(Bigram(EXTERNAL), weight=100.0, length_reward=-100.0)
    found = search(fusion)
    assert found.label_paddings[0, 0].all()
    assert float(found.scores[0, 0]) == pytest.approx(acoustic(()), rel=1e-6)


@pytest.mark.parametrize("name", [None, "int4_paper"])
def test_an_lstm_model_scores_as_it_does_on_whole_sequences(name):
    config = LanguageModelConfig(layers=2, size=5, embedding_size=4)
    model = LanguageModel(config, VOCABULARY, named_policy(name))
    shape = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    variables = draw_variables(model, jax.random.key(0), shape)
    variables["params"] = jax.tree.map(lambda leaf: 3 * leaf, variables["params"])
    variables = deploy_variables(model.policy, variables)

    @jax.jit
    def run(language_models):
        return find(language_models.fusion())

    for weight in (0.3, 0.8):
        language_models = FusedModels((model,), (variables,), (weight,))
        scores = lists(jax.device_get(run(language_models)))
        assert len(scores) == 7
        padded = jnp.asarray([(*labels, 0, 0)[:2] for labels in scores])
        whole = np.asarray(jax.jit(model.apply)(variables, padded))
        whole = whole - np.log(np.sum(np.exp(whole), axis=2, keepdims=True))
        for row, (labels, score) in enumerate(scores.items()):
            spoken = sum(float(whole[row, u, label]) for u, label in enumerate(labels))
            assert score == pytest.approx(acoustic(labels) + weight * spoken, rel=1e-4, abs=1e-5)
    assert run._cache_size() == 1  # weights may change without compiling anew


def test_tuning_tries_every_combination():
    def error(weight, length_reward):
        return abs(weight - 0.5) + abs(length_reward - 1.0)

    tuned = tune(error, weight=(0.0, 0.5), length_reward=(0.0, 1.0, 2.0))
    assert tuned.weights == {"weight": 0.5, "length_reward": 1.0}
    assert tuned.error == 0
    assert len(tuned.table) == 6


def test_of_equal_weights_the_first_wins():
    assert tune(lambda weight: 1.0, weight=(0.3, 0.1)).weights == {"weight": 0.3}


@pytest.mark.parametrize("grid", [{}, {"weight": ()}])
def test_refuses_an_empty_grid(grid):
    with pytest.raises(ValueError, match="`grid` must give at least one value"):
        tune(lambda **weights: 0.0, **grid)
