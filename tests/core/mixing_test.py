"""The guard against gradients that are sums over the learners, and branches compiled once each.

That `pull` follows the dense matrix in every engine is tested by `gossip_engines_test.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from gossamer.core import gossip, learners, mixing, topology, topology_algebra

INPUTS = np.random.RandomState(0).rand(8, 4).astype(np.float32) + 0.5


def loss(weights, inputs):
    return jnp.sum(jnp.square(inputs * weights))


def train_on_mesh(params, spec, *, prepare=lambda x: x, check_vma=True):
    """(gradients, updates) of 8 learners, where the user maps over the mesh."""
    optimizer = gossip.dpsgd(optax.sgd(0.1), topology.ring(8))

    def step(weights, inputs):
        weights = prepare(weights.reshape(4))
        gradient = jax.grad(loss)(weights, inputs[0])
        updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
        return gradient[None], updates[None]

    sharded = PartitionSpec("learner")
    mesh = learners.learner_sharding(8).mesh
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(spec, sharded), out_specs=sharded, check_vma=check_vma
    )
    return jax.jit(mapped)(params, INPUTS)


def own(weights):
    return jax.lax.pcast(weights, "learner", to="varying")


def test_the_gradient_of_shared_parameters_is_a_sum():
    """What the guard is for: the trap is a fact of JAX."""

    def gradient(weights, inputs):
        return jax.grad(loss)(weights, inputs[0])[None]

    specs = {"in_specs": (PartitionSpec(), PartitionSpec("learner"))}
    specs["out_specs"] = PartitionSpec("learner")
    mesh = learners.learner_sharding(8).mesh
    found = [
        jax.jit(jax.shard_map(gradient, mesh=mesh, check_vma=check_vma, **specs))(
            jnp.ones(4), INPUTS
        )
        for check_vma in (True, False)
    ]
    local = 2.0 * np.square(INPUTS)
    np.testing.assert_allclose(found[0], np.broadcast_to(local.sum(axis=0), (8, 4)), rtol=1e-6)
    np.testing.assert_allclose(found[1], local, rtol=1e-6)


def test_shared_parameters_are_refused_where_types_are_checked():
    message = r"`params` must be each learner's own.*sum over the learners.*to=\"varying\""
    with pytest.raises(ValueError, match=message):
        train_on_mesh(jnp.ones(4), PartitionSpec())


@pytest.mark.parametrize(
    ("params", "spec", "options"),
    [
        (jnp.ones(4), PartitionSpec(), {"check_vma": False}),
        (jnp.ones(4), PartitionSpec(), {"prepare": own}),
        (jnp.ones((8, 4)), PartitionSpec("learner"), {}),
    ],
    ids=["unchecked", "pcast", "leading axis"],
)
def test_own_parameters_pass_with_local_gradients(params, spec, options):
    gradients, updates = train_on_mesh(params, spec, **options)
    np.testing.assert_allclose(gradients, 2.0 * np.square(INPUTS), rtol=1e-6)
    np.testing.assert_allclose(updates, -0.2 * np.square(INPUTS), rtol=1e-6)


def test_a_mixing_that_comes_again_is_the_same_branch():
    graph = topology_algebra.reshuffle(topology.random_ring(8, seed=0, period=3), seed=0)
    x = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    run = learners.spread(
        lambda x, step: mixing.pull(x, graph, step, "learner"), 8, engine="shard_map"
    )
    text = str(jax.make_jaxpr(run)(x, np.zeros(8, np.int32)))
    assert text.count("= ppermute[") == 3 * 2  # Three rings of two messages, not 48.
    for step in (0, 3, 17, 48):
        expected = (graph.matrix(step) - np.eye(8)) @ x
        found = run(x, np.full(8, step, np.int32))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_another_axis_size_is_refused():
    x = jnp.zeros((4, 2))
    run = learners.spread(lambda x: mixing.check_learners(x, 8, "learner"), 4)
    with pytest.raises(ValueError, match=r"`topology` must have one learner .* size 4"):
        run(x)
