"""What a speech training run is made of: its loss, its optimizer, its step.

The loss of one learner's batch is, per label,

    L = sum_b [ -log P(y_b | x_b) + ctc_weight * CTC(y_b | x_b) ] / sum_b |y_b|

where the auxiliary frame-wise term brings the encoder to life on small corpora.  The usual
alternative, an encoder from a CTC model, is to train with that term alone at first.  Features are
computed inside the jitted step from waveforms; labels are the loss's targets and what the predictor
reads.  What training changes of all three is in `perturbation`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core import (
    async_training,
    exchange,
    quantization,
)
from ..core.quantization import is_quantized
from ..core.quantized_variables import quantize_variables
from .calibration import clip_metrics
from .perturbation import TokenLogits, augmented_features, noisy_prefixes, smoothed_targets
from .run_config import OptimizerConfig, SpeechConfig
from .transducer import Transducer
from .transducer_loss import joint_transducer_loss

Batch = dict[str, jax.Array]
NUM_FEATURES = 240  # 40 filters, their deltas and delta-deltas, two frames stacked
INFEASIBLE = 1e4  # optax.ctc_loss returns about 1e5 where the labels do not fit into the frames


def schedule(config: OptimizerConfig, rate: float = 1.0) -> optax.Schedule:
    """One-cycle learning rate: a cosine rise to the peak, then a cosine fall to almost zero."""
    return optax.cosine_onecycle_schedule(
        config.steps, rate * config.peak_learning_rate, pct_start=config.warmup, div_factor=25.0
    )


def optimizer(
    config: SpeechConfig, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """Clipping, AdamW and what the learners exchange, as one optax chain.

    Learners that do not wait exchange nothing here, and share the learning rate of the whole run.
    """
    options, learners = config.optimizer, config.learners
    if learners.asynchronous:
        rule = _descent(options, 1.0, options.clip_rate)
        pace = async_training.scale_by_progress(schedule(options), learners.number)
        return async_training.guard(optax.chain(rule, pace))
    inner = _descent(options, schedule(options), schedule(options, options.clip_rate))
    return exchange.distribute(
        inner, learners, config.compression, num_steps=options.steps, axis_name=axis_name
    )


def _descent(
    config: OptimizerConfig, rate: optax.ScalarOrSchedule, clip_rate: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """One learner's rule."""
    adamw = optax.adamw(
        rate,
        b2=0.98,
        weight_decay=config.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )
    # Quantizers' clips have a rate of their own and never decay; float models have none.
    clips = optax.adam(clip_rate, b2=0.98)
    rule = optax.partition({"weights": adamw, "clips": clips}, quantization.clip_labels)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def loss_function(
    config: SpeechConfig,
    model: Transducer,
    *,
    token_logits: TokenLogits | None = None,
    initializes: bool = False,
) -> Callable[..., Any]:
    """Builds the loss of one learner.

    Args:
        config: the run.
        model: the transducer.
        token_logits: the language model of scheduled sampling, if the run samples.
        initializes: the frame-wise term alone, with weight 1; predictor and joiner get no gradient.

    Returns:
        ``loss(params, batch, key) -> (loss, metrics)`` with scalar results; the batch holds
        ``waveform`` and ``waveform_paddings`` ``[batch, samples]``, ``labels`` and
        ``label_paddings`` ``[batch, U]``, and what else `config.label_noise` needs, see `loader`.

    Raises:
        ValueError: if the run samples and there is no language model.
    """
    if config.label_noise.scheduled_sampling and token_logits is None:
        raise ValueError(
            "`token_logits` must be given where `label_noise.scheduled_sampling` is on; see "
            "`experiment.sampling_model`."
        )

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        variables = quantize_variables(model.policy, params)  # once, outside all loops over time
        if config.precision == "bfloat16":
            variables = _in_half_precision(variables)
        feature_key, *keys, target_key, prefix_key = jax.random.split(key, 5)
        batch = smoothed_targets(config, batch, target_key)
        prefixes = noisy_prefixes(config, batch, prefix_key, model.vocabulary_size, token_logits)
        inputs, paddings = augmented_features(config, batch, feature_key)
        transducer, connectionist = utterance_losses(
            model, variables, inputs, paddings, batch, prefixes=prefixes, dropout_keys=keys
        )
        connectionist = jnp.where(connectionist < INFEASIBLE, connectionist, 0.0)
        num_labels = jnp.maximum(jnp.sum(1 - batch["label_paddings"]), 1)
        metrics = {
            "transducer_loss": jnp.sum(transducer) / num_labels,
            "ctc_loss": jnp.sum(connectionist) / num_labels,
        }
        if initializes:  # nothing then computes the other term
            total = metrics["ctc_loss"]
            metrics["transducer_loss"] = jnp.full_like(total, jnp.nan)
        else:
            total = metrics["transducer_loss"] + config.optimizer.ctc_weight * metrics["ctc_loss"]
        return total, metrics | clip_metrics(params)

    return loss


def _in_half_precision(variables: Any) -> Any:
    """Weights of products in bfloat16, see `core.quantized.matmul`; codes as they are."""

    def convert(path: tuple, leaf: Any) -> Any:
        is_weight = path[-1].key in ("kernel", "recurrent") and not is_quantized(leaf)
        return leaf.astype(jnp.bfloat16) if is_weight else leaf

    return jax.tree_util.tree_map_with_path(convert, variables, is_leaf=is_quantized)


def training_step(
    config: SpeechConfig,
    model: Transducer,
    optimizer: optax.GradientTransformation,
    *,
    token_logits: TokenLogits | None = None,
    initializes: bool = False,
) -> Callable[..., Any]:
    """The step of one learner of a transducer, see `learner_step`."""
    loss = loss_function(config, model, token_logits=token_logits, initializes=initializes)
    return learner_step(config, loss, optimizer)


def learner_loss(config: SpeechConfig, loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss of one learner at weights with noise, if the run asks for any."""
    return exchange.noisy_loss(loss, config.learners)


def learner_step(
    config: SpeechConfig, loss: Callable[..., Any], optimizer: optax.GradientTransformation
) -> Callable[..., Any]:
    """The step of one learner, see `exchange.learner_step`.

    Args:
        config: the run.
        loss: ``loss(params, batch, key) -> (loss, metrics)``.
        optimizer: see `optimizer`.
    """
    return exchange.learner_step(
        loss,
        optimizer,
        config.learners,
        config.compression,
        learning_rate=schedule(config.optimizer),
        log_every=config.log_every,
        num_parts=config.optimizer.microbatches,
        curvature=False,  # The gradient of the recursion is not differentiable.
    )


def utterance_losses(
    model: Transducer,
    variables: Any,
    inputs: jax.Array,
    paddings: jax.Array,
    batch: Batch,
    *,
    prefixes: jax.Array | None = None,
    dropout_keys: Sequence[jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Transducer loss and auxiliary loss of each utterance.

    Args:
        model: the transducer.
        variables: its variables, weights as they are to be multiplied.
        inputs: features ``[batch, frames, 240]``.
        paddings: ``[batch, frames]``.
        batch: ``labels`` and ``label_paddings`` ``[batch, U]``.
        prefixes: ``[batch, U]`` labels that the predictor reads; None stands for the true ones.
        dropout_keys: random keys of encoder and predictor, in training; None is evaluation.

    Returns:
        Both ``[batch]``; the auxiliary loss is huge where there are fewer frames than labels.
    """
    apply: Callable[..., Any] = model.apply

    encoder_options, predictor_options = (
        ({}, {})
        if dropout_keys is None
        else ({"deterministic": False, "rngs": {"dropout": key}} for key in dropout_keys)
    )
    labels, label_paddings = batch["labels"], batch["label_paddings"]
    encoded, paddings = apply(variables, inputs, paddings, **encoder_options, method="encode")
    prefixes = labels if prefixes is None else prefixes
    predicted = apply(variables, prefixes, **predictor_options, method="predict")
    transducer = joint_transducer_loss(
        lambda frames, prefixes: apply(variables, frames, prefixes, method="join"),
        encoded,
        predicted,
        paddings,
        labels,
        label_paddings,
    )
    logits = apply(variables, encoded, method="connect")
    return transducer, optax.ctc_loss(logits, paddings, labels, label_paddings)
