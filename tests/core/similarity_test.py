"""How alike learners are, against numpy, and the bound on what ScaleCom keeps of a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, selection, similarity, sparsification, training
from gossamer.core.error_feedback import error_feedback
from gossamer.core.selection import CHUNKWISE, SORTED

N = 6


def draws(seed, n=N, size=240):
    return np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)


@pytest.mark.parametrize("kind", [CHUNKWISE, SORTED])
def test_hamming_distance(kind):
    x, rate, leader = draws(0), 8.0, 2
    run = learners.spread(
        lambda x: similarity.hamming_distance({"x": x}, rate, 8, selection=kind), N
    )

    def chosen(y):
        return set(np.asarray(kind.locate(kind.choose(jnp.asarray(y), rate), y.size, rate)))

    mine, best = chosen(x[leader]), chosen(x.mean(0))
    assert len(mine) == 30
    np.testing.assert_allclose(run(jnp.asarray(x)), 1 - len(mine & best) / 30, rtol=1e-6)
    equal = jnp.broadcast_to(x[:1], x.shape)
    np.testing.assert_array_equal(run(equal), 0.0)


def test_residual_cosine():
    x = draws(1)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = units @ units.T
    expected = (cosines.sum() - N) / (N * (N - 1))
    run = learners.spread(lambda x: similarity.residual_cosine({"a": x[:100], "b": x[100:]}), N)
    np.testing.assert_allclose(run(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(run(jnp.zeros_like(x)), 0.0)


def test_diagnostics_measure_what_is_compressed():
    optimizer = optax.chain(
        sparsification.scalecom({"a": 8.0, "b": 1.0}, 0.5), optax.sgd(0.1, momentum=0.9)
    )
    targets = {"a": jnp.asarray(draws(2)), "b": jnp.asarray(draws(3, size=5))}

    def loss(params, batch, key):
        del key
        return 0.5 * optax.tree.norm(optax.tree.sub(params, batch), squared=True), {}

    params = jax.tree.map(lambda x: jnp.zeros_like(x[0]), targets)
    state = training.init_state(params, optimizer, jax.random.key(0), num_learners=N)
    measure = similarity.diagnose(8.0, every=2)
    run = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner", diagnostics=measure), N
    )
    for step in range(4):
        residual = np.asarray(state.opt_state[0].residual["a"])
        gradients = np.asarray(state.params["a"] - targets["a"])
        state, report = run(state, targets)
        if step % 2 == 0:
            assert np.isnan(report["hamming_distance"]).all()
            continue
        u = residual + gradients
        own, best = (CHUNKWISE.choose(jnp.asarray(y), 8.0) for y in (u[step % N], u.mean(0)))
        distance = np.mean(own != best)
        np.testing.assert_allclose(report["hamming_distance"], distance, rtol=1e-6)
        ratio = np.linalg.norm(residual, axis=1) / np.linalg.norm(gradients, axis=1)
        np.testing.assert_allclose(report["residual_ratio"], ratio.mean(), rtol=1e-5)
    assert 0 < distance < 1


def test_an_optimizer_without_error_feedback_is_refused():
    with pytest.raises(ValueError, match="must have a link with error feedback"):
        similarity.find_state(optax.adam(1e-3).init(jnp.zeros(3)))


@pytest.mark.parametrize("correlation", [0.99, 0.5, 0.0])
def test_contraction_of_the_mean_is_within_its_bound(correlation, float64):
    """E ||y - sent||^2 <= (1 - gamma_0 (1 - d / 2k)) ||y||^2, averaged over the leaders."""
    size, rate, n = 20_000, 100.0, 16
    generator = np.random.default_rng(0)
    common = generator.standard_t(3, size)
    own = generator.standard_t(3, (n, size))
    u = jnp.asarray(np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)
    mean = np.asarray(u.mean(0))
    best = selection.largest(u.mean(0), 200)
    gamma_0 = 1 - np.sum(np.delete(mean, best) ** 2) / np.sum(mean**2)
    transform = error_feedback(sparsification.clt_k(SORTED), rate)
    run = learners.spread(lambda g, s: transform.update(g, s)[0], n)
    distance = learners.spread(
        lambda u, step: similarity.hamming_distance(u, rate, step, selection=SORTED), n
    )
    lost, distances = [], []
    for leader in range(n):
        state = learners.replicate(transform.init(u[0]), n)
        state = state._replace(step=jnp.full(n, leader, jnp.int32))
        sent = np.asarray(run(u, state)[0])
        lost.append(np.sum((mean - sent) ** 2) / np.sum(mean**2))
        distances.append(distance(u, jnp.full(n, leader))[0])
    bound = gamma_0 * (1 - np.mean(distances))
    assert bound > 0
    assert 1 - np.mean(lost) >= bound
