"""PowerSGD against numpy and on matrices of low rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import learners
from gossamer.core.low_rank import choose_rank, orthonormalize, power_sgd

N = 4


def reduce(arrays, rate, memory):
    def one(arrays, memory):
        return power_sgd().reduce(arrays, [rate] * len(arrays), memory, jnp.asarray(0), "learner")

    return learners.spread(one, N)(arrays, memory)


def test_follows_the_equations():
    x = np.random.default_rng(0).standard_normal((N, 12, 10)).astype(np.float32)
    (q,) = power_sgd().init([x[0]], [2.0])
    assert q.shape == (10, 2)
    found = reduce([jnp.asarray(x)], 2.0, learners.replicate([q], N))
    p, _ = np.linalg.qr(np.mean([m @ np.asarray(q) for m in x], axis=0))
    mean = p @ p.T @ x.mean(0)  # P Q^T with Q = M^T P, whatever the basis of P.
    # Three products of ten terms in float32.
    np.testing.assert_allclose(found.mean[0][0], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.rest[0], x - mean[None], rtol=1e-4, atol=1e-5)


def test_finds_a_matrix_of_low_rank_exactly():
    generator = np.random.default_rng(1)
    x = generator.standard_normal((N, 3, 20, 2)) @ generator.standard_normal((2, 30))
    x = jnp.asarray(x[:, :1].repeat(3, axis=1), jnp.float32)  # rank 2 as [60, 30]
    x = jnp.broadcast_to(x[:1], x.shape)
    memory = learners.replicate(power_sgd().init([x[0]], [10.0]), N)
    assert memory[0].shape == (N, 30, 2)
    found = reduce([x], 10.0, memory)
    # The residual of numbers of size 5 after products of 30 and 60 terms.
    np.testing.assert_allclose(found.rest[0], 0.0, atol=5e-5)


def test_double_precision_stays_where_it_is(float64):
    for dtype in (jnp.float32, jnp.float64):
        x = jnp.ones((N, 20, 30), dtype)
        found = reduce([x], 10.0, learners.replicate(power_sgd().init([x[0]], [10.0]), N))
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


def test_small_arrays_are_sent_whole():
    arrays = [jnp.arange(N * 6.0).reshape(N, 6), jnp.ones((N, 2, 2))]
    memory = power_sgd().init([x[0] for x in arrays], [4.0, 4.0])
    assert memory == [None, None]
    found = reduce(arrays, 4.0, memory)
    np.testing.assert_array_equal(found.mean[0][0], arrays[0].mean(0))
    assert not any(np.any(x) for x in found.rest)


def test_what_is_sent_is_two_factors_of_four_bytes_an_element():
    """A ring of two sends its bytes once; of rank 2 are (60 + 40) 2 elements, of a bias all."""
    arrays = [jnp.ones((60, 40)), jnp.ones(7)]
    assert choose_rank((60, 40), 12.0) == 2
    assert power_sgd().traffic(arrays, [12.0, 12.0], 2) == 4 * (200 + 7)


@pytest.mark.parametrize(
    ("shape", "rate", "rank"),
    [((100, 100), 10.0, 5), ((100, 100), 400.0, 1), ((3, 3, 8, 16), 2.0, 6), ((9,), 2.0, 0)],
)
def test_rank_reaches_the_rate(shape, rate, rank):
    assert choose_rank(shape, rate) == rank


def test_orthonormal_columns_span_those_given(key):
    x = jax.random.normal(key, (40, 6)) * 10.0 ** jnp.arange(-3, 3)[None]
    x = x.at[:, 5].set(x[:, 4] + 1e-4 * x[:, 5])  # almost dependent
    q = np.asarray(orthonormalize(x), np.float64)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(q @ (q.T @ x), x, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(orthonormalize(jnp.zeros((4, 2))), 0.0)
