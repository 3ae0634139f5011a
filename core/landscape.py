"""What the spread of the learners does to a step: effective learning rate, noise and smoothness.

In decentralized SGD learner j computes its minibatch gradient g_j at its own weights w_j.  The
mean weights w_a = (1/n) sum_j w_j then move by the mean gradient g_a = (1/n) sum_j g_j(w_j).
Against the gradient g = grad L(w_a) of the whole data, or of a large held-out batch, the step is

    w_a <- w_a - a_e g + eta,    a_e = a (g_a . g) / ||g||^2,    eta . g = 0,

an effective learning rate a_e and a noise eta.  The same minibatches at w_a give the noise that
synchronous SGD would have; the rest comes from the landscape between w_a and the w_j.  It vanishes
to first order in the spread where all minibatches share one Hessian, and it is all of the
self-adjustment: on rough ground the learners spread, g_a shrinks against g, and so does the step.

Theory takes w_j - w_a for Gaussian noise.  Then g_a tends to the gradient of the smoothed loss
L~(w) = E L(w + d), which predicts a_e; `smoothed_gradient` samples it.  `diagnose` returns all of
this as metrics of `training.train_step`.  Functions see one learner and average over a named axis,
see `learners`; symbols are those of the paper, with a for its alpha.

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
    J. Duchi, P. Bartlett, M. Wainwright, "Randomized Smoothing for Stochastic Optimization", 2012,
        arXiv:1103.4296.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from . import gossip
from .diagnostics import Diagnostics, periodic
from .microbatches import Loss
from .noise import normal_like

Gradient = Callable[[Any], Any]  # params -> their gradient, both pytrees of one structure


class Noise(NamedTuple):
    """Squared lengths of noise in one step, all across the reference gradient; see the module."""

    total: jax.Array  # [] float: ||eta||^2 of the step that was taken
    minibatch: jax.Array  # [] float: ||eta||^2 of the same minibatches at the mean weights
    landscape: jax.Array  # [] float: total - minibatch; below 0 where the spread calms the noise
    displacement: jax.Array  # [] float: squared length of the difference of the two noises


def effective_learning_rate(
    gradients: Any,
    reference: Any,
    *,
    learning_rate: Any = 1.0,
    axis_name: str = "learner",
) -> jax.Array:
    """How far the mean weights go along the gradient: a_e = a (g_a . g) / ||g||^2.

    Args:
        gradients: pytree, this learner's gradient g_j(w_j).
        reference: pytree, the gradient at the mean weights; each learner may hold that of its own
            equal share of the data, or all the same: g is the mean over the learners.
        learning_rate: the step size a; the default gives the ratio a_e / a.
        axis_name: the axis of learners.

    Returns:
        [] float32 or better, the same on every learner; NaN where g is zero.

    Example:
        >>> learners.spread(effective_learning_rate, 2)(jnp.ones((2, 3)), jnp.full((2, 3), 2.0))
        Array([0.5, 0.5], dtype=float32)
    """
    g_a, g = _mean(gradients, axis_name), _mean(reference, axis_name)
    return learning_rate * _along(g_a, g)


def noise_decomposition(
    gradients: Any,
    gradients_at_mean: Any,
    reference: Any,
    *,
    learning_rate: Any = 1.0,
    axis_name: str = "learner",
) -> Noise:
    """Splits the noise of a step into what the minibatches and what the landscape brings.

    With the mean gradients g_a of the step and g_S of the same minibatches at the mean weights,

        eta = -a P g_a,    eta_S = -a P g_S,    P x = x - (x . g) g / ||g||^2,
        total = ||eta||^2,    minibatch = ||eta_S||^2,    displacement = ||eta - eta_S||^2,

    and landscape = total - minibatch = displacement + 2 eta_S . (eta - eta_S).

    Args:
        gradients: pytree, this learner's gradient g_j(w_j).
        gradients_at_mean: pytree, g_j(w_a): the same minibatch at the mean weights.
        reference: pytree, the gradient at the mean weights, see `effective_learning_rate`.
        learning_rate: the step size a.
        axis_name: the axis of learners.

    Returns:
        The squared lengths, the same on every learner; NaN where g is zero.

    References:
        W. Zhang et al., 2021, arXiv:2112.01433.
    """
    g_a, g_s, g = (_mean(x, axis_name) for x in (gradients, gradients_at_mean, reference))

    def strength(x):
        along = _along(x, g)
        across = jax.tree.map(lambda x, g: x - along * g, x, g)
        return jnp.square(learning_rate) * _dot(across, across)

    total, minibatch = strength(g_a), strength(g_s)
    return Noise(total, minibatch, total - minibatch, strength(optax.tree.sub(g_a, g_s)))


def smoothed_gradient(
    gradient: Gradient,
    params: Any,
    key: jax.Array,
    *,
    scale: Any = None,
    num_pairs: int = 4,
    axis_name: str | None = "learner",
) -> Any:
    """The gradient of the loss under Gaussian weight noise, E grad L(w_a + d), d ~ N(0, s^2 I).

    A Monte Carlo mean over pairs w_a + d and w_a - d, exact for a quadratic loss, where the pairs
    of all learners count.  Its `effective_learning_rate` is what theory predicts for the learners.

    Args:
        gradient: gives the gradient of this learner's loss, ``gradient(params) -> pytree``.
        params: pytree, this learner's weights; the noise is added to their mean over the learners.
        key: typed random key, different on every learner.
        scale: s, the standard deviation of each weight; the default is that of the learners,
            s^2 = sigma_w^2 / (number of weights), see `gossip.consensus_distance`.
        num_pairs: pairs of gradients of each learner, at least 1; they run one after the other.
        axis_name: the axis of learners; None for one learner alone, which needs `scale`.

    Returns:
        A pytree like `params`, in float32 or better, the same on every learner.

    Raises:
        ValueError: if `num_pairs` is below 1, or `scale` is missing without an axis.

    Example:
        >>> gradient = jax.grad(lambda x: jnp.sum(jnp.cos(x)))
        >>> x = smoothed_gradient(gradient, jnp.ones(3), key, scale=0.5, axis_name=None)
        >>> # near -exp(-0.5**2 / 2) * sin(1)

    References:
        J. Duchi, P. Bartlett, M. Wainwright, 2012, arXiv:1103.4296.
    """
    if num_pairs < 1:
        raise ValueError(f"`num_pairs` must be at least 1, got {num_pairs}.")
    if axis_name is None and scale is None:
        raise ValueError("`scale` must be given without an axis: one learner has no spread.")
    center = params if axis_name is None else _average(params, axis_name)
    if scale is None:
        size = sum(x.size for x in jax.tree.leaves(params))
        scale = jnp.sqrt(gossip.consensus_distance(params, str(axis_name)) / size)

    def add_pair(total, key):
        noise = normal_like(key, center)
        for sign in (1.0, -1.0):
            shifted = jax.tree.map(
                lambda x, d, step=sign * scale: x + (step * d).astype(x.dtype), center, noise
            )
            total = jax.tree.map(jnp.add, total, gradient(shifted))
        return total, None

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, _wide(x)), center)
    total, _ = jax.lax.scan(add_pair, zeros, jax.random.split(key, num_pairs))
    mean = jax.tree.map(lambda x: x / (2 * num_pairs), total)
    return mean if axis_name is None else _mean(mean, axis_name)


def sharpness(gradient: Gradient, params: Any, *, axis_name: str = "learner") -> jax.Array:
    """The curvature along the learners' spread: (1/n) sum_j d_j^T H d_j / ||d_j||^2.

    Here d_j = w_j - w_a.  One product with the Hessian at the mean weights for each learner,
    forward over reverse, costs about two gradients in time and memory.

    Args:
        gradient: gives the gradient of the loss, ``gradient(params) -> pytree``; with each
            learner's own batch the sum takes the Hessian of that batch.
        params: pytree, this learner's weights.
        axis_name: the axis of learners.

    Returns:
        [] float32 or better, the same on every learner; NaN where a learner sits at the mean.
    """
    center = _average(params, axis_name)
    direction = optax.tree.sub(params, center)
    _, product = jax.jvp(gradient, (center,), (direction,))
    return jax.lax.pmean(_along(product, direction), axis_name)


def diagnose(
    loss: Loss,
    *,
    learning_rate: float | optax.Schedule,
    reference: Any = None,
    every: int = 1,
    curvature: bool = True,
    num_pairs: int = 0,
    axis_name: str = "learner",
) -> Diagnostics:
    """Builds the `diagnostics` of `training.train_step` from the measures of this module.

    The step's own gradients serve as g_j(w_j).  A measured step costs two gradients of each learner
    (its minibatch and its share of the reference, at the mean weights), about two more with
    `curvature`, and ``2 * num_pairs`` more; other steps cost nothing and report NaN, which the log
    leaves out of its means.

    The noise and a_e describe the update of plain SGD.  Under momentum or Adam the ratio of a_e to
    the learning rate still tells how far the learners' gradients agree with the reference.

    Args:
        loss: the loss given to `train_step`, ``loss(params, batch, key) -> (scalar, metrics)``.
        learning_rate: the step size a, or a schedule of it by step.
        reference: pytree [num_learners, ...] of a large batch, a share of it for each learner; the
            default takes the learners' minibatches, which sets the minibatch noise to zero.
        every: number of steps from one measurement to the next, at least 1; the first is after
            ``every - 1`` steps, so that each line of a log of equal rhythm has one.
        curvature: whether to measure `sharpness`, of the reference.
        num_pairs: pairs of each learner for the `smoothed_gradient` of the reference; 0 for none.
        axis_name: the axis of learners.

    Returns:
        A function that returns the metrics "effective_learning_rate", "minibatch_noise",
        "landscape_noise", with `curvature` "sharpness", and with pairs "predicted_learning_rate",
        the a_e of the smoothed gradient.

    Raises:
        ValueError: if `every` is below 1 or `num_pairs` below 0.

    Example:
        >>> step = training.train_step(loss, gossip.dpsgd(optax.sgd(0.1), ring(8)),
        ...     axis_name="learner", diagnostics=diagnose(loss, learning_rate=0.1, every=10))
    """
    if num_pairs < 0:
        raise ValueError(f"`num_pairs` must be at least 0, got {num_pairs}.")

    def measure(state, batch, key, gradients):
        params = state.params

        def gradient_of(batch):
            return lambda params: jax.grad(loss, has_aux=True)(params, batch, key)[0]

        share = batch
        if reference is not None:
            share = jax.tree.map(lambda x: jnp.asarray(x)[jax.lax.axis_index(axis_name)], reference)
        center = _average(params, axis_name)
        at_mean = gradient_of(batch)(center)
        g = at_mean if reference is None else gradient_of(share)(center)
        a = learning_rate(state.step) if callable(learning_rate) else learning_rate
        options: dict[str, Any] = {"learning_rate": a, "axis_name": axis_name}
        noise = noise_decomposition(gradients, at_mean, g, **options)
        report = {
            "effective_learning_rate": effective_learning_rate(gradients, g, **options),
            "minibatch_noise": noise.minibatch,
            "landscape_noise": noise.landscape,
        }
        if curvature:
            report["sharpness"] = sharpness(gradient_of(share), params, axis_name=axis_name)
        if num_pairs:
            smoothed = smoothed_gradient(
                gradient_of(share), params, key, num_pairs=num_pairs, axis_name=axis_name
            )
            report["predicted_learning_rate"] = effective_learning_rate(smoothed, g, **options)
        return report

    return periodic(measure, every, axis_name)


def _along(x: Any, direction: Any) -> jax.Array:
    """(x . d) / ||d||^2, the length of x along d in units of d."""
    return _dot(x, direction) / _dot(direction, direction)


def _dot(x: Any, y: Any) -> jax.Array:
    products = jax.tree.map(lambda x, y: jnp.sum(x.astype(_wide(x)) * y.astype(_wide(y))), x, y)
    return jnp.asarray(optax.tree.sum(products))


def _mean(tree: Any, axis_name: str) -> Any:
    """The mean over the learners, in float32 or better."""
    return jax.tree.map(lambda x: jax.lax.pmean(x.astype(_wide(x)), axis_name), tree)


def _average(params: Any, axis_name: str) -> Any:
    """The mean weights w_a, in the dtypes of the parameters."""
    return optax.tree.cast_like(_mean(params, axis_name), params)


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)
