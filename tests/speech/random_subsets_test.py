"""Subsets of given size, uniform over the candidates, whatever the padding."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from gossamer.speech.random_subsets import draw_subset, draw_uniform


def test_sizes_and_candidates(key):
    candidates = np.random.default_rng(0).random((6, 20)) < 0.6
    counts = jnp.asarray([0, 1, 3, 5, 100, -1])
    chosen = np.asarray(draw_subset(key, jnp.asarray(candidates), counts))
    assert not (chosen & ~candidates).any()
    expected = np.clip(counts, 0, candidates.sum(axis=1))
    np.testing.assert_array_equal(chosen.sum(axis=1), expected)


def test_all_subsets_are_equally_likely(key):
    rows = 20_000
    candidates = jnp.tile(jnp.asarray([[True, True, False, True, True]]), (rows, 1))
    chosen = np.asarray(draw_subset(key, candidates, jnp.full(rows, 2)))
    pairs = list(itertools.combinations([0, 1, 3, 4], 2))
    found = [(chosen[:, a] & chosen[:, b]).sum() for a, b in pairs]
    assert sum(found) == rows
    share = 1 / math.comb(4, 2)
    bound = 5 * math.sqrt(rows * share * (1 - share))  # five standard deviations
    np.testing.assert_allclose(found, rows * share, atol=bound, rtol=0)


def test_padding_changes_no_draw(key):
    short = draw_uniform(key, (3, 10))
    np.testing.assert_array_equal(draw_uniform(key, (3, 17))[:, :10], short)
    assert (draw_uniform(jax.random.key(1), (3, 10)) != short).all()
