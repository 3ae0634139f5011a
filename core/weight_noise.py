"""Gaussian noise on the weights: the baseline SSGD* of decentralized training.

Learners of decentralized SGD compute gradients away from their mean.  To tell what this owes to the
landscape, SSGD* takes the gradients of synchronous SGD at equally noisy but blind weights,

    w <- w - (a/n) sum_j g_j(w + s d_j),    d_j ~ N(0, I).

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
"""

import jax
import jax.numpy as jnp

from .microbatches import Loss
from .noise import normal_like


def perturb(loss: Loss, scale: float) -> Loss:
    """Evaluates a loss, and with it its gradient, at weights with fresh Gaussian noise.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, metrics)``.
        scale: standard deviation s >= 0 of the noise of each weight.

    Returns:
        A loss of the same form.  Its noise comes from the key, so that learners of
        `training.train_step` draw independently; at s = 0 only the key of `loss` changes.

    Raises:
        ValueError: if `scale` is negative.

    Example:
        >>> step = training.train_step(perturb(loss, 0.01), optimizer, axis_name="learner")

    References:
        W. Zhang et al., 2021, arXiv:2112.01433.
    """
    if scale < 0.0:
        raise ValueError(f"`scale` must be at least 0, got {scale}.")

    def perturbed(params, batch, key):
        noise_key, loss_key = jax.random.split(key)
        noise = normal_like(noise_key, params)
        params = jax.tree.map(lambda x, d: x + jnp.asarray(scale, x.dtype) * d, params, noise)
        return loss(params, batch, loss_key)

    return perturbed
