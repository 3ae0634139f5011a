"""What quantization does to a transducer: its products, its bytes, its errors, and what they cost.

The audit and the sizes come from the traced program and from the shapes of its codes. The errors
are those of the weights, ||x_hat - x||^2 / ||x||^2, and what each tensor costs is the rise of the
loss on held-out recordings when it alone is quantized (see ``core.bit_allocation``).
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core.audit import Audit, audit
from ..core.bit_allocation import OnStep, Sensitivity, sensitivity
from ..core.compression import Compression, compression_report
from ..core.quantization import Policy, weight_paths
from ..core.quantized_variables import deploy_variables, quantize_variables
from .front_end import recognizer_inputs
from .recipe import Batch, utterance_losses
from .run_config import DataConfig
from .transducer import Transducer


class Study(NamedTuple):
    """What `study` found."""

    audit: Audit
    sizes: Compression
    loss: float  # per label on the held-out recordings, in float
    quantized_loss: float  # the same with all weights and activations quantized
    sensitivities: list[Sensitivity]  # of each quantized weight, others and activations in float


def study(
    model: Transducer,
    variables: dict[str, Any],
    batches: Iterable[Any],
    *,
    data: DataConfig,
    on_step: OnStep | None = None,
) -> Study:
    """Audits and measures a quantized transducer.

    Args:
        model: the transducer, with its policy.
        variables: "params" in float, and "clips" as `calibration.calibrate` gives them.
        batches: held-out recordings, as `loader.evaluation_batches` gives them; few shapes compile
            soonest.
        data: which features are read, see `front_end`.
        on_step: called after each loss with the number of losses so far and in all.

    Returns:
        A `Study`.

    Raises:
        ValueError: if the model has no policy, a tensor that it names stayed in float, or there are
            no batches.
    """
    policy = model.policy
    if policy is None:
        raise ValueError("`model` must have a policy, which is what is studied.")
    batches = list(batches)
    if not batches:
        raise ValueError("`batches` must hold at least one batch.")
    params, plain = variables["params"], Transducer(model.config, model.vocabulary_size)

    def quantized_loss(params):
        codes = quantize_variables(policy, variables | {"params": params})
        return _mean_loss(model, codes, batches, data)

    def loss(params):
        return _mean_loss(plain, {"params": params}, batches, data)

    return Study(
        audit=_audit(model, policy, variables, batches[0], data),
        sizes=compression_report(deploy_variables(policy, variables)),
        loss=loss(params),
        quantized_loss=quantized_loss(params),
        sensitivities=sensitivity(loss, params, weight_paths(policy, params), on_step=on_step),
    )


def _audit(model, policy: Policy, variables, batch: Batch, data: DataConfig) -> Audit:
    inputs, paddings = jax.eval_shape(
        functools.partial(recognizer_inputs, data), batch["waveform"], batch["waveform_paddings"]
    )
    return audit(
        model.apply,
        quantize_variables(policy, variables),
        jnp.zeros(inputs.shape),
        jnp.zeros(paddings.shape),
        jnp.asarray(batch["labels"]),
        policy=policy,
        params=variables["params"],
    )


def _mean_loss(model: Transducer, variables, batches: list[Any], data: DataConfig) -> float:
    sums = [_loss_sum(model, data, variables, batch) for batch in batches]
    num_labels = sum(int((1 - batch["label_paddings"]).sum()) for batch in batches)
    return float(sum(sums)) / num_labels


@jax.jit(static_argnums=(0, 1))
def _loss_sum(model: Transducer, data: DataConfig, variables: Any, batch: Batch) -> jax.Array:
    inputs, paddings = recognizer_inputs(data, batch["waveform"], batch["waveform_paddings"])
    transducer, _ = utterance_losses(model, variables, inputs, paddings, batch)
    return jnp.sum(transducer)
