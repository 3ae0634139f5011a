"""Clips of a quantized network: the first ones, from a pass of it in float over some batches.

Each site notes the clips that its quantizer would choose for a batch; their mean over the batches
is the start of training, or the end of it for clips that are not learned. Padded places count as
any others.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ..core.paths import named_leaves
from ..core.quantization import Policy, fake_quantize
from ..core.quantized_variables import WEIGHTS
from ..core.sites import CALIBRATION, CLIPS
from .hybrids.acoustic_model import AcousticModel
from .language_model import LanguageModel
from .transducer import Transducer

Network = Transducer | LanguageModel | AcousticModel
Batch = dict[str, jax.Array]


def calibrate(
    model: Network,
    params: Any,
    batches: Iterator[Any],
    inputs: Callable[[Batch], tuple],
    *,
    number: int = 8,
) -> dict[str, Any]:
    """Chooses all clips of a quantized network.

    Args:
        model: the network, with its policy.
        params: its float parameters.
        batches: batches with rows ``[batch, ...]``, with or without an axis of learners in front.
        inputs: from a batch, all learners' rows together, to the arguments of the network's
            `survey`, for instance `front_end.transducer_inputs`.
        number: of batches to average over.

    Returns:
        The collection "clips", in the form of `first_clips`.

    Raises:
        ValueError: if the model has no policy, or there are no batches.
    """
    _policy(model)

    def read(batch):
        return inputs({name: x.reshape(-1, x.shape[-1]) for name, x in batch.items()})

    @jax.jit
    def survey(params, batch):  # not closed over, which would compile the weights as constants
        _, noted = model.apply(
            {"params": params}, *read(batch), method="survey", mutable=[CALIBRATION]
        )
        return noted[CALIBRATION]

    seen = list(itertools.islice(batches, number))
    if not seen:
        raise ValueError("`batches` must hold at least one batch.")
    first = first_clips(model, params, *jax.eval_shape(read, seen[0]))
    noted = [survey(params, batch) for batch in seen]
    clips = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values), axis=0), *noted)
    # In float more sites are visited than codes leave to quantize.
    sites = {
        # `sow` collects the visits of a site in a tuple; each site is visited once.
        layer: {site: clips[layer][site][0] for site in sites}
        for layer, sites in first.items()
        if layer != WEIGHTS
    }
    return sites | {WEIGHTS: first[WEIGHTS]}


def first_clips(model: Network, params: Any, *inputs: Any) -> dict[str, Any]:
    """Clips before calibration: those of sites have the right shapes and no meaning.

    Args:
        model: the network, with its policy.
        params: its float parameters.
        *inputs: what it reads, by shapes or arrays.

    Returns:
        The collection "clips": those of the sites by layer, those of weights under "weights".

    Raises:
        ValueError: if the model has no policy.
    """
    weights = fake_quantize(_policy(model)).init(params)
    variables: Any = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    sites = jax.tree.map(lambda clip: jnp.ones(clip.shape, clip.dtype), variables.get(CLIPS, {}))
    return sites | {WEIGHTS: weights}


def draw_variables(model: Network, key: jax.Array, *inputs: jax.ShapeDtypeStruct) -> dict[str, Any]:
    """Draws parameters; with a policy, its clips are beside them, not calibrated yet.

    Args:
        model: the network.
        key: random key.
        *inputs: the shapes of what it reads.

    Returns:
        "params" and, with a policy, "clips".
    """
    # Shapes of inputs are enough for parameters, though not for clips: the network need not run.
    variables: Any = model.copy(policy=None).lazy_init(key, *inputs)
    params = variables["params"]
    if model.policy is None:
        return {"params": params}
    return {"params": params, CLIPS: first_clips(model, params, *inputs)}


def clip_metrics(variables: dict[str, Any]) -> dict[str, jax.Array]:
    """The clips of activation sites under the names of their sites, each number by itself."""
    clips = variables.get(CLIPS, {})
    sites = {layer: branch for layer, branch in clips.items() if layer != WEIGHTS}
    metrics = {}
    for path, clip in named_leaves(sites):
        for index, value in enumerate(clip.ravel()):
            name = f"clip/{path}" if clip.size == 1 else f"clip/{path}/{index}"
            metrics[name] = value
    return metrics


def _policy(model: Network) -> Policy:
    if model.policy is None:
        raise ValueError("`model` must have a policy to have clips.")
    return model.policy
