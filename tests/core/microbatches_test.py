import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import learners, training
from gossamer.core.microbatches import gradient_in_parts


def loss(params, batch, key):
    rows = jnp.tanh(batch["x"] @ params["w"]) - batch["y"]
    noise = jax.random.normal(key)
    return jnp.mean(rows**2), {"error": jnp.mean(jnp.abs(rows)), "noise": noise}


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)}
    batch = {
        "x": jnp.asarray(rng.normal(size=(12, 3)), jnp.float32),
        "y": jnp.asarray(rng.normal(size=(12, 2)), jnp.float32),
    }
    return params, batch


@pytest.mark.parametrize("num_parts", [2, 3, 12])
def test_parts_have_the_gradient_of_the_whole(problem, key, num_parts):
    params, batch = problem
    whole, expected = jax.value_and_grad(loss, has_aux=True)(params, batch, key)
    found, gradients = jax.jit(gradient_in_parts(loss, num_parts))(params, batch, key)
    np.testing.assert_allclose(gradients["w"], expected["w"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(found[1]["error"], whole[1]["error"], rtol=1e-5)
    assert found[1]["noise"] != whole[1]["noise"]  # each part has a key of its own


@pytest.mark.usefixtures("optimized_code")
def test_a_part_at_a_time_is_in_memory(key):
    def wide(params, batch, key):
        return jnp.mean(jnp.tanh(jnp.tanh(batch @ params) @ params.T)), {}

    def temporary_bytes(num_parts):
        gradient = jax.jit(gradient_in_parts(wide, num_parts))
        shapes = (jax.ShapeDtypeStruct((8, 512), jnp.float32),
                  jax.ShapeDtypeStruct((1024, 8), jnp.float32), key)  # fmt: skip
        return gradient.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) < temporary_bytes(1) / 4


@pytest.mark.parametrize("engine", ["vmap", "shard_map"])
def test_learners_accumulate(problem, key, engine):
    params, batch = problem
    optimizer = optax.sgd(0.1)
    rows = jax.tree.map(lambda x: x.reshape(2, 6, -1), batch)
    state = training.init_state(params, optimizer, key, num_learners=2)
    whole, parts = (
        learners.spread(
            training.train_step(loss, optimizer, axis_name="learner", num_parts=num), 2,
            engine=engine,
        )(state, rows)[0]
        for num in (1, 3)
    )  # fmt: skip
    np.testing.assert_allclose(parts.params["w"], whole.params["w"], rtol=1e-5)


def test_bad_numbers_of_parts_are_refused(problem, key):
    with pytest.raises(ValueError, match="`num_parts` must be at least 1, got 0"):
        gradient_in_parts(loss, 0)
    with pytest.raises(ValueError, match=r"`num_parts` must divide .* got 5 for 12 rows"):
        gradient_in_parts(loss, 5)(*problem, key)
