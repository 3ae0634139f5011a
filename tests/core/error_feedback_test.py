"""Error feedback with every compressor: the same battery, and the equations step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, sparsification, topology, traffic
from gossamer.core.error_feedback import all_reduce_bytes, error_feedback, resolve_rates
from gossamer.core.error_feedback import traffic as predicted_traffic
from gossamer.core.low_rank import power_sgd
from gossamer.core.one_bit import signs
from gossamer.core.selection import SORTED

N = 8
COMPRESSORS = {
    "clt_k": sparsification.clt_k(),
    "clt_k, sorted": sparsification.clt_k(SORTED),
    "local_top_k": sparsification.local_top_k(),
    "global_top_k": sparsification.global_top_k(),
    "gtop_k": sparsification.gtop_k(),
    "random_k": sparsification.random_k(),
    "power_sgd": power_sgd(),
    "signs": signs(),
}
SHAPES = {"bias": (), "kernel": (3, 2, 5, 4), "matrix": (20, 30), "vector": (31,)}


def gradients(seed, n=N, dtype=np.float32):
    """Multiples of 1/64, whose sums over a few steps are exact in float32."""
    generator = np.random.default_rng(seed)
    return {
        name: jnp.asarray(generator.integers(-256, 256, (n, *shape)) / 64.0, dtype)
        for name, shape in SHAPES.items()
    }


def start(transform, n=N):
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}
    return learners.replicate(transform.init(params), n)


def mean(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64).mean(0), tree)


@pytest.mark.parametrize("engine", ["shard_map", "pmap"])
@pytest.mark.parametrize("name", COMPRESSORS)
def test_battery(name, engine):
    transform = error_feedback(COMPRESSORS[name], 6.0, beta=0.5)
    traces = []

    def update(updates, state):
        traces.append(name)
        return transform.update(updates, state)

    simulate = learners.spread(transform.update, N)
    run = learners.spread(update, N, engine=engine)
    state, simulated = start(transform), start(transform)
    state = jax.device_put(state, learners.learner_sharding(N))
    for seed in range(3):
        g = gradients(seed)
        found, state = run(jax.device_put(g, learners.learner_sharding(N)), state)
        expected, simulated = simulate(g, simulated)
        for key, x in found.items():
            np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))  # All have the same.
            # Two values differ by the order of the sum over eight learners, and by what the factors
            # of a matrix of low rank make of it.
            np.testing.assert_allclose(x, expected[key], rtol=1e-5, atol=1e-5)
            assert x.dtype == g[key].dtype
    assert len(traces) == 1
    np.testing.assert_array_equal(state.step, np.full(N, 3))
    for leaf in jax.tree.leaves((found, state)):
        assert leaf.sharding.is_equivalent_to(learners.learner_sharding(N), leaf.ndim)


@pytest.mark.parametrize("name", [name for name in COMPRESSORS if name != "gtop_k"])
def test_nothing_is_lost_without_a_filter(name):
    transform = error_feedback(COMPRESSORS[name], 6.0)
    run = learners.spread(transform.update, N)
    state, sent, due = start(transform), 0.0, 0.0
    for seed in range(12):
        found, state = run(gradients(seed), state)
        sent = sent + np.concatenate([np.ravel(x[0]) for x in jax.tree.leaves(found)])
        due = due + np.concatenate([np.ravel(x) for x in jax.tree.leaves(mean(gradients(seed)))])
    left = np.concatenate([np.ravel(x) for x in jax.tree.leaves(mean(state.residual))])
    # Twelve sums of numbers of size 10 with errors of 2^-24 each.
    np.testing.assert_allclose(sent + left, due, atol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_follows_the_equations_of_scalecom(beta):
    rate, n = 5, 3
    transform = sparsification.scalecom(rate, beta, selection=SORTED)
    run = learners.spread(transform.update, n)
    state = start(transform, n)
    m = {name: np.zeros((n, int(np.prod(shape)))) for name, shape in SHAPES.items()}
    for step in range(7):
        g = gradients(step, n)
        found, state = run(g, state)
        for name in SHAPES:
            u = m[name] + np.asarray(g[name], np.float64).reshape(n, -1)
            count = max(1, round(u.shape[1] / rate))
            # Ties of the multiples of 1/64 are broken as `top_k` does, by the lower position.
            chosen = np.argsort(-np.abs(u[step % n]), kind="stable")[:count]
            sent = np.zeros_like(u)
            sent[:, chosen] = u[:, chosen]
            np.testing.assert_allclose(
                found[name][0].reshape(-1), sent.mean(0), rtol=1e-5, atol=1e-5
            )
            m[name] = (1 - beta) * m[name] + beta * (u - sent)
            residual = np.asarray(state.residual[name]).reshape(n, -1)
            np.testing.assert_allclose(residual, m[name], rtol=1e-5, atol=1e-5)
            # From here on from the float32 residual, lest roundings break ties apart.
            m[name] = residual.astype(np.float64)


def test_a_learner_alone_is_classic_top_k_with_error_feedback():
    transform = sparsification.scalecom(4.0, selection=SORTED)
    run = learners.spread(transform.update, 1)
    state, memory = start(transform, 1), np.zeros(600)
    for step in range(5):
        found, state = run(gradients(step, 1), state)
        memory += np.asarray(gradients(step, 1)["matrix"]).reshape(-1)
        kept = np.argsort(-np.abs(memory), kind="stable")[:150]
        expected = np.zeros(600)
        expected[kept], memory[kept] = memory[kept], 0.0
        np.testing.assert_array_equal(found["matrix"].reshape(-1), expected)


@pytest.mark.parametrize("options", [{"rate": 1.0}, {"rate": 9.0, "dense": True}])
def test_rate_one_is_a_dense_mean_without_residuals(options):
    transform = sparsification.scalecom(**options)
    found, state = learners.spread(transform.update, N)(gradients(0), start(transform))
    jax.tree.map(lambda x, m: np.testing.assert_array_equal(x[0], m), found, mean(gradients(0)))
    assert not jax.tree.leaves(state.residual)


def test_layers_have_rates_and_may_stay_dense():
    rates = {"bias": 1.0, "kernel": 10.0, "matrix": 20.0, "vector": 31.0}
    transform = sparsification.scalecom(
        rates, dense=lambda params: {name: name == "vector" for name in params}
    )
    found, state = learners.spread(transform.update, N)(gradients(0), start(transform))
    counts = {name: np.count_nonzero(x[0]) for name, x in found.items()}
    assert (counts["kernel"], counts["matrix"]) == (12, 30)
    np.testing.assert_array_equal(found["vector"][0], mean(gradients(0))["vector"])
    assert [x.shape for x in jax.tree.leaves(state.residual)] == [
        (N, *SHAPES["kernel"]),
        (N, *SHAPES["matrix"]),
    ]
    same = sparsification.scalecom(lambda params: rates | {"vector": 1.0})
    again, _ = learners.spread(same.update, N)(gradients(0), start(same))
    jax.tree.map(np.testing.assert_array_equal, found, again)


def test_first_steps_are_dense():
    transform = sparsification.scalecom(6.0, 0.1, warmup_steps=2)
    never = sparsification.scalecom(6.0, 0.1)
    run = learners.spread(transform.update, N)
    warm = learners.spread(lambda g, s: never.update(g, s, compress=False), N)
    state, other = start(transform), start(never)
    for step in range(2):
        found, state = run(gradients(step), state)
        plain, other = warm(gradients(step), other)
        jax.tree.map(
            lambda x, m: np.testing.assert_array_equal(x[0], m), found, mean(gradients(step))
        )
        jax.tree.map(np.testing.assert_array_equal, found, plain)
        assert not any(np.any(x) for x in jax.tree.leaves(state.residual))
    found, state = run(gradients(2), state)
    sparse, other = learners.spread(never.update, N)(gradients(2), other)
    jax.tree.map(np.testing.assert_array_equal, (found, state), (sparse, other))
    assert np.count_nonzero(found["matrix"][0]) == 100


def test_a_dense_step_leaves_no_other_branch_in_the_program():
    transform = sparsification.scalecom(6.0)
    step = learners.spread(
        lambda g, s: transform.update(g, s, compress=False), N, engine="shard_map"
    )
    compiled = step.lower(gradients(0), start(transform)).compile().as_text()
    assert "conditional" not in compiled
    assert "u8[" not in compiled


def test_half_precision_gradients_have_wide_residuals():
    transform = sparsification.scalecom(6.0, 0.5)
    g = gradients(0, dtype=jnp.bfloat16)
    found, state = learners.spread(transform.update, N)(g, start(transform))
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in jax.tree.leaves(state.residual)} == {jnp.dtype(jnp.float32)}


def test_without_an_axis_the_link_is_the_identity():
    transform = sparsification.scalecom(6.0, axis_name=None)
    g = jax.tree.map(lambda x: x[0], gradients(0))
    found, state = transform.update(g, transform.init(g))
    assert found is g
    assert state.step == 1


@pytest.mark.parametrize("name", [*COMPRESSORS, "dense"])
@pytest.mark.parametrize("n", [2, 8])
def test_compiled_programs_send_what_the_formulas_say(name, n):
    transform = error_feedback(COMPRESSORS.get(name, signs()), 6.0 if name != "dense" else 1.0)
    arguments = gradients(0, n), start(transform, n)
    compiled = learners.spread(transform.update, n, engine="shard_map").lower(*arguments).compile()
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), arguments[0])
    rate = 1.0 if name == "dense" else 6.0
    expected = predicted_traffic(COMPRESSORS.get(name, signs()), rate, params, n)
    found = traffic.measure(compiled).mean
    if name in ("clt_k", "clt_k, sorted", "random_k"):  # All agree on the step, of 4 bytes.
        expected += all_reduce_bytes(4, n)
    assert found == pytest.approx(expected)


def test_bytes_do_not_grow_with_learners_but_those_of_local_top_k_do():
    params = {"w": jax.ShapeDtypeStruct((1000, 1000), jnp.float32)}
    counts = (2, 8, 64, 512)
    constant = [predicted_traffic(sparsification.clt_k(), 100, params, n) for n in counts]
    growing = [predicted_traffic(sparsification.local_top_k(), 100, params, n) for n in counts]
    dense = predicted_traffic(sparsification.clt_k(), 1, params, 512)
    assert constant == [2 * (n - 1) / n * 1e4 * 5 for n in counts]
    assert growing == [(n - 1) * 1e4 * 8 for n in counts]
    assert growing[-1] > dense > 75 * constant[-1]


def test_composes_with_gossip_between_nodes():
    """Two nodes of four learners: compressed means inside, gossip of weights across."""
    graph = topology.ring(2)
    optimizer = optax.chain(
        sparsification.scalecom(6.0, 0.5),
        optax.sgd(0.1, momentum=0.9),
        gossip.mix(graph, axis_name="node"),
    )

    def update(params, g, state):
        updates, state = optimizer.update(g, state, params)
        return optax.apply_updates(params, updates), state

    def two_axes(tree):
        return jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), tree)

    params = jax.tree.map(lambda x: jnp.repeat(x[:, None], 4, axis=1), gradients(7, 2))
    state = learners.replicate(learners.replicate(optimizer.init(start_params()), 4), 2)
    simulated = jax.jit(jax.vmap(jax.vmap(update, axis_name="learner"), axis_name="node"))
    mesh = jax.make_mesh((2, 4), ("node", "learner"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    spec = jax.sharding.PartitionSpec("node", "learner")

    def on_slices(*arguments):
        results = update(*jax.tree.map(lambda x: x[0, 0], arguments))
        return jax.tree.map(lambda x: x[None, None], results)

    sharded = jax.jit(
        jax.shard_map(on_slices, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    )
    other, other_state = params, state
    for seed in range(3):
        g = two_axes(gradients(seed))
        params, state = simulated(params, g, state)
        other, other_state = sharded(other, g, other_state)
    for x, y in zip(*map(jax.tree.leaves, (params, other)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(x, np.broadcast_to(x[:, :1], x.shape))  # equal in a node
        # Both nodes weigh 1/2 in the ring of two, so their weights agree up to one update.
        assert not np.array_equal(x[0, 0], x[1, 0])


def start_params():
    return {name: jnp.zeros(shape) for name, shape in SHAPES.items()}


def test_shared_parameters_are_refused():
    transform = sparsification.scalecom(6.0)
    params = start_params()
    mesh = jax.make_mesh((N,), ("learner",), axis_types=(jax.sharding.AxisType.Auto,))

    def update(params, x):
        gradient = jax.grad(lambda p: sum(jnp.sum(leaf) for leaf in p.values()) * x[0])(params)
        return transform.update(gradient, transform.init(params), params)[0]

    run = jax.shard_map(
        update,
        mesh=mesh,
        in_specs=(jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("learner")),
        out_specs=jax.sharding.PartitionSpec(),
    )
    with pytest.raises(ValueError, match="must be each learner's own"):
        run(params, jnp.ones(N))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"beta": 0.0}, "`beta` must be above 0 and at most 1, got 0.0"),
        ({"beta": 1.5}, "`beta` must be above 0"),
        ({"warmup_steps": -1}, "`warmup_steps` must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        sparsification.scalecom(10.0, **arguments)


@pytest.mark.parametrize("rate", [0.5, float("nan"), float("inf"), {"a": 2.0, "b": -1.0}])
def test_bad_rates_are_refused(rate):
    with pytest.raises(ValueError, match="`rate` must be at least 1 and finite, got"):
        resolve_rates({"a": jnp.zeros(3), "b": jnp.zeros(3)}, rate)


def test_gtop_k_needs_a_power_of_two():
    transform = error_feedback(sparsification.gtop_k(), 6.0)
    with pytest.raises(ValueError, match="power of two of learners, got 3"):
        learners.spread(transform.update, 3)(gradients(0, 3), start(transform, 3))
