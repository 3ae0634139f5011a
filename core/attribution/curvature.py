"""Curvature of a mean loss as products with a vector; no matrix is ever formed.

    Hessian       H v = sum_n w_n grad^2 l_n v              indefinite away from a minimum
    Gauss-Newton  G v = sum_n w_n J_n^T grad_z^2 D_n J_n v  for l_n = D(z_n), z_n = predict(params)
    Fisher        F v = sum_n w_n g_n <g_n, v>              from gradients alone (the empirical one)

The last two are never indefinite.  They are dataclasses, so that equal ones share compiled
programs.  A `System` is one of them over a whole training set, with its damping.

References:
    B. Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994.
    J. Martens, "New Insights and Perspectives on the Natural Gradient Method", 2014,
        arXiv:1412.1193.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .directional import Loss

# (params, block of examples, weights [B], vector) -> vector, both like the parameters
Curvature = Callable[[Any, Any, jax.Array, Any], Any]
Product = Callable[[Any], Any]


@dataclass(frozen=True)
class Hessian:
    """The Hessian of the weighted loss."""

    loss: Loss
    """Of one example, twice differentiable."""

    def __call__(self, params: Any, block: Any, weights: jax.Array, vector: Any) -> Any:
        """The product with a vector, forward over reverse."""

        def total(params):
            return weights @ jax.vmap(self.loss, (None, 0))(params, block)

        return jax.jvp(jax.grad(total), (params,), (vector,))[1]


@dataclass(frozen=True)
class GaussNewton:
    """The Hessian without the curvature of the network itself."""

    predict: Callable[[Any, Any], jax.Array]
    """(params, example) -> outputs, such as logits."""
    divergence: Callable[[jax.Array, Any], jax.Array]
    """(outputs, example) -> scalar loss, convex in the outputs."""

    def __call__(self, params: Any, block: Any, weights: jax.Array, vector: Any) -> Any:
        """The product with a vector: forward, through the outputs' Hessian, and back."""

        def predict(params):
            return jax.vmap(self.predict, (None, 0))(params, block)

        def total(outputs):
            return weights @ jax.vmap(self.divergence)(outputs, block)

        outputs, pull = jax.vjp(predict, params)
        _, moved = jax.jvp(predict, (params,), (vector,))
        return pull(jax.jvp(jax.grad(total), (outputs,), (moved,))[1])[0]


@dataclass(frozen=True)
class Fisher:
    """The second moment of the gradients of the examples."""

    loss: Loss
    """Of one example."""

    def __call__(self, params: Any, block: Any, weights: jax.Array, vector: Any) -> Any:
        """The product with a vector: one derivative forward, one back."""

        def losses(params):
            return jax.vmap(self.loss, (None, 0))(params, block)

        _, pull = jax.vjp(losses, params)
        slopes = jax.jvp(losses, (params,), (vector,))[1]
        return pull(weights * slopes)[0]


class System(NamedTuple):
    """(C + damping) x = v over a training set."""

    curvature: Curvature
    params: Any
    blocks: Any  # examples, leaves [blocks, B, ...], see `blocks.stack`
    weights: jax.Array  # [blocks, B], their sum is 1
    damping: jax.Array  # [] >= 0

    def product(self, vector: Any) -> Any:
        """C v over all training examples, without the damping."""

        def add(total, block):
            examples, weights = block
            part = self.curvature(self.params, examples, weights, vector)
            return jax.tree.map(jnp.add, total, part), None

        zeros = jax.tree.map(jnp.zeros_like, vector)
        return jax.lax.scan(add, zeros, (self.blocks, self.weights))[0]

    def block_product(self, number: jax.Array, vector: Any) -> Any:
        """C v estimated from one block."""
        block, weights = jax.tree.map(lambda leaf: leaf[number], (self.blocks, self.weights))
        return self.curvature(self.params, block, weights / jnp.sum(weights), vector)

    def damped_product(self, vector: Any) -> Any:
        """(C + damping) v over all training examples."""
        return jax.tree.map(lambda x, y: x + self.damping * y, self.product(vector), vector)
