"""What trains a translator: the loss, the optimizer and its schedule.

    loss = mean over tokens of - (1 - e) log p(y) - (e / V) sum_v log p(v)
    rate = peak min(t / w, sqrt(w / t)),    t = 1, 2, ...

With the peak (size w)^-0.5 this is the paper's size^-0.5 min(t^-0.5, t w^-1.5).

References:
    A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762 (sections 5.3, 5.4).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...core import exchange
from ...core.moving_average import moving_average
from .byte_pairs import PAD
from .run_config import OptimizerConfig, TranslationConfig
from .transformer import Transformer

Batch = dict[str, jax.Array]


def schedule(config: OptimizerConfig) -> optax.Schedule:
    """The learning rate by step."""

    def rate(step):
        t = step + 1.0
        return config.learning_rate * jnp.minimum(t / config.warmup, (config.warmup / t) ** 0.5)

    return rate


def optimizer(
    config: TranslationConfig, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """Adam as in the paper and what the learners exchange, as one optax chain."""
    options = config.optimizer
    chain = exchange.distribute(
        optax.with_extra_args_support(optax.adam(schedule(options), b2=0.98, eps=1e-9)),
        config.learners,
        config.compression,
        num_steps=options.steps,
        axis_name=axis_name,
    )
    return optax.chain(chain, moving_average(options.average)) if options.average else chain


def loss_function(model: Transformer, smoothing: float) -> Callable[..., Any]:
    """Builds the loss of one learner.

    Args:
        model: the network.
        smoothing: the e above.

    Returns:
        ``loss(params, batch, key) -> (loss, metrics)``; the batch holds ``source`` and ``target``,
        see `batches`.
    """
    apply: Callable[..., Any] = model.apply

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        target = batch["target"]
        logits = apply(
            {"params": params}, batch["source"], target, deterministic=False, rngs={"dropout": key}
        )
        nats, uniform, right = token_measures(logits, target)
        number = jnp.maximum(jnp.sum(target != PAD), 1)
        value = ((1 - smoothing) * jnp.sum(nats) + smoothing * jnp.sum(uniform)) / number
        return value, {"nats": jnp.sum(nats) / number, "accuracy": jnp.sum(right) / number}

    return loss


def token_measures(logits: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What logits [batch, T, V] say of each token [batch, T]; 0 where there is none.

    Returns:
        - log p of the token, the mean of - log p over the vocabulary, and whether the token is the
        most probable one; each [batch, T] float32.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    nats = -jnp.take_along_axis(log_probabilities, target[..., None], -1)[..., 0]
    uniform = -jnp.mean(log_probabilities, -1)
    right = (jnp.argmax(logits, -1) == target).astype(jnp.float32)
    valid = target != PAD
    nats, uniform, right = (jnp.where(valid, x, 0.0) for x in (nats, uniform, right))
    return nats, uniform, right
