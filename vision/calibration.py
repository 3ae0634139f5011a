"""The first variables of a network: parameters drawn, statistics, and clips calibrated on images.

In a pass of calibration activations stay in float, and each site notes the clips that its quantizer
would choose for the batch; their mean over a few batches is the start of training.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ..core.quantization import Policy, fake_quantize
from ..core.quantized_variables import WEIGHTS
from ..core.sites import CALIBRATION, CLIPS
from .models import Network
from .recipe import STATISTICS


def draw_variables(
    network: Any, key: jax.Array, images: jax.ShapeDtypeStruct
) -> tuple[dict[str, Any], Any]:
    """Draws parameters; with a policy, its clips are beside them, not calibrated yet.

    Args:
        network: what `models.create` gave.
        key: random key.
        images: the shape of what it reads.

    Returns:
        "params" and, with a policy, "clips"; and the first statistics of batch norm.
    """
    options, policy = network.options, network.options.policy
    plain = network.clone(options=dataclasses.replace(options, policy=None))
    drawn: Any = jax.jit(lambda key: plain.lazy_init(key, images))(key)
    variables = {"params": drawn["params"]}
    if policy is not None:
        shapes = jax.eval_shape(network.init, key, images)[CLIPS]
        sites = jax.tree.map(lambda clip: jnp.ones(clip.shape, clip.dtype), shapes)
        variables[CLIPS] = sites | {WEIGHTS: fake_quantize(policy).init(drawn["params"])}
    return variables, drawn.get(STATISTICS, {})


def calibrate(
    network: Network, policy: Policy, params: Any, batches: Iterator[Any], *, number: int = 4
) -> dict[str, Any]:
    """Chooses all clips of a quantized network.

    Args:
        network: the network with this policy.
        policy: its rules.
        params: its float parameters.
        batches: batches with ``images``, with or without an axis of learners in front.
        number: of batches to average over.

    Returns:
        The collection "clips", that of weights under "weights".
    """

    @jax.jit
    def survey(params, images):
        _, noted = network.apply(
            {"params": params},
            images,
            train=True,
            mutable=[CALIBRATION, STATISTICS],
            rngs={"dropout": jax.random.key(0)},
        )
        return noted[CALIBRATION]

    noted = []
    for _ in range(number):
        images = next(batches)["images"]
        noted.append(survey(params, images.reshape(-1, *images.shape[-3:])))
    clips = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values), axis=0), *noted)
    # `sow` collects the visits of a site in a tuple; each site is visited once.
    sites = jax.tree.map(lambda visits: visits[0], clips, is_leaf=lambda x: isinstance(x, tuple))
    return sites | {WEIGHTS: fake_quantize(policy).init(params)}
