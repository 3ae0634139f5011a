"""Selections against numpy, and the rescue of coarse compression by the filter."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, sparsification, training
from gossamer.core.error_feedback import error_feedback
from gossamer.core.selection import CHUNKWISE, SORTED

N, SIZE, RATE = 4, 120, 6.0


def draws(seed=0):
    return np.random.default_rng(seed).standard_normal((N, SIZE)).astype(np.float32)


def reduce(compressor, arrays, step=0):
    """(mean, rest) of one array, [N, SIZE] each."""

    def one(x):
        found = compressor.reduce([x], [RATE], (), jnp.asarray(step), "learner")
        return found.mean[0], found.rest[0]

    return [np.asarray(x) for x in learners.spread(one, N)(jnp.asarray(arrays))]


def top(x, count=SIZE // int(RATE)):
    return np.argsort(-np.abs(x), kind="stable")[:count]


@pytest.mark.parametrize("step", [0, 3, 6])
def test_clt_k_sends_what_the_leader_chooses(step):
    x = draws()
    mean, rest = reduce(sparsification.clt_k(SORTED), x, step)
    chosen = top(x[step % N])
    expected = np.zeros(SIZE)
    expected[chosen] = x[:, chosen].mean(0)
    np.testing.assert_allclose(mean, np.broadcast_to(expected, x.shape), rtol=1e-5, atol=1e-7)
    x[:, chosen] = 0.0
    np.testing.assert_array_equal(rest, x)


def test_clt_k_by_chunks_sends_the_largest_of_each():
    x = draws()
    mean, _ = reduce(sparsification.clt_k(), x, 1)
    chosen = CHUNKWISE.locate(CHUNKWISE.choose(jnp.asarray(x[1]), RATE), SIZE, RATE)
    np.testing.assert_array_equal(np.flatnonzero(mean[0]), np.sort(chosen))


def test_local_top_k_gathers_the_choices_of_all():
    x = draws()
    mean, rest = reduce(sparsification.local_top_k(), x)
    sent = np.zeros_like(x)
    for i in range(N):
        sent[i, top(x[i])] = x[i, top(x[i])]
    np.testing.assert_allclose(mean[0], sent.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(rest, x - sent)
    assert SIZE / RATE < np.count_nonzero(mean[0]) <= N * SIZE / RATE


def test_global_top_k_knows_the_mean():
    x = draws()
    mean, rest = reduce(sparsification.global_top_k(), x)
    chosen = top(x.mean(0))
    np.testing.assert_array_equal(np.flatnonzero(mean[0]), np.sort(chosen))
    np.testing.assert_allclose(mean[0, chosen], x.mean(0)[chosen], rtol=1e-6)
    x[:, chosen] = 0.0
    np.testing.assert_array_equal(rest, x)


def test_gtop_k_merges_by_pairs():
    x = draws()

    def cut(y):
        kept = np.zeros_like(y)
        kept[top(y)] = y[top(y)]
        return kept

    pairs = [cut(cut(x[0]) + cut(x[1])), cut(cut(x[2]) + cut(x[3]))]
    expected = cut(pairs[0] + pairs[1])
    mean, rest = reduce(sparsification.gtop_k(), x)
    np.testing.assert_allclose(mean, np.broadcast_to(expected / N, x.shape), rtol=1e-6)
    for i in range(N):
        sent = np.where((cut(x[i]) != 0) & (expected != 0), x[i], 0.0)
        np.testing.assert_array_equal(rest[i], x[i] - sent)


def test_random_k_draws_the_same_on_all_and_anew_each_step():
    x = draws()
    means = [reduce(sparsification.random_k(), x, step)[0] for step in range(3)]
    for mean in means:
        chosen = np.flatnonzero(mean[0])
        assert len(chosen) == SIZE / RATE
        np.testing.assert_allclose(mean[0, chosen], x.mean(0)[chosen], rtol=1e-5, atol=1e-7)
    assert not np.array_equal(means[0] != 0, means[1] != 0)


def test_arrays_of_several_index_widths_share_their_messages():
    compressor = sparsification.clt_k()
    arrays = [jnp.asarray(draws(seed)) for seed in range(3)]
    rates = [6.0, 300.0, 10.0]

    def one(*arrays):
        return compressor.reduce(list(arrays), rates, (), jnp.asarray(0), "learner").mean

    means = learners.spread(one, N)(*arrays)
    assert [np.count_nonzero(mean[0]) for mean in means] == [20, 1, 12]
    for mean, x in zip(means, arrays, strict=True):
        chosen = np.flatnonzero(mean[0])
        np.testing.assert_allclose(mean[0][chosen], x.mean(0)[chosen], rtol=1e-5, atol=1e-7)


def test_rates_of_layers_follow_their_work():
    work = {"convolution": 500.0, "middle": 150.0, "last": 32.0}
    assert sparsification.layer_rates(work) == {"convolution": 25.0, "middle": 50.0, "last": 400.0}


@pytest.mark.slow
@pytest.mark.usefixtures("optimized_code")
def test_the_filter_rescues_coarse_compression_at_a_scaled_learning_rate(digits):
    """Sixteen learners, one element of 128: see benchmarks/compressed_training.py."""

    def losses(compressor, rate, beta):
        link = error_feedback(compressor, rate, beta=beta, warmup_steps=30)
        optimizer = optax.chain(
            optax.flatten(link),
            optax.sgd(lambda step: 0.1 * jnp.minimum(1.0, (step + 1) / 60), momentum=0.9),
        )
        step = learners.spread(training.train_step(digits.loss, optimizer, axis_name="learner"), 16)

        @jax.jit
        def train(seed):
            keys = jax.random.split(jax.random.key(seed), 3)
            state = training.init_state(digits.init(keys[0]), optimizer, keys[1], num_learners=16)
            batches = jax.random.randint(keys[2], (600 * 16 * 64,), 0, 1500).reshape(600, 16, 64)
            state, _ = jax.lax.scan(lambda s, b: (step(s, b)[0], None), state, batches)
            return digits.loss(learners.average(state.params), jnp.arange(1500), None)[0]

        return np.asarray([train(seed) for seed in range(3)])

    dense = losses(sparsification.clt_k(), 1.0, 1.0)
    classic = losses(sparsification.clt_k(), 128.0, 1.0)
    filtered = losses(sparsification.clt_k(), 128.0, 0.1)
    assert np.median(classic) > 10 * np.median(dense)
    assert np.median(filtered) < 3 * np.median(dense)
