"""Gossip against the dense mixing matrix and against the closed forms of its linear dynamics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import gossip, learners, topology, topology_algebra
from gossamer.core.topology import Topology

ENGINES = ("vmap", "shard_map", "pmap")
ORDERS = ("awc", "atc")
FAMILIES = {"ring": topology.ring, "complete": topology.complete}
GRAPHS = {
    "torus": topology.torus(2, 4),
    "hypercube": topology.hypercube(8),
    "star": topology.star(8),
    "exponential": topology.exponential(8),
    "one-peer exponential": topology.one_peer_exponential(8),
    "random ring": topology.random_ring(8, seed=0, period=3),
    "random matching": topology.random_matching(7, seed=0, period=3),
    "base graph": topology.base_graph(7),
    "hierarchical": topology.hierarchical(topology.ring(4), learners_per_node=2),
}
SHAPES = {"bias": (), "vector": (5,), "matrix": (3, 4), "tensor": (2, 3, 2)}

# Neither symmetric nor static, with unequal weights.
CHANGING = Topology(
    4,
    (
        (((0, 1, 2, 3), 0.5), ((1, 2, 3, 0), 0.3), ((2, 3, 0, 1), 0.2)),
        (((1, 0, 3, 2), 1.0),),
        topology.complete(4).mixings[0],
    ),
)


def random_tree(seed, n, dtype=np.float32):
    generator = np.random.default_rng(seed)
    return {k: generator.standard_normal((n, *s)).astype(dtype) for k, s in SHAPES.items()}


def one_update(transform):
    """(params, updates, state) -> (new params, new state) of one learner."""

    def update(params, updates, state):
        updates, state = transform.update(updates, state, params)
        return optax.apply_updates(params, updates), state

    return update


def mix_densely(w, tree):
    return {k: np.einsum("ij,j...->i...", w, x.astype(np.float64)) for k, x in tree.items()}


def assert_trees_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_battery(family, n, engine):
    transform = gossip.mix(FAMILIES[family](n))
    traces = []

    def counted(params, updates, state):
        traces.append(n)
        return one_update(transform)(params, updates, state)

    params, updates = random_tree(0, n), random_tree(1, n)
    state = learners.replicate(transform.init(params), n)
    arguments = params, updates, state
    if engine != "vmap":
        arguments = jax.device_put(arguments, learners.learner_sharding(n))
    run = learners.spread(counted, n, engine=engine)
    mixed, state = run(*arguments)
    again, state = run(mixed, arguments[1], state)

    w = FAMILIES[family](n).matrix()
    for name, expected in mix_densely(w, params).items():
        # One product and n + 1 sums of numbers of size 4, each off by half a unit of 2^-23.
        np.testing.assert_allclose(mixed[name], expected + updates[name], rtol=1e-6, atol=2e-6)
    simulate = learners.spread(one_update(transform), n)
    assert_trees_equal(
        mixed, simulate(*arguments[:2], learners.replicate(transform.init({}), n))[0]
    )
    assert len(traces) == 1
    np.testing.assert_array_equal(state.step, np.full(n, 2, np.int32))
    if engine != "vmap":
        for leaf in jax.tree.leaves((mixed, again, state)):
            assert leaf.sharding.is_equivalent_to(learners.learner_sharding(n), leaf.ndim)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("graph", [topology.ring(4), CHANGING], ids=["ring", "changing"])
def test_follows_the_dense_matrix_step_by_step(graph, order, float64):
    transform = gossip.mix(graph, order=order)
    run = learners.spread(one_update(transform), 4)
    x = random_tree(0, 4, np.float64)
    expected = x
    state = learners.replicate(transform.init(x), 4)
    for step in range(2 * graph.period + 1):
        u = random_tree(step + 1, 4, np.float64)
        w = graph.matrix(step)
        if order == "awc":
            mixed = mix_densely(w, expected)
            expected = {k: mixed[k] + u[k] for k in u}
        else:
            expected = mix_densely(w, {k: expected[k] + u[k] for k in u})
        x, state = run(x, u, state)
        for name in expected:
            np.testing.assert_allclose(x[name], expected[name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("family", "inner", "order"),
    [
        ("ring", "momentum", "awc"),
        ("ring", "momentum", "atc"),
        ("ring", "adam", "awc"),
        ("ring", "adam", "atc"),
        ("complete", "momentum", "atc"),
    ],
)
def test_fifty_steps_agree_bit_for_bit_in_all_engines(family, inner, order):
    local = {"momentum": optax.sgd(0.05, momentum=0.9), "adam": optax.adam(0.03)}[inner]
    optimizer = gossip.dpsgd(local, FAMILIES[family](8), order=order)

    def train(params, targets):
        def loss(x):
            return sum(jnp.sum(jnp.square(x[k] - targets[k])) for k in x)

        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=50)[0]

    arguments = random_tree(0, 8), random_tree(1, 8)
    simulated = learners.spread(train, 8)(*arguments)
    for engine in ("shard_map", "pmap"):
        assert_trees_equal(learners.spread(train, 8, engine=engine)(*arguments), simulated)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_mixes_as_its_matrix_and_alike_in_two_engines(name):
    graph = GRAPHS[name]
    transform = gossip.mix(graph)
    x = np.random.default_rng(0).standard_normal((graph.num_learners, 50)).astype(np.float32)

    def mix_for_a_period(x):
        def step(carry, _):
            x, state = carry
            x, state = one_update(transform)(x, jnp.zeros_like(x), state)
            return (x, state), x

        return jax.lax.scan(step, (x, transform.init(x)), length=graph.period + 1)[1]

    simulated = np.asarray(learners.spread(mix_for_a_period, graph.num_learners)(x))
    spread = learners.spread(mix_for_a_period, graph.num_learners, engine="shard_map")
    assert_trees_equal(spread(x), simulated)
    for step in range(graph.period + 1):
        # Each step from the float32 numbers before it, so that roundings do not add up: one for
        # each of at most 8 messages and sums, of numbers below 4.
        expected = graph.matrix(step) @ x.astype(np.float64)
        np.testing.assert_allclose(simulated[:, step], expected, rtol=0, atol=16 * 2.0**-22)
        x = simulated[:, step]


def test_changing_topology_agrees_bit_for_bit_in_all_engines():
    transform = gossip.mix(CHANGING, order="atc")
    updates = random_tree(1, 4)["matrix"]
    results = []
    for engine in ENGINES:
        run = learners.spread(one_update(transform), 4, engine=engine)
        params = random_tree(0, 4)["matrix"]
        state = learners.replicate(transform.init(params), 4)
        if engine != "vmap":
            arguments = params, updates, state
            params, updates, state = jax.device_put(arguments, learners.learner_sharding(4))
        for _ in range(4):
            params, state = run(params, updates, state)
        results.append(params)
    assert_trees_equal(results[1], results[0])
    assert_trees_equal(results[2], results[0])


def test_changing_topology_runs_one_branch_under_vmap():
    transform = gossip.mix(CHANGING)
    tree = random_tree(0, 4)
    state = learners.replicate(transform.init(tree), 4)
    text = str(jax.make_jaxpr(learners.spread(one_update(transform), 4))(tree, tree, state))
    assert "cond[" in text


@pytest.mark.parametrize("graph", [topology.ring(4), CHANGING], ids=["ring", "changing"])
def test_runs_in_a_shard_map_of_the_users_own_with_type_checks(graph):
    transform = gossip.mix(graph)
    tree = random_tree(0, 4)
    sharding = learners.learner_sharding(4)

    @functools.partial(
        jax.shard_map, mesh=sharding.mesh, in_specs=sharding.spec, out_specs=sharding.spec
    )
    def run(params):
        params = jax.tree.map(lambda x: x[0], params)
        zeros = optax.tree.zeros_like(params)
        mixed, _ = one_update(transform)(params, zeros, transform.init(params))
        return jax.tree.map(lambda x: x[None], mixed)

    expected = mix_densely(graph.matrix(0), tree)
    for name, found in jax.jit(run)(tree).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-6, atol=1e-6)


def awc_trajectory(step_size, start, num_steps):
    """Gradient descent on x^2 / 2 with AWC on the ring of 8, from start [8]."""
    optimizer = gossip.dpsgd(optax.sgd(step_size), topology.ring(8))

    def train(x):
        def step(carry, _):
            x, state = carry
            updates, state = optimizer.update(x, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        return jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)[1]

    return np.asarray(learners.spread(train, 8)(start))  # [8, num_steps]


@pytest.mark.parametrize(("step_size", "stable"), [(0.66, True), (0.68, False)])
def test_stability_limit_of_awc(step_size, stable, float64):
    """The fastest mode alternates around the ring and is multiplied by lambda_min - a h."""
    start = np.random.default_rng(0).standard_normal(8) + (-1.0) ** np.arange(8)
    path = awc_trajectory(step_size, start, 600)
    amplitude = ((-1.0) ** np.arange(8)) @ path / 8.0
    np.testing.assert_allclose(amplitude[1:] / amplitude[:-1], -1.0 / 3.0 - step_size, rtol=1e-10)
    assert (np.linalg.norm(path[:, -1]) < np.linalg.norm(start)) == stable


def stationary_modes(order, step_size):
    """Variances of the 7 consensus modes of the ring of 8, for curvature and noise of 1."""
    eigenvalues = np.linalg.eigvalsh(topology.ring(8).matrix())[:-1]
    if order == "awc":
        return step_size**2 / (1.0 - (eigenvalues - step_size) ** 2)
    contraction = eigenvalues**2 * (1.0 - step_size) ** 2
    return eigenvalues**2 * step_size**2 / (1.0 - contraction)


@pytest.mark.parametrize(("order", "rounded"), [("awc", 0.09934), ("atc", 0.02574)])
def test_stationary_consensus_distance(order, rounded):
    """Noise of variance 1 on the gradient of x^2 / 2 keeps the learners apart, ring of 8."""
    step_size, num_coordinates, num_steps, num_skipped = 0.3, 10_000, 60, 40
    optimizer = gossip.dpsgd(optax.sgd(step_size), topology.ring(8), order=order)

    def train(key):
        def step(carry, key):
            x, state = carry
            gradient = x + jax.random.normal(key, x.shape)
            updates, state = optimizer.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), gossip.consensus_distance(x)

        x = jnp.zeros(num_coordinates)
        keys = jax.random.split(key, num_steps)
        return jax.lax.scan(step, (x, optimizer.init(x)), keys)[1]

    distance = learners.spread(train, 8)(jax.random.split(jax.random.key(0), 8))
    np.testing.assert_array_equal(distance, np.broadcast_to(distance[:1], distance.shape))
    found = np.mean(distance[0, num_skipped:]) / num_coordinates

    modes = stationary_modes(order, step_size)
    expected = np.sum(modes) / 8.0
    assert expected == pytest.approx(rounded, abs=5e-6)
    # Modes are independent Gaussians, so a coordinate's distance has variance 2 sum(modes^2) / 64.
    # Five standard errors over the coordinates, crediting no average over time; the slowest mode
    # shrinks by 0.64 a step, so that 40 skipped steps leave nothing of the start.
    tolerance = 5.0 * np.sqrt(2.0 * np.sum(modes**2) / 64.0 / num_coordinates)
    assert abs(found - expected) < tolerance


@pytest.mark.parametrize("order", ORDERS)
def test_mean_iterate_is_that_of_synchronous_sgd(order, float64):
    """With one Hessian for all and the same additive noise, for every doubly stochastic matrix."""
    generator = np.random.default_rng(0)
    root = generator.standard_normal((6, 6))
    hessian = root @ root.T / 6.0
    noise = generator.standard_normal((31, 4, 6))  # Ends on a step that leaves disagreement.
    start = generator.standard_normal(6)
    optimizer = gossip.dpsgd(optax.sgd(0.05), CHANGING, order=order)

    @functools.partial(learners.spread, num_learners=4)
    def step(x, noise, state):
        updates, state = optimizer.update(jnp.asarray(hessian) @ x + noise, state, x)
        return optax.apply_updates(x, updates), state

    x = learners.replicate(start, 4)
    state = learners.replicate(optimizer.init(start), 4)
    synchronous = start
    for noise_now in noise:
        x, state = step(x, noise_now, state)
        synchronous = synchronous - 0.05 * (hessian @ synchronous + noise_now.mean(axis=0))
        np.testing.assert_allclose(learners.average(x), synchronous, rtol=1e-10, atol=1e-12)
    assert np.ptp(x, axis=0).min() > 1e-3  # The learners themselves differ.


@pytest.mark.parametrize(
    "graph", [topology.ring(3), topology.complete(3)], ids=["ring", "complete"]
)
def test_learners_that_agree_stay_exactly(graph):
    tree = learners.replicate({"x": np.float32(1.1) ** np.arange(50, dtype=np.float32)}, 3)
    transform = gossip.mix(graph)
    state = learners.replicate(transform.init(tree), 3)
    zeros = optax.tree.zeros_like(tree)
    mixed, _ = learners.spread(one_update(transform), 3)(tree, zeros, state)
    assert_trees_equal(mixed, tree)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_dtypes(dtype, order):
    transform = gossip.mix(topology.ring(4), order=order)
    params, updates = random_tree(0, 4, dtype), random_tree(1, 4, dtype)

    def update(params, updates):
        updates, _ = transform.update(updates, transform.init(params), params)
        return updates, optax.apply_updates(params, updates)

    updates_out, mixed = learners.spread(update, 4)(params, updates)
    assert {x.dtype for x in jax.tree.leaves((updates_out, mixed))} == {jnp.dtype(dtype)}
    exact = [params, updates] if order == "awc" else [{k: params[k] + updates[k] for k in params}]
    expected = mix_densely(topology.ring(4).matrix(), exact[0])
    for name in mixed:
        total = expected[name] + (updates[name].astype(np.float64) if order == "awc" else 0.0)
        # Half an ulp each for x + u, for the update and for the result, of numbers below 8.
        tolerance = 1.5 * 8.0 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(
            np.asarray(mixed[name]).astype(np.float64), total, rtol=0, atol=tolerance
        )


def test_low_precision_parameters_travel_in_their_dtype():
    transform = gossip.mix(topology.ring(4), order="atc")
    tree = random_tree(0, 4, jnp.bfloat16)
    state = learners.replicate(transform.init(tree), 4)
    run = learners.spread(one_update(transform), 4, engine="shard_map")
    text = str(jax.make_jaxpr(run)(tree, tree, state))
    permutes = [line for line in text.splitlines() if "= ppermute[" in line]
    assert len(permutes) == 2 * len(SHAPES)
    assert all(":bf16[" in line for line in permutes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_old_weights_travel_as_one_message_on_devices(engine, order):
    """AWC packs the arrays of each dtype; the bits are those of unpacked ones."""
    transform = gossip.mix(topology.ring(4), order=order)
    x, u = (
        {"wide": random_tree(seed, 4), "narrow": random_tree(seed, 4, jnp.bfloat16)}
        for seed in (0, 1)
    )
    state = learners.replicate(transform.init(x), 4)
    run = learners.spread(one_update(transform), 4, engine=engine)
    if engine != "vmap":
        permutes = str(jax.make_jaxpr(run)(x, u, state)).count("= ppermute[")
        assert permutes == 2 * (2 if order == "awc" else 2 * len(SHAPES))
    simulated, _ = learners.spread(one_update(transform), 4)(x, u, state)
    assert_trees_equal(run(x, u, state)[0]["wide"], simulated["wide"])


def test_arrays_on_several_devices_are_not_packed():
    """Packing would gather what a further axis of the mesh divides."""
    transform = gossip.mix(topology.ring(4))
    axes = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((4, 2), ("learner", "model"), axis_types=axes)
    spec = jax.sharding.PartitionSpec("learner")

    def update(x):
        return transform.update(x, transform.init(x), x)[0]

    run = jax.shard_map(
        update, mesh=mesh, in_specs=spec, out_specs=spec, axis_names={"learner"}, check_vma=False
    )
    text = str(jax.make_jaxpr(jax.jit(run))(random_tree(0, 4)))
    assert "concatenate" not in text
    assert text.count("= ppermute[") == 2 * len(SHAPES)


def test_composes_with_schedules_and_injected_hyperparameters():
    @functools.partial(optax.inject_hyperparams, static_args=("graph",))
    def optimizer_for(learning_rate, graph):
        return gossip.dpsgd(optax.sgd(learning_rate), graph)

    schedule = optax.linear_schedule(0.5, 0.0, 4)
    optimizer = optimizer_for(schedule, graph=topology.ring(4))
    masked = optax.chain(
        optax.clip_by_global_norm(1e6),
        optax.scale_by_learning_rate(schedule),
        optax.masked(gossip.mix(topology.ring(4)), {k: k != "bias" for k in SHAPES}),
    )

    def train(optimizer):
        def run(params, gradients):
            state = optimizer.init(params)
            for _ in range(3):
                updates, state = optimizer.update(gradients, state, params)
                params = optax.apply_updates(params, updates)
            return params

        return learners.spread(run, 4)(random_tree(0, 4), random_tree(1, 4))

    w = topology.ring(4).matrix()
    expected, unmixed = random_tree(0, 4), random_tree(0, 4)["bias"]
    gradients = random_tree(1, 4)
    for step in range(3):
        rate = 0.5 * (1.0 - step / 4.0)
        expected = {k: x - rate * gradients[k] for k, x in mix_densely(w, expected).items()}
        unmixed = unmixed - rate * gradients["bias"]
    found, found_masked = train(optimizer), train(masked)
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=2e-6)
        masked_expected = unmixed if name == "bias" else expected[name]
        np.testing.assert_allclose(found_masked[name], masked_expected, rtol=1e-5, atol=2e-6)


def delayed_trajectory(form, engine="vmap", dtype=np.float64):
    """Weights [20, 4, 3] of 4 learners with curvatures of their own; and those of the oracle."""
    generator = np.random.default_rng(0)
    start = generator.standard_normal((4, 3)).astype(dtype)
    curvatures = generator.uniform(0.5, 1.5, (4, 3)).astype(dtype)
    optimizer = gossip.delay_by_one(optax.sgd(0.3), 4, form=form)

    def train(x, curvatures):
        def step(carry, _):
            x, state = carry
            gradient = curvatures * gossip.gradient_params(state, x)
            updates, state = optimizer.update(gradient, state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x

        return jax.lax.scan(step, (x, optimizer.init(x)), length=20)[1]

    found = learners.spread(train, 4, engine=engine)(start, curvatures)
    path = [start, start]
    for _ in range(20):
        at = path[-1] if form == "A" else path[-2]
        path.append(path[-1].mean(axis=0) - 0.3 * curvatures * at)
    return np.swapaxes(found, 0, 1), path[2:]


@pytest.mark.parametrize("form", ["A", "B"])
def test_delay_by_one_is_the_mean_of_weights_and_a_local_update(form, float64):
    found, expected = delayed_trajectory(form)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.usefixtures("optimized_code")
def test_delay_by_one_has_the_same_bits_in_all_engines():
    simulated, _ = delayed_trajectory("B", dtype=np.float32)
    for engine in ("shard_map", "pmap"):
        found, _ = delayed_trajectory("B", engine, np.float32)
        np.testing.assert_array_equal(found, simulated)


def test_gradient_params_finds_the_delay_inside_other_transforms():
    params = {"x": jnp.arange(3.0)}
    delayed = gossip.delay_by_one(optax.adam(0.1), 1, form="B")
    nested = optax.chain(optax.clip(1.0), optax.apply_if_finite(delayed, 3))
    run = learners.spread(nested.update, 1)
    first = learners.replicate(params, 1)
    updates, state = run(first, learners.replicate(nested.init(params), 1), first)
    second = optax.apply_updates(first, updates)
    assert_trees_equal(gossip.gradient_params(state, second), first)
    for undelayed in (optax.adam(0.1), gossip.delay_by_one(optax.sgd(0.1), 1)):
        assert gossip.gradient_params(undelayed.init(params), params) is params
    single = gossip.delay_by_one(optax.sgd(0.1), 1, form="B", axis_name=None)
    assert gossip.gradient_params(single.init(params), params) is params


@pytest.mark.usefixtures("optimized_code")
def test_two_stages_inside_and_across_nodes_have_the_same_bits_in_two_engines():
    inside, between = topology_algebra.node_stages(topology.ring(4), learners_per_node=2)
    optimizer = optax.chain(
        optax.sgd(0.5), gossip.mix(inside, order="atc"), gossip.mix(between, order="atc")
    )
    x, g = random_tree(0, 8), random_tree(1, 8)
    state = learners.replicate(optimizer.init(x), 8)
    found, _ = learners.spread(one_update(optimizer), 8)(x, g, state)
    whole = topology.hierarchical(topology.ring(4), learners_per_node=2).matrix()
    expected = mix_densely(whole, {k: x[k] - 0.5 * g[k] for k in x})
    for name in x:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=2e-6)
    assert_trees_equal(
        learners.spread(one_update(optimizer), 8, engine="shard_map")(x, g, state)[0], found
    )


def test_init_accepts_shapes():
    optimizer = gossip.dpsgd(optax.adam(1e-3), topology.ring(4))
    params = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
    state = jax.eval_shape(optimizer.init, params)
    assert state[-1].step.shape == ()
    assert state[-1].step.dtype == jnp.int32
    assert gossip.mix(topology.ring(4)).init(params).step == 0


def test_without_an_axis_it_is_the_identity():
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(8), axis_name=None)
    params = {"x": jnp.arange(3.0)}
    updates, state = optimizer.update(params, optimizer.init(params), params, value=0.0)
    np.testing.assert_allclose(updates["x"], [0.0, -0.1, -0.2], rtol=1e-6)
    assert state[-1].step == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_consensus_distance(engine):
    tree = random_tree(0, 4)
    found = learners.spread(gossip.consensus_distance, 4, engine=engine)(tree)
    expected = sum(
        np.sum(np.square(x - x.mean(axis=0, keepdims=True))) / 4.0 for x in tree.values()
    )
    np.testing.assert_allclose(found, np.full(4, expected), rtol=1e-6)


def test_consensus_distance_of_low_precision_sums_in_float32():
    tree = {"x": jnp.asarray([[0.0] * 4000, [2.0] * 4000], jnp.bfloat16)}
    found = learners.spread(gossip.consensus_distance, 2)(tree)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [4000.0, 4000.0])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='`order` must be "awc" or "atc", got \'ring\''):
        gossip.mix(topology.ring(4), order="ring")
    with pytest.raises(ValueError, match='`form` must be "A" or "B", got \'C\''):
        gossip.delay_by_one(optax.sgd(0.1), 4, form="C")
    transform = gossip.mix(topology.ring(8))
    tree = {"x": jnp.zeros((4, 2))}
    state = learners.replicate(transform.init(tree), 4)
    with pytest.raises(
        ValueError, match=r"`topology` must have one learner .* 8 learners .* size 4"
    ):
        learners.spread(one_update(transform), 4)(tree, tree, state)
    with pytest.raises(ValueError, match="`params` must be given"):
        transform.update(tree, transform.init(tree))


@pytest.mark.parametrize("engine", ENGINES)
def test_all_reduce_is_sgd_on_the_mean_gradient(engine):
    optimizer = optax.chain(gossip.all_reduce(), optax.sgd(0.5, momentum=0.9))
    alone = optax.sgd(0.5, momentum=0.9)
    weights, expected = jnp.zeros((4, 3)), jnp.zeros(3)
    states, state = learners.replicate(optimizer.init(expected), 4), alone.init(expected)
    update = learners.spread(optimizer.update, 4, engine=engine)
    for step in range(3):
        gradients = jax.random.normal(jax.random.key(step), (4, 3))
        updates, states = update(gradients, states, weights)
        weights = optax.apply_updates(weights, updates)
        updates, state = alone.update(jnp.mean(gradients, axis=0), state, expected)
        expected = optax.apply_updates(expected, updates)
    np.testing.assert_array_equal(weights, jnp.broadcast_to(weights[0], (4, 3)))
    np.testing.assert_allclose(weights[0], expected, rtol=1e-6)


def test_a_single_learner_reduces_nothing():
    gradients = jnp.arange(3.0)
    link = gossip.all_reduce(axis_name=None)
    updates, _ = link.update(gradients, link.init(gradients))
    np.testing.assert_array_equal(updates, gradients)
