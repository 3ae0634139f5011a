"""Push-sum against the two dense products P x and P w, and what it conserves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, push_sum, topology

# A directed graph of four learners, in which learner 0 is heard by more than others are.
SHARES = np.array(
    [[0.4, 0.0, 0.5, 0.1], [0.2, 0.7, 0.0, 0.0], [0.2, 0.3, 0.5, 0.0], [0.2, 0.0, 0.0, 0.9]]
)
CHANGING = np.stack([SHARES, np.roll(np.eye(4), 1, axis=0) / 2.0 + np.eye(4) / 2.0])


def train(optimizer, x, centers, num_steps, engine="vmap"):
    """Descends (z - center)^2 / 2 from z = x: weights [steps, n, 3], and the last state."""

    def run(x, center):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(x - center, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), (x, state)

        return jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)[1]

    path, states = learners.spread(run, len(x), engine=engine)(x, centers)
    return np.swapaxes(path, 0, 1), states


def random_pair(dtype=np.float64):
    generator = np.random.default_rng(0)
    return [generator.standard_normal((4, 3)).astype(dtype) for _ in range(2)]


@pytest.mark.parametrize("order", ["awc", "atc"])
def test_follows_the_dense_products(order, float64):
    start, centers = random_pair()
    optimizer = optax.chain(optax.sgd(0.1), push_sum.push_sum(CHANGING, order=order))
    found, states = train(optimizer, start, centers, 12)
    x, w = start, np.ones((4, 1))
    expected, weights = [], []
    for step in range(12):
        shares, update = CHANGING[step % 2], -0.1 * (x / w - centers)
        x = shares @ (x + update) if order == "atc" else shares @ x + update
        w = shares @ w
        expected.append(x / w)
        weights.append(w[:, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(states[-1].weight.T, weights, rtol=1e-12)
    assert np.ptp(weights[-1]) > 0.1


@pytest.mark.parametrize("matrix", [SHARES, CHANGING], ids=["static", "changing"])
def test_conserves_both_sums_and_all_learners_reach_the_mean(matrix, float64):
    start, centers = random_pair()
    optimizer = optax.chain(optax.sgd(0.0), push_sum.push_sum(matrix))
    z, states = train(optimizer, start, centers, 300)
    w = states[-1].weight.T  # [steps, learners]
    np.testing.assert_allclose(w.sum(axis=1), np.full(300, 4.0), rtol=1e-12)
    sums = np.einsum("ti,tik->tk", w, z)
    np.testing.assert_allclose(sums, np.broadcast_to(start.sum(axis=0), (300, 3)), rtol=1e-12)
    mean = np.broadcast_to(start.mean(axis=0), (4, 3))
    np.testing.assert_allclose(z[-1], mean, rtol=0, atol=1e-10)


def test_trains_to_the_optimum_of_the_mean_loss_though_learners_are_heard_unequally(float64):
    """The mean of x rests where mean(z - center) is zero, at any constant step size."""
    start, centers = random_pair()
    inner = optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.0, 0.1, 20))
    z, _ = train(optax.chain(inner, push_sum.push_sum(SHARES)), start, centers, 600)
    np.testing.assert_allclose(z[-1].mean(axis=0), centers.mean(axis=0), rtol=0, atol=1e-10)
    # Averages of the same graph with rows made to sum to one weigh the learners by this vector.
    rows = SHARES / SHARES.sum(axis=1, keepdims=True)
    heard = np.linalg.matrix_power(rows, 300)[0]
    assert np.abs(heard @ centers - centers.mean(axis=0)).max() > 0.1


@pytest.mark.parametrize("order", ["awc", "atc"])
def test_is_gossip_for_doubly_stochastic_matrices(order, float64):
    start, centers = random_pair()
    graph = topology.one_peer_exponential(4)
    matrices = np.stack([graph.matrix(step) for step in range(graph.period)])
    link = push_sum.push_sum(matrices, order=order)
    found, _ = train(optax.chain(optax.sgd(0.1), link), start, centers, 10)
    expected, _ = train(gossip.dpsgd(optax.sgd(0.1), graph, order=order), start, centers, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.usefixtures("optimized_code")
@pytest.mark.parametrize("order", ["awc", "atc"])
def test_same_bits_in_all_engines(order):
    optimizer = optax.chain(optax.adam(0.03), push_sum.push_sum(CHANGING, order=order))
    expected = train(optimizer, *random_pair(np.float32), 30)
    for engine in ("shard_map", "pmap"):
        found = train(optimizer, *random_pair(np.float32), 30, engine)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_learners_that_agree_stay_exactly():
    start = np.tile(np.float32(1.1) ** np.arange(3, dtype=np.float32), (4, 1))
    z, _ = train(push_sum.push_sum(SHARES), start, start, 5)
    np.testing.assert_array_equal(z, np.broadcast_to(start, (5, 4, 3)))


def test_keeps_dtypes_compiles_once_and_accepts_shapes():
    optimizer = optax.chain(optax.sgd(0.1), push_sum.push_sum(CHANGING))
    traces = []

    def update(x, state):
        traces.append(1)
        updates, state = optimizer.update(x, state, x)
        return optax.apply_updates(x, updates), state

    x = jnp.ones((4, 3), jnp.bfloat16)
    state = learners.replicate(optimizer.init(jax.ShapeDtypeStruct((3,), jnp.bfloat16)), 4)
    run = learners.spread(update, 4)
    new, new_state = run(*run(x, state))
    assert len(traces) == 1
    assert new.dtype == jnp.bfloat16
    assert jax.tree.map(jnp.result_type, new_state) == jax.tree.map(jnp.result_type, state)


def test_without_an_axis_it_is_the_identity():
    link = push_sum.push_sum(SHARES, axis_name=None)
    updates, _ = link.update(jnp.ones(3), link.init(jnp.ones(3)), jnp.ones(3))
    np.testing.assert_array_equal(updates, np.ones(3))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (SHARES.T, "column stochastic"),
        (np.array([[1.0, 1.0], [0.0, 0.0]]), "row of zeros in step 0"),
        (np.kron(np.eye(2), np.full((2, 2), 0.5)), "strongly connected .* got 2 parts"),
        (np.array([[1.0, 0.5], [0.0, 0.5]]), "strongly connected"),
    ],
)
def test_matrices_that_cannot_converge_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        push_sum.push_sum(matrix)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='`order` must be "awc" or "atc"'):
        push_sum.push_sum(SHARES, order="push")
    link = push_sum.push_sum(SHARES)
    with pytest.raises(ValueError, match="`params` must be given"):
        link.update(jnp.ones(3), link.init(jnp.ones(3)))
    with pytest.raises(ValueError, match="4 learners on an axis of size 2"):
        train(link, np.ones((2, 3)), np.ones((2, 3)), 1)
