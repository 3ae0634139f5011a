"""What trains an image classifier: the loss, the optimizer and its schedule.

    loss = mean over rows of - sum_c target_c log softmax(logits)_c

Batch norm divides by the statistics of a learner's own batch; what the network reports of them goes
to ``core.training``, which keeps their moving averages.  Weight decay is that of kernels, added to
the gradient before momentum, as in the definitions' recipes.

References:
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
        arXiv:1706.02677 (linear scaling of the rate, and its warm-up).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core import exchange, quantization
from ..core.moving_average import moving_average
from ..core.quantized_variables import quantize_variables, sites_of
from ..core.sites import CLIPS
from .models import Network
from .policies import named_policy
from .run_config import OptimizerConfig, VisionConfig

Batch = dict[str, jax.Array]
STATISTICS = "batch_stats"
STATISTICS_DECAY = 0.9


def schedule(config: OptimizerConfig, rate: float = 1.0) -> optax.Schedule:
    """The learning rate by step, times `rate`."""
    peak, steps = rate * config.learning_rate, config.steps
    first = round(config.warmup * steps)
    if config.schedule == "cosine":
        fall = optax.cosine_decay_schedule(peak, max(steps - first, 1))
    elif config.schedule == "constant":
        fall = optax.constant_schedule(peak)
    else:
        falls = {max(round(part * steps) - first, 0): 0.1 for part in (0.5, 0.75)}
        fall = optax.piecewise_constant_schedule(peak, falls)
    if not first:
        return fall
    # The first step has a rate above zero.
    rise = optax.linear_schedule(peak / first, peak, max(first - 1, 1))
    return optax.join_schedules([rise, fall], [first])


def optimizer(
    config: VisionConfig, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """SGD with momentum and what the learners exchange, as one optax chain."""
    options = config.optimizer

    def sgd(rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.sgd(rate, momentum=options.momentum or None)

    decay = optax.add_decayed_weights(
        options.weight_decay, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    )
    # Quantizers' clips have a rate of their own and never decay; float models have none.
    rule = optax.partition(
        {
            "weights": optax.chain(decay, sgd(schedule(options))),
            "clips": sgd(schedule(options, options.clip_rate)),
        },
        quantization.clip_labels,
    )
    chain = exchange.distribute(
        rule,
        config.learners,
        config.compression,
        num_steps=options.steps,
        axis_name=axis_name,
    )
    return optax.chain(chain, moving_average(options.average)) if options.average else chain


def loss_function(config: VisionConfig, network: Network) -> Callable[..., Any]:
    """Builds the loss of one learner.

    Args:
        config: the run.
        network: what `models.create` gave.

    Returns:
        ``loss(variables, batch, key) -> (loss, (metrics, statistics))``; variables are "params"
        and, with a policy, "clips"; the batch holds ``images`` and ``targets``, see `loader`; the
        statistics are those of this batch.
    """
    policy = named_policy(config.network.quantize)

    def loss(variables: Any, batch: Batch, key: jax.Array):
        used = quantize_variables(policy, variables)
        sites = {CLIPS: sites_of(used)} if policy is not None else {}
        logits, found = network.apply(
            {"params": used["params"], **sites},
            batch["images"],
            train=True,
            rngs={"dropout": key},
            mutable=[STATISTICS],
        )
        targets = optax.smooth_labels(batch["targets"], config.optimizer.label_smoothing)
        value = jnp.mean(optax.softmax_cross_entropy(logits, targets))
        right = jnp.argmax(logits, axis=-1) == jnp.argmax(batch["targets"], axis=-1)
        return value, ({"accuracy": jnp.mean(right)}, found.get(STATISTICS, {}))

    return loss
