"""Diagnostics against closed forms, NumPy and dense Hessians; decentralized against synchronous."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, landscape, learners, topology, training

N, FEATURES, ROWS = 4, 5, 3


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def on_learners(function, *arguments, engine="vmap"):
    """The result of learner 0, once all learners are seen to have the same."""
    results = learners.spread(function, len(jax.tree.leaves(arguments)[0]), engine=engine)(
        *arguments
    )

    def first(x):
        np.testing.assert_array_equal(x, np.broadcast_to(np.asarray(x)[:1], x.shape))
        return np.asarray(x)[0]

    return jax.tree.map(first, results)


def squares(params, batch, key):
    """Linear regression with weights in two leaves; the gradient is X^T (X w - y) / rows."""
    del key
    x, y = batch
    error = x[:, :2] @ params["a"] + x[:, 2:] @ params["b"] - y
    return 0.5 * jnp.mean(jnp.square(error)), {}


def as_params(w):
    return {"a": w[..., :2], "b": w[..., 2:]}


def regression_gradients(w, batch):
    """NumPy: the gradient [n, features] of each learner's batch at its weights [n, features]."""
    x, y = batch
    error = np.einsum("nrf,nf->nr", x, w) - y
    return np.einsum("nrf,nr->nf", x, error) / x.shape[1]


def test_effective_learning_rate_of_an_example_by_hand():
    gradients = {"x": jnp.array([[1.0, 3.0], [3.0, 1.0]]), "y": jnp.array([0.0, 2.0])}
    reference = {"x": jnp.array([[4.0, 0.0], [4.0, 0.0]]), "y": jnp.array([1.0, 5.0])}
    # Means (2, 2, 1) and (4, 0, 3): 0.1 * (8 + 3) / 25.
    found = on_learners(
        lambda g, r: landscape.effective_learning_rate(g, r, learning_rate=0.1),
        gradients,
        reference,
    )
    np.testing.assert_allclose(found, 0.044, rtol=1e-6)


def test_shared_hessian_keeps_the_learning_rate_and_adds_no_noise(float64):
    """g_a = H (w_a - t) = g wherever the learners are."""
    root = draw(0, FEATURES, FEATURES)
    hessian = root @ root.T
    w = draw(1, N, FEATURES)

    def measure(w):
        def gradient(w):
            return hessian @ (w - 1.0)

        at_mean = gradient(jax.lax.pmean(w, "learner"))
        gradients = gradient(w)
        rate = landscape.effective_learning_rate(gradients, at_mean, learning_rate=0.3)
        return rate, landscape.noise_decomposition(gradients, at_mean, at_mean, learning_rate=0.3)

    rate, noise = on_learners(measure, w)
    np.testing.assert_allclose(rate, 0.3, rtol=1e-10)
    np.testing.assert_allclose(noise, np.zeros(4), atol=1e-20)


def test_noise_of_linear_regression_against_numpy(float64):
    """g_DP - g_S = (1/n) sum_j H_j (w_j - w_a) exactly, the H_j those of the minibatches."""
    a, w, batch = 0.2, draw(0, N, FEATURES), (draw(1, N, ROWS, FEATURES), draw(2, N, ROWS))
    all_x, all_y = draw(3, 40, FEATURES), draw(4, 40)
    mean = np.broadcast_to(w.mean(axis=0), w.shape)
    g = all_x.T @ (all_x @ mean[0] - all_y) / 40
    across = np.eye(FEATURES) - np.outer(g, g) / (g @ g)
    eta_s = -a * across @ regression_gradients(mean, batch).mean(axis=0)
    hessians = np.einsum("nrf,nrg->nfg", batch[0], batch[0]) / ROWS
    eta_2 = -a * across @ np.einsum("nfg,ng->nf", hessians, w - mean).mean(axis=0)

    gradients = as_params(regression_gradients(w, batch))
    at_mean = as_params(regression_gradients(mean, batch))
    reference = as_params(np.broadcast_to(g, w.shape))
    noise = on_learners(
        lambda *x: landscape.noise_decomposition(*x, learning_rate=a),
        *(gradients, at_mean, reference),
    )
    total = np.sum((eta_s + eta_2) ** 2)
    np.testing.assert_allclose(noise.total, total, rtol=1e-10)
    np.testing.assert_allclose(noise.minibatch, eta_s @ eta_s, rtol=1e-10)
    np.testing.assert_allclose(noise.landscape, total - eta_s @ eta_s, rtol=1e-9)
    np.testing.assert_allclose(noise.displacement, eta_2 @ eta_2, rtol=1e-10)


def test_smoothed_gradient_of_a_quadratic_is_exact(key, float64):
    w = draw(0, N, FEATURES)

    def smooth(w, key):
        return landscape.smoothed_gradient(lambda w: 3.0 * w - 1.0, w, key, scale=2.0, num_pairs=1)

    found = on_learners(smooth, w, jax.random.split(key, N))
    np.testing.assert_allclose(found, 3.0 * w.mean(axis=0) - 1.0, rtol=1e-10)


@pytest.mark.parametrize("axis_name", [None, "learner"])
def test_smoothed_gradient_of_a_cosine_shrinks(axis_name, key, float64):
    """E cos'(w + d) = -exp(-s^2 / 2) sin(w); the learners' own spread gives s where it is left."""
    size, num_pairs, w = 2000, 8, 0.7
    gradient = jax.grad(lambda w: jnp.sum(jnp.cos(w)))
    if axis_name is None:
        scale, num_learners = 0.8, 1
        found = landscape.smoothed_gradient(
            gradient, jnp.full(size, w), key, scale=scale, num_pairs=num_pairs, axis_name=None
        )
    else:
        # Offsets of +-0.8 in pairs: the mean stays and sigma_w^2 is 0.64 for each coordinate.
        scale, num_learners = 0.8, 4
        offsets = np.array([1.0, -1.0, 1.0, -1.0])[:, None] * np.full(size, scale)
        found = on_learners(
            lambda w, key: landscape.smoothed_gradient(gradient, w, key, num_pairs=num_pairs),
            *(w + offsets, jax.random.split(key, num_learners)),
        )
    expected = -np.exp(-(scale**2) / 2.0) * np.sin(w)
    # A pair gives -sin(w) cos(d) with Var cos(d) = (1 - exp(-s^2))^2 / 2; four standard errors.
    spread = np.sin(w) * (1.0 - np.exp(-(scale**2))) / np.sqrt(2.0)
    tolerance = 4.0 * spread / np.sqrt(size * num_pairs * num_learners)
    np.testing.assert_allclose(np.mean(found), expected, atol=tolerance, rtol=0)


def rosenbrock(w):
    return jnp.sum(100.0 * jnp.square(w[1:] - jnp.square(w[:-1])) + jnp.square(1.0 - w[:-1]))


def test_sharpness_equals_the_dense_hessian(float64):
    w = draw(0, N, FEATURES)
    d = w - w.mean(axis=0)
    hessian = np.asarray(jax.hessian(rosenbrock)(jnp.asarray(w.mean(axis=0))))
    expected = np.mean(np.einsum("nf,fg,ng->n", d, hessian, d) / np.sum(d * d, axis=1))
    found = on_learners(lambda w: landscape.sharpness(jax.grad(rosenbrock), w), w)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def trained(diagnostics, key, engine="vmap", num_steps=3):
    """States and reports of regression on the ring of 4."""
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(N))
    one = training.train_step(squares, optimizer, axis_name="learner", diagnostics=diagnostics)
    step = learners.spread(one, N, engine=engine)
    state = training.init_state(as_params(jnp.ones(FEATURES)), optimizer, key, num_learners=N)
    reports = []
    for number in range(num_steps):
        batch = draw(number, N, ROWS, FEATURES), draw(100 + number, N, ROWS)
        state, report = step(state, jax.tree.map(lambda x: x.astype(np.float32), batch))
        reports.append(jax.tree.map(np.asarray, report))
    return state, reports


REFERENCE = (draw(7, N, 20, FEATURES).astype(np.float32), draw(8, N, 20).astype(np.float32))


@pytest.mark.parametrize("engine", ["shard_map", "pmap"])
def test_diagnostics_agree_between_engines_and_leave_the_training_alone(engine, key):
    diagnostics = landscape.diagnose(
        squares, learning_rate=0.1, reference=REFERENCE, every=2, num_pairs=2
    )
    plain, _ = trained(None, key)
    state, expected = trained(diagnostics, key)
    jax.tree.map(np.testing.assert_array_equal, state.params, plain.params)
    _, found = trained(diagnostics, key, engine)
    names = {"effective_learning_rate", "predicted_learning_rate", "sharpness"}
    assert names | {"minibatch_noise", "landscape_noise"} <= set(found[0])
    for name in expected[0]:
        for step in range(3):
            # All-reduces sum in another order; differences of squares of order one cancel.
            np.testing.assert_allclose(
                found[step][name], expected[step][name], rtol=1e-4, atol=1e-6, err_msg=name
            )
        if name in names:
            assert [np.isnan(report[name]).all() for report in found] == [True, False, True]
    # Pairs are exact for a quadratic.
    np.testing.assert_allclose(found[1]["predicted_learning_rate"], np.full(N, 0.1), rtol=1e-4)


def test_metrics_of_a_step_against_numpy(key):
    schedule = optax.linear_schedule(0.1, 0.3, 2)
    diagnostics = landscape.diagnose(squares, learning_rate=schedule, reference=REFERENCE)
    state, _ = trained(None, key, num_steps=2)
    _, reports = trained(diagnostics, key)
    w = np.concatenate([state.params["a"], state.params["b"]], axis=1).astype(np.float64)
    mean = np.broadcast_to(w.mean(axis=0), w.shape)
    batch = draw(2, N, ROWS, FEATURES), draw(102, N, ROWS)
    g_a = regression_gradients(w, batch).mean(axis=0)
    g_s = regression_gradients(mean, batch).mean(axis=0)
    g = regression_gradients(mean, REFERENCE).mean(axis=0)
    across = np.eye(FEATURES) - np.outer(g, g) / (g @ g)
    minibatch = 0.09 * g_s @ across @ g_s
    expected = {
        "effective_learning_rate": 0.3 * (g_a @ g) / (g @ g),
        "minibatch_noise": minibatch,
        "landscape_noise": 0.09 * g_a @ across @ g_a - minibatch,
    }
    for name, value in expected.items():
        # Float32 over three steps against float64, and a difference of squares.
        np.testing.assert_allclose(
            reports[2][name], np.full(N, value), rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_own_minibatches_as_reference_have_no_minibatch_noise(key):
    _, reports = trained(landscape.diagnose(squares, learning_rate=0.1), key)
    np.testing.assert_allclose(reports[2]["minibatch_noise"], np.zeros(N), atol=1e-12)
    assert (reports[2]["landscape_noise"] > 0).all()


def test_steps_between_measurements_compute_nothing(key):
    """Under `vmap` too the measurement stays behind a condition."""
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(N))
    diagnostics = landscape.diagnose(squares, learning_rate=0.1, every=10)
    one = training.train_step(squares, optimizer, axis_name="learner", diagnostics=diagnostics)
    state = training.init_state(as_params(jnp.ones(FEATURES)), optimizer, key, num_learners=N)
    batch = jnp.ones((N, ROWS, FEATURES)), jnp.ones((N, ROWS))
    assert "cond[" in str(jax.make_jaxpr(learners.spread(one, N))(state, batch))


def test_bad_arguments_are_refused(key):
    with pytest.raises(ValueError, match="`num_pairs` must be at least 1, got 0"):
        landscape.smoothed_gradient(jnp.cos, jnp.ones(2), key, scale=1.0, num_pairs=0)
    with pytest.raises(ValueError, match="`scale` must be given without an axis"):
        landscape.smoothed_gradient(jnp.cos, jnp.ones(2), key, axis_name=None)
    with pytest.raises(ValueError, match="`every` must be at least 1, got 0"):
        landscape.diagnose(squares, learning_rate=0.1, every=0)
    with pytest.raises(ValueError, match="`num_pairs` must be at least 0, got -1"):
        landscape.diagnose(squares, learning_rate=0.1, num_pairs=-1)


def digit_losses(digits, optimizer_of, seeds, num_steps=500, num_learners=6, batch_size=250):
    """Final training losses of the mean weights: MLP on digits, step 1.5 after a warm-up of 100."""
    optimizer = optimizer_of(optax.sgd(lambda step: 1.5 * jnp.minimum(1.0, (step + 1) / 100)))
    one = training.train_step(digits.loss, optimizer, axis_name="learner")
    step = learners.spread(one, num_learners)

    def train(key, batches):
        state = training.init_state(
            digits.init(jax.random.key(0)), optimizer, key, num_learners=num_learners
        )
        state, _ = jax.lax.scan(lambda state, batch: (step(state, batch)[0], None), state, batches)
        return digits.loss(learners.average(state.params), jnp.arange(1500), key)[0]

    rows = np.tile(np.arange(1500), (len(seeds) * num_steps, 1))
    drawn = np.random.default_rng(0).permuted(rows, axis=1)[:, : num_learners * batch_size]
    batches = jnp.asarray(drawn.reshape(len(seeds), num_steps, num_learners, batch_size))
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    return np.asarray(jax.jit(lambda *x: jax.lax.map(lambda run: train(*run), x))(keys, batches))


@pytest.mark.slow
@pytest.mark.usefixtures("optimized_code")
def test_large_steps_fail_synchronously_and_converge_on_the_ring(digits):
    """One initial weight vector, seeds of the batches alone: setting A of docs/landscape.md."""
    synchronous = digit_losses(
        digits, lambda inner: optax.chain(gossip.all_reduce(), inner), range(8)
    )
    ring = digit_losses(digits, lambda inner: gossip.dpsgd(inner, topology.ring(6)), range(8))
    assert np.sum(synchronous < 0.5) <= 1
    assert np.sum(ring < 0.5) >= 5
