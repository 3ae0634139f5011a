"""Label noise against exact probabilities; what must stay clean does."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.label_noise import (
    nbest_smooth,
    sampling_rate,
    scheduled_sampling,
    switchout,
)

VOCABULARY = 6
LENGTHS = np.array([8, 5, 1, 0])
LABEL_PADDINGS = jnp.asarray(np.arange(8)[None] >= LENGTHS[:, None], jnp.float32)
LABELS = jnp.asarray(
    np.where(LABEL_PADDINGS == 0, np.random.default_rng(0).integers(1, VOCABULARY, (4, 8)), 0)
)


def repeat(rows, length=4):
    """Many equal sequences, without padding."""
    labels = jnp.tile(1 + jnp.arange(length)[None] % (VOCABULARY - 1), (rows, 1))
    return labels, jnp.zeros((rows, length))


def assert_law(found, probabilities):
    """Counts of independent draws lie within five standard deviations, of at least one."""
    number = sum(found)
    for seen, probability in zip(found, probabilities, strict=True):
        bound = 5 * max(1, math.sqrt(number * probability * (1 - probability)))
        assert abs(seen - number * probability) < bound


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("temperature", [0.3, 0.8, 5.0])
def test_the_number_of_replacements_has_its_law(key, temperature, exact):
    rows, length = 20_000, 4
    labels, paddings = repeat(rows, length)
    noisy = switchout(
        key, labels, paddings, vocabulary_size=VOCABULARY, temperature=temperature, exact=exact
    )
    weights = [
        math.exp(-n / temperature) * (math.comb(length, n) * (VOCABULARY - 2) ** n if exact else 1)
        for n in range(length + 1)
    ]
    distances = np.asarray((noisy != labels).sum(axis=1))
    found = np.bincount(distances, minlength=length + 1)
    assert_law(found, np.array(weights) / sum(weights))


def test_each_position_and_each_other_label_is_as_likely(key):
    labels, paddings = repeat(20_000)
    noisy = switchout(key, labels, paddings, vocabulary_size=VOCABULARY, temperature=1.0)
    changed = np.asarray(noisy != labels)
    assert_law(changed.sum(axis=0), [0.25] * 4)
    for position in range(4):
        drawn = np.asarray(noisy)[changed[:, position], position]
        found = np.bincount(drawn, minlength=VOCABULARY)
        own = int(labels[0, position])
        assert_law(found, [0.0 if x in (0, own) else 0.25 for x in range(VOCABULARY)])


@pytest.mark.parametrize("exact", [False, True])
def test_switchout_leaves_padding_alone_and_low_temperature_everything(key, exact):
    options = {"vocabulary_size": VOCABULARY, "exact": exact}
    hot = np.asarray(switchout(key, LABELS, LABEL_PADDINGS, temperature=100.0, **options))
    assert (hot != LABELS).any()
    padded = np.asarray(LABEL_PADDINGS == 1)
    np.testing.assert_array_equal(hot[padded], np.asarray(LABELS)[padded])
    assert hot[~padded].min() >= 1
    assert hot.max() < VOCABULARY
    cold = switchout(key, LABELS, LABEL_PADDINGS, temperature=1e-3, **options)
    np.testing.assert_array_equal(cold, LABELS)
    wider = jnp.pad(LABELS, ((0, 0), (0, 5)))
    wider_paddings = jnp.pad(LABEL_PADDINGS, ((0, 0), (0, 5)), constant_values=1)
    again = switchout(key, wider, wider_paddings, temperature=100.0, **options)
    np.testing.assert_array_equal(again[:, :8], hot)


def test_sampled_labels_follow_the_language_model(key):
    labels, paddings = repeat(20_000)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, VOCABULARY)), jnp.float32)
    noisy = scheduled_sampling(key, labels, paddings, jnp.tile(logits, (20_000, 1, 1)), rate=0.4)
    odds = np.exp(np.asarray(logits[0], np.float64))
    odds[:, 0] = 0  # never the blank
    for position in range(4):
        law = 0.4 * odds[position] / odds[position].sum()
        law[int(labels[0, position])] += 0.6
        assert_law(np.bincount(np.asarray(noisy[:, position]), minlength=VOCABULARY), law)


def test_sampling_leaves_padding_alone(key):
    logits = jnp.zeros((4, 9, VOCABULARY))
    noisy = scheduled_sampling(key, LABELS, LABEL_PADDINGS, logits, rate=1.0)
    assert (noisy != LABELS).any()
    padded = np.asarray(LABEL_PADDINGS == 1)
    np.testing.assert_array_equal(np.asarray(noisy)[padded], np.asarray(LABELS)[padded])
    still = scheduled_sampling(key, LABELS, LABEL_PADDINGS, logits, rate=0.0)
    np.testing.assert_array_equal(still, LABELS)
    wider = scheduled_sampling(
        key,
        jnp.pad(LABELS, ((0, 0), (0, 3))),
        jnp.pad(LABEL_PADDINGS, ((0, 0), (0, 3)), constant_values=1),
        jnp.pad(logits, ((0, 0), (0, 3), (0, 0))),
        rate=1.0,
    )
    np.testing.assert_array_equal(wider[:, :8], noisy)


@pytest.mark.parametrize("ramp", ["linear", "exponential", "inverse_sigmoid"])
def test_ramps_rise_from_nothing_to_the_final_rate(ramp):
    rates = [float(sampling_rate(s, final=0.3, ramp=ramp)) for s in np.linspace(0, 1, 11)]
    assert rates[0] == pytest.approx(0, abs=1e-7)
    assert rates[-1] == pytest.approx(0.3, rel=1e-6)
    assert (np.diff(rates) > 0).all()
    middle = {"linear": 0.15, "inverse_sigmoid": 0.15}.get(ramp, 0.3 / (1 + math.exp(-2.5)))
    assert rates[5] == pytest.approx(middle, rel=1e-5)
    assert float(sampling_rate(1.5, final=0.3, ramp=ramp)) == pytest.approx(0.3, rel=1e-6)


def test_a_constant_rate_is_constant():
    assert float(sampling_rate(0.0, final=0.3, ramp="constant")) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="`ramp` must be constant, linear"):
        sampling_rate(0.0, final=0.3, ramp="cosine")


def make_alternatives(rows):
    """Three places, of which the second is empty; the third is longer than the labels."""
    alternatives = np.zeros((rows, 3, 6), int)
    paddings = np.ones((rows, 3, 6), np.float32)
    alternatives[:, 0, :2], paddings[:, 0, :2] = 5, 0
    alternatives[:, 2, :6], paddings[:, 2, :6] = 4, 0
    return jnp.asarray(alternatives), jnp.asarray(paddings)


def test_alternatives_are_drawn_whole_with_their_probabilities(key):
    rows = 20_000
    labels, paddings = repeat(rows)
    others = make_alternatives(rows)
    targets, target_paddings = nbest_smooth(key, labels, paddings, *others, probability=0.3)
    assert targets.shape == target_paddings.shape == (rows, 6)
    forms = [[1, 2, 3, 4, 0, 0], [5, 5, 0, 0, 0, 0], [4, 4, 4, 4, 4, 4]]
    found = [(np.asarray(targets) == form).all(axis=1) for form in forms]
    assert_law([which.sum() for which in found], [0.7, 0.15, 0.15])
    for which, length in zip(found, [4, 2, 6], strict=True):
        np.testing.assert_array_equal(
            target_paddings[which], np.tile(np.arange(6) >= length, (which.sum(), 1))
        )


def test_the_truth_stays_without_alternatives_or_probability(key):
    others = make_alternatives(4)
    for alternatives, paddings, probability in [
        (others[0], others[1], 0.0),
        (others[0], jnp.ones_like(others[1]), 1.0),
    ]:
        targets, target_paddings = nbest_smooth(
            key, LABELS, LABEL_PADDINGS, alternatives, paddings, probability=probability
        )
        np.testing.assert_array_equal(targets, LABELS)
        np.testing.assert_array_equal(target_paddings, LABEL_PADDINGS)


def test_draws_depend_on_the_key_alone_and_compile_once(key):
    logits = jnp.zeros((4, 9, VOCABULARY))
    calls = {
        switchout: ((), {"vocabulary_size": VOCABULARY, "temperature": 3.0}),
        scheduled_sampling: ((logits,), {"rate": 0.5}),
        nbest_smooth: (make_alternatives(4), {"probability": 0.5}),
    }
    for function, (arguments, options) in calls.items():

        def draw(seed, function=function, arguments=arguments, options=options):
            drawn = function(jax.random.key(seed), LABELS, LABEL_PADDINGS, *arguments, **options)
            return np.asarray(drawn if isinstance(drawn, jax.Array) else drawn[0])

        first, size = draw(0), function._cache_size()
        np.testing.assert_array_equal(draw(0), first)
        assert any((draw(seed) != first).any() for seed in range(1, 5))
        assert function._cache_size() == size


def test_bad_arguments_are_refused(key):
    options = {"vocabulary_size": VOCABULARY, "temperature": 0.0}
    with pytest.raises(ValueError, match="`temperature` must be positive, got 0"):
        switchout(key, LABELS, LABEL_PADDINGS, **options)
    with pytest.raises(ValueError, match="`vocabulary_size` must be at least 3"):
        switchout(key, LABELS, LABEL_PADDINGS, vocabulary_size=2, temperature=1.0)
    with pytest.raises(ValueError, match=r"`logits` must be \[4, 9, vocabulary\]"):
        scheduled_sampling(key, LABELS, LABEL_PADDINGS, jnp.zeros((4, 8, 6)), rate=0.5)
    alternatives, paddings = make_alternatives(3)
    with pytest.raises(ValueError, match="`alternatives` and `alternative_paddings` must both"):
        nbest_smooth(key, LABELS, LABEL_PADDINGS, alternatives, paddings, probability=0.5)
