"""First clips of a quantized transducer, from a pass of the float network over some batches.

Each site notes the clips that its quantizer would choose for a batch; their mean over the batches
is the start of training, or the end of it for clips that are not learned.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from ..core.quantization import fake_quantize
from .front_end import recognizer_inputs
from .layers import CALIBRATION, CLIPS
from .run_config import DataConfig
from .transducer import Transducer

WEIGHTS = "weights"  # key of the weights' clips beside those of the sites


def calibrate(
    model: Transducer,
    params: Any,
    batches: Iterator[Any],
    *,
    data: DataConfig,
    number: int = 8,
) -> dict[str, Any]:
    """Chooses all clips of a quantized transducer.

    Args:
        model: the transducer, with its policy.
        params: its float parameters.
        batches: batches as `loader.batches` gives them, with or without an axis of learners.
        data: which features are read, see `front_end`.
        number: of batches to average over.

    Returns:
        The collection "clips", in the form of `first_clips`.

    Raises:
        ValueError: if the model has no policy.
    """
    first = first_clips(model, params)

    @jax.jit
    def survey(params, batch):  # not closed over, which would compile the weights as constants
        rows = {name: x.reshape(-1, x.shape[-1]) for name, x in batch.items()}
        inputs, paddings = recognizer_inputs(data, rows["waveform"], rows["waveform_paddings"])
        _, noted = model.apply(
            {"params": params},
            inputs,
            paddings,
            rows["labels"],
            method="survey",
            mutable=[CALIBRATION],
        )
        return noted[CALIBRATION]

    noted = [survey(params, batch) for batch in itertools.islice(batches, number)]
    clips = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values), axis=0), *noted)
    # In float more sites are visited than codes leave to quantize.
    sites = {
        # `sow` collects the visits of a site in a tuple; each site is visited once.
        layer: {site: clips[layer][site][0] for site in sites}
        for layer, sites in first.items()
        if layer != WEIGHTS
    }
    return sites | {WEIGHTS: first[WEIGHTS]}


def first_clips(model: Transducer, params: Any) -> dict[str, Any]:
    """Clips before calibration: those of sites have the right shapes and no meaning.

    Args:
        model: the transducer, with its policy.
        params: its float parameters.

    Returns:
        The collection "clips": those of the sites by layer, those of weights under "weights".

    Raises:
        ValueError: if the model has no policy.
    """
    if model.policy is None:
        raise ValueError("`model` must have a policy to have clips.")
    size = params["encoder_1"]["kernel"].shape[1] // (2 if 0 in model.config.reduce_after else 1)
    variables: Any = model.init(
        jax.random.key(0), jnp.zeros((1, 8, size)), jnp.zeros((1, 8)), jnp.zeros((1, 2), jnp.int32)
    )
    return variables.get(CLIPS, {}) | {WEIGHTS: fake_quantize(model.policy).init(params)}
