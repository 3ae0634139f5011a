"""Parameters near the final optimum, for TracInF.

Two ways to make them, both our formulation: noise in proportion to the size of each tensor,

    theta_m = theta_F + scale * rms(theta_F) * e_m,    e_m ~ N(0, 1),

and training on for a while at a small learning rate, which stays where the loss is flat.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp


def noisy_variants(params: Any, key: jax.Array, *, number: int = 4, scale: float = 1e-2) -> list:
    """Variants by Gaussian noise, each tensor's in proportion to its root mean square.

    Args:
        params: the final parameters.
        key: typed random key.
        number: how many, at least 1.
        scale: standard deviation of the noise over the root mean square of the tensor, > 0.

    Returns:
        [number] trees like `params`.

    Raises:
        ValueError: if a number is out of range.
    """
    if number < 1 or scale <= 0:
        raise ValueError(
            f"`number` must be at least 1 and `scale` above 0, got {number} and {scale}."
        )
    leaves, structure = jax.tree.flatten(params)

    def draw(key):
        keys = jax.random.split(key, len(leaves))
        moved = [
            leaf
            + scale
            * jnp.sqrt(jnp.mean(jnp.square(leaf)))
            * jax.random.normal(key, leaf.shape, leaf.dtype)
            for leaf, key in zip(leaves, keys, strict=True)
        ]
        return jax.tree.unflatten(structure, moved)

    return [draw(key) for key in jax.random.split(key, number)]


def continued_variants(
    step: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    batches: Iterator[Any],
    *,
    number: int = 4,
    spacing: int = 10,
) -> list:
    """Variants by training on, one after each `spacing` steps.

    Args:
        step: a step that does not donate its state, see `training.train_step`; its learning rate
            should be that of the end of training.
        state: the final state, with ``params``.
        batches: training batches, at least `number` times `spacing`.
        number: how many, at least 1.
        spacing: steps from one to the next, at least 1.

    Returns:
        [number] trees of parameters.

    Raises:
        ValueError: if a number is out of range.
    """
    if number < 1 or spacing < 1:
        raise ValueError(f"`number` and `spacing` must be at least 1, got {number} and {spacing}.")
    found = []
    for _ in range(number):
        for _ in range(spacing):
            state, _ = step(state, next(batches))
        found.append(state.params)
    return found
