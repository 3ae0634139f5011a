"""Convolutional networks in 4 bits by the policies of `core`: everything that is multiplied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core.audit import audit, float_share
from gossamer.core.learners_config import LearnersConfig
from gossamer.core.quantization import fake_quantize, is_quantized
from gossamer.core.quantized_variables import deploy_variables, quantize_variables, sites_of
from gossamer.vision import data, experiment, models, recipe
from gossamer.vision.policies import named_policy
from gossamer.vision.run_config import DataConfig, NetworkConfig, OptimizerConfig, VisionConfig

CONFIG = VisionConfig(
    data=DataConfig(size=8, batch_size=8),
    network=NetworkConfig("resnet18", width=0.1, quantize="int4"),
    optimizer=OptimizerConfig(steps=8, learning_rate=0.05, schedule="constant", warmup=0.0),
    learners=LearnersConfig(number=1),
)
IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet", "vgg11_bn"])
def test_every_product_is_in_the_bits_of_the_policy(name):
    policy = named_policy("int4")
    network = models.create(name, 10, width=0.25, policy=policy)

    def draw(key):
        return network.init(key, jnp.zeros(IMAGES.shape))

    variables = jax.eval_shape(draw, jax.random.key(0))
    params = variables["params"]
    codes = jax.eval_shape(lambda p: fake_quantize(policy).codes(p, {}), params)

    # Clips and statistics are shapes, which must not be closed over.
    def evaluate(params, rest, images):
        return network.apply({**rest, "params": params}, images)

    rest = {name: tree for name, tree in variables.items() if name != "params"}
    found = audit(evaluate, codes, rest, IMAGES, policy=policy, params=params)
    assert float_share(found) == 0
    bits = {product.name: product.weight_bits for product in found.products}
    assert sorted(set(bits.values())) == [4, 8]
    assert sum(b == 8 for b in bits.values()) == 2  # the first layer and the last


@pytest.fixture(scope="module")
def state(short_resnet):
    return experiment.initial_state(CONFIG, data.fashion(), calibrates=True)


def test_clips_are_calibrated_on_images(state):
    drawn = experiment.initial_state(CONFIG, data.fashion()).params["clips"]
    clips = state.params["clips"]
    assert jax.tree.structure(clips) == jax.tree.structure(drawn)
    sites = sites_of(state.params)
    assert "conv1" in sites
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(sites))
    low, high = (sites["layer1.0"]["conv1"]["input"][f"clip_{end}"] for end in ("low", "high"))
    assert low.item() == 0.0  # what follows a ReLU
    assert high.item() > 0.5


def test_training_in_four_bits_lowers_the_loss(state):
    network = models.create("resnet18", 10, width=0.1, policy=named_policy("int4"))
    loss, optimizer = recipe.loss_function(CONFIG, network), recipe.optimizer(CONFIG, None)
    batch = next(experiment.training_batches(CONFIG, data.fashion()))
    batch = jax.tree.map(lambda x: x[0], batch)
    variables = jax.tree.map(lambda x: x[0], state.params)

    @jax.jit
    def step(variables, opt_state):
        (value, _), gradients = jax.value_and_grad(loss, has_aux=True)(
            variables, batch, jax.random.key(0)
        )
        updates, opt_state = optimizer.update(gradients, opt_state, variables)
        return optax.apply_updates(variables, updates), opt_state, value, gradients

    opt_state, losses = optimizer.init(variables), []
    for _ in range(8):
        variables, opt_state, value, gradients = step(variables, opt_state)
        losses.append(float(value))
    assert losses[-1] < 0.7 * losses[0]
    moved = gradients["clips"]["layer1.0"]["conv1"]["input"]["clip_high"]
    assert moved.item() != 0


@pytest.mark.usefixtures("optimized_code")
def test_deployed_codes_give_the_same_bits(state):
    policy = named_policy("int4")
    network = models.create("resnet18", 10, width=0.1, policy=policy)
    variables = jax.tree.map(lambda x: x[0], state.params)
    statistics = jax.tree.map(lambda x: x[0], state.statistics)
    variables = variables | {"batch_stats": statistics}
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)

    @jax.jit
    def trained(variables):
        used = quantize_variables(policy, variables)
        return network.apply(used | {"clips": sites_of(used)}, images)

    deployed = deploy_variables(policy, variables)
    kernels = [x for x in jax.tree.leaves(deployed["params"], is_leaf=is_quantized)]
    assert sum(is_quantized(x) for x in kernels) >= 6
    assert {x.codes.dtype for x in kernels if is_quantized(x)} == {jnp.dtype("int8")}
    found = jax.jit(network.apply)(deployed, images)
    np.testing.assert_array_equal(found, trained(variables))


def test_names_and_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="`quantize` must be one of int4, int4_max, int8, got 'x'"):
        named_policy("x")
    with pytest.raises(ValueError, match="`dtype` must be float32 where `policy` quantizes"):
        models.create("resnet18", dtype="bfloat16", policy=named_policy("int4"))
