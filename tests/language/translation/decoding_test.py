"""The search against all translations there are, and against whole texts without a cache."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.language.translation.byte_pairs import END, PAD
from gossamer.language.translation.decoding import beam_search
from gossamer.language.translation.transformer import Transformer
from gossamer.language.translation.transformer_config import TransformerConfig

VOCABULARY = 6
LENGTH = 3
MODEL = Transformer(TransformerConfig(layers=1, size=8, heads=2, hidden=8, dropout=0.0), VOCABULARY)
SOURCE = jnp.array([[4, 5, 2, 0], [5, 2, 0, 0], [4, 4, 5, 2]])


@pytest.fixture
def params(key):
    params = jax.jit(lambda key: MODEL.init(key, SOURCE, SOURCE)["params"])(key)
    return params | {"tokens": 2.0 * params["tokens"]}  # logits that differ


def log_probabilities(params, source, targets):
    """Sums over whole translations [N, LENGTH], without the search and its cache."""
    rows = jnp.broadcast_to(source, (len(targets), len(source)))
    logits = jax.jit(MODEL.apply)({"params": params}, rows, targets)
    found = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
    return np.asarray(jnp.sum(jnp.where(targets != PAD, found, 0.0), -1))


def all_translations():
    """All that end, within LENGTH tokens, and all that were cut there."""
    others = [token for token in range(VOCABULARY) if token not in (PAD, END)]
    ended, cut = [], []
    for length in range(LENGTH):
        ended += [(*x, END) for x in itertools.product(others, repeat=length)]
    cut += list(itertools.product(others, repeat=LENGTH))
    pad = [list(x) + [PAD] * (LENGTH - len(x)) for x in [*ended, *cut]]
    return np.array(pad), np.array([len(x) for x in [*ended, *cut]]), len(ended)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_a_wide_beam_finds_the_best_of_all(params, alpha):
    targets, lengths, num_ended = all_translations()
    found = beam_search(MODEL, params, SOURCE, beam=len(targets), max_length=LENGTH, alpha=alpha)
    for row in range(3):
        totals = log_probabilities(params, SOURCE[row], jnp.asarray(targets))
        scores = totals / ((5 + lengths) / 6) ** alpha
        best = scores[:num_ended].argmax()
        np.testing.assert_array_equal(found.tokens[row, 0], targets[best])
        np.testing.assert_allclose(found.scores[row, 0], scores[best], rtol=1e-5)
        np.testing.assert_allclose(found.log_probabilities[row, 0], totals[best], rtol=1e-5)
        assert found.ended[row, 0]
        seen = {tuple(tokens) for tokens in found.tokens[row].tolist()}
        assert seen == {tuple(target) for target in targets.tolist()}


def greedy(params, source, length):
    """By whole texts: appends the most probable token."""
    apply = jax.jit(MODEL.apply)
    tokens = []
    while len(tokens) < length and END not in tokens:
        target = jnp.array([tokens + [PAD] * (length - len(tokens))])
        logits = np.array(apply({"params": params}, source[None], target)[0, len(tokens)])
        logits[PAD] = -np.inf
        tokens.append(int(logits.argmax()))
    return tokens + [PAD] * (length - len(tokens))


def test_a_beam_of_one_is_greedy(params):
    found = beam_search(MODEL, params, SOURCE, beam=1, max_length=8)
    for row in range(3):
        assert found.tokens[row, 0].tolist() == greedy(params, SOURCE[row], 8)
        total = log_probabilities(params, SOURCE[row], found.tokens[row])
        np.testing.assert_allclose(found.log_probabilities[row], total, rtol=1e-5)


def test_more_hypotheses_do_not_score_lower(params):
    one, four = (
        beam_search(MODEL, params, SOURCE, beam=beam, max_length=8, alpha=0.0) for beam in (1, 4)
    )
    # No theorem, but so it is on texts that are no made-up exceptions.
    assert (four.scores.max(1) >= one.scores[:, 0] - 1e-5).all()
    scores = np.where(four.ended, four.scores, four.scores - 1e6)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_padding_and_company_do_not_matter(params):
    together = beam_search(MODEL, params, SOURCE, beam=2, max_length=4)
    alone = beam_search(MODEL, params, SOURCE[1:2, :2], beam=2, max_length=4)
    np.testing.assert_array_equal(together.tokens[1], alone.tokens[0])
    np.testing.assert_allclose(together.scores[1], alone.scores[0], rtol=1e-4)


def test_bad_input_is_refused(params):
    with pytest.raises(ValueError, match="`beam` and `max_length` must be at least 1, got 0"):
        beam_search(MODEL, params, SOURCE, beam=0)
