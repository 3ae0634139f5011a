"""Training through quantization: gradients, clips with a rate of their own, gossip."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import blocks, gossip, learners, quantizers, topology, training
from gossamer.core.quantization import Policy, clip_labels, fake_quantize
from gossamer.core.quantized import matmul

from .quantization_cases import A


def test_gradients_reach_weights_and_clips():
    transform = fake_quantize(Policy(weights=(("a", quantizers.pact(4)), ("b", A))))
    generator = np.random.default_rng(0)
    params = {name: generator.standard_normal((6, 8)).astype(np.float32) for name in "abc"}
    clips = {"a": {"clip": jnp.asarray(0.9)}}

    def total(params, clips):
        return sum(map(jnp.sum, jax.tree.leaves(transform.apply(params, clips))))

    by_params, by_clips = jax.jit(jax.grad(total, argnums=(0, 1)))(params, clips)
    inside = np.abs(params["a"]) <= 0.9
    np.testing.assert_allclose(by_params["a"], inside.astype(np.float32), rtol=1e-6)
    np.testing.assert_allclose(by_params["b"], np.ones((6, 8)), rtol=1e-6)  # straight through
    np.testing.assert_array_equal(by_params["c"], np.ones((6, 8)))
    outside = np.sum(np.sign(params["a"])[~inside])
    assert outside != 0
    np.testing.assert_allclose(by_clips["a"]["clip"], outside, rtol=1e-6)


def test_training_moves_clips_at_a_rate_of_their_own():
    transform = fake_quantize(Policy(weights=(("kernel", quantizers.pact_plus(3)),)))
    generator = np.random.default_rng(0)
    x, target, kernel = (
        generator.standard_normal(shape).astype(np.float32) for shape in ((32, 6), (6, 4), (6, 4))
    )
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(4)}
    tree = {"model": params, "clips": transform.init(params)}
    rates = {"weights": 0.1, "clips": 0.01}
    optimizer = optax.partition({label: optax.sgd(rates[label]) for label in rates}, clip_labels)

    def loss(tree):
        quantized = transform.apply(tree["model"], tree["clips"])
        outputs = x @ quantized["kernel"] + quantized["bias"][None]
        return jnp.mean(jnp.square(outputs - x @ target))

    @jax.jit
    def step(tree, state):
        value, gradient = jax.value_and_grad(loss)(tree)
        updates, state = optimizer.update(gradient, state, tree)
        return optax.apply_updates(tree, updates), state, gradient, value

    state, losses = optimizer.init(tree), []
    for _ in range(5):
        before = tree
        tree, state, gradient, value = step(tree, state)
        losses.append(value)
        for branch, label in (("model", "weights"), ("clips", "clips")):
            for new, old, slope in zip(
                *map(jax.tree.leaves, (tree[branch], before[branch], gradient[branch])), strict=True
            ):
                assert np.any(new != old)
                np.testing.assert_allclose(new, old - rates[label] * slope, rtol=1e-6, atol=1e-7)
    assert losses[-1] < 0.9 * losses[0]
    # What is trained are numbers of all digits; eight levels are all that the model multiplies.
    assert len(np.unique(tree["model"]["kernel"])) == 24
    assert len(np.unique(transform.apply(tree["model"], tree["clips"])["kernel"])) <= 8


def test_clip_labels():
    tree = {"model": {"a": 1, "b": [2, 3]}, "scales": {"a": {"clip": 4}}, "bias": 5}
    assert clip_labels(tree, key="scales") == {
        "model": {"a": "weights", "b": ["weights", "weights"]},
        "scales": {"a": {"clip": "clips"}},
        "bias": "weights",
    }
    assert clip_labels({"model": 1, "clips": {}}) == {"model": "weights", "clips": {}}


@pytest.mark.parametrize("engine", ["shard_map", "pmap"])
def test_training_under_gossip_is_the_same_on_devices_as_simulated(engine):
    """Weights, clips and codes of four learners on a ring, bit for bit."""
    policy = Policy(weights=((".*kernel", quantizers.lsq(4, blocks.gates(4))),))
    site = quantizers.pact_plus(4, symmetric=True)
    params = {"lstm": {"kernel": jax.random.normal(jax.random.key(0), (6, 8))}}
    clips = {"weights": fake_quantize(policy).init(params), "input": site.init(jnp.ones(1))}

    def loss(variables, batch, key):
        del key
        codes = fake_quantize(policy).codes(variables["params"], variables["clips"]["weights"])
        inputs = site.codes(variables["clips"]["input"], batch)
        return jnp.mean((matmul(inputs, codes["lstm"]["kernel"]) - 1) ** 2), {}

    rules = {"weights": optax.adamw(1e-2), "clips": optax.adam(1e-2)}
    optimizer = gossip.dpsgd(optax.partition(rules, clip_labels), topology.ring(4))
    state = training.init_state(
        {"params": params, "clips": clips}, optimizer, jax.random.key(1), num_learners=4
    )
    batches = jax.random.normal(jax.random.key(2), (360,)).reshape(5, 4, 3, 6)

    def run(engine):
        step = training.train_step(loss, optimizer, axis_name="learner")
        step, found = learners.spread(step, 4, engine=engine), state
        for batch in batches:
            found, _ = step(found, batch)
        return found.params

    simulated = run("vmap")
    chex.assert_trees_all_equal(run(engine), simulated)
    moved = jax.tree.map(lambda new, old: jnp.any(new != old), simulated, state.params)
    assert all(jax.tree.leaves(moved))
