"""An exponential moving average of the weights, the last link of an optax chain.

    m_0 = x_0,    m <- d m + (1 - d) x,    d = min(decay, (1 + k) / (10 + k))

after step k = 0, 1, ...: early averages forget faster, so that the random start does not linger.
The average is what one evaluates; training does not see it.  With n learners each keeps its own,
and their mean over the learners is the moving average of the mean weights.

References:
    B. Polyak, A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AverageState(NamedTuple):
    """State of `moving_average`."""

    step: jax.Array  # [] int32: number of updates so far
    average: Any  # the tree, shapes and dtypes of the parameters


def moving_average(decay: float) -> optax.GradientTransformation:
    """Keeps a moving average of the weights and leaves the updates as they are.

    Args:
        decay: the largest d, in [0, 1), for instance 0.999.

    Returns:
        A transform whose ``update`` needs `params`.

    Raises:
        ValueError: if `decay` is out of range; in ``update``, if `params` is missing.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.1), moving_average(0.99))
        >>> averaged = averaged_params(state, params)
    """
    if not 0 <= decay < 1:
        raise ValueError(f"`decay` must be in [0, 1), got {decay}.")

    def init(params):
        return AverageState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.copy, params))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("`params` must be given to the update of a moving average of them.")
        step = state.step.astype(jnp.float32)
        d = jnp.minimum(decay, (1 + step) / (10 + step))
        weights = optax.apply_updates(params, updates)
        average = jax.tree.map(
            lambda m, x: (d * m + (1 - d) * x).astype(m.dtype), state.average, weights
        )
        return updates, AverageState(jnp.asarray(optax.safe_increment(state.step)), average)

    return optax.GradientTransformation(init, update)


def averaged_params(opt_state: optax.OptState, params: optax.Params) -> optax.Params:
    """The moving average in the state of any chain with `moving_average` in it, else `params`."""

    def is_average(state):
        return isinstance(state, AverageState)

    states = jax.tree.leaves(opt_state, is_leaf=is_average)
    return next((state.average for state in states if is_average(state)), params)
