"""EK-FAC: the inverse of a Fisher matrix that is diagonal in a Kronecker product of two bases.

A dense layer y_t = W^T a_t + b has the gradient G_n = sum_t [a_t; 1] delta_t^T of example n, delta
being the loss's gradient with respect to y.  With the eigenvectors U of E[a a^T] and V of
E[delta delta^T], the second moment of vec(G) is taken for diagonal:

    (F + damping)^-1 G = U ( (U^T G V) / (Lambda + damping) ) V^T,   Lambda = E[(U^T G_n V)^2].

Both a and delta come out of one forward and backward pass, in which zeros are added to the outputs
of the layers ("taps").  All other parameters, such as embeddings and normalization, are inverted by
the diagonal E[g^2]: none is left out.

With the loss of the data's labels this is the empirical Fisher matrix, which vanishes with the loss
of examples that are known by heart: the damping is then all there is.  A loss of several rows gives
the sum of theirs; with a row -sqrt(p_c) log p_c for every class c, where the root has no gradient,
that is the Fisher matrix of the model's own predictions, which is the Gauss-Newton matrix.

References:
    T. George et al., "Fast Approximate Natural Gradient Descent in a Kronecker-factored
        Eigenbasis", 2018, arXiv:1806.03884.
    R. Grosse et al., "Studying Large Language Model Generalization with Influence Functions",
        2023, arXiv:2308.03296.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..paths import join, named_leaves
from .curvature import System

Taps = dict[str, jax.Array]  # by the name of a dense layer


@dataclass(frozen=True)
class EKFAC:
    """The solver of this module, for `influence.influence_function`."""

    tapped_loss: Callable[[Any, Taps, Any], tuple[jax.Array, Taps]]
    """``(params, taps, example) -> (loss, inputs)`` of one example: adds taps [T, out], where there
    are such, to the outputs of dense layers, and gives the inputs [T, in] of all of them.  The
    layer "a/b" has the parameters "a/b/kernel" [in, out] and, if any, "a/b/bias" [out].  The loss
    is a scalar, or rows [R] as the module's head says; the damping is chosen, where none is given,
    from the curvature of the call: `Fisher` for the first, `GaussNewton` for all classes."""

    def __call__(self, system: System, vectors: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        """See `solvers`."""
        del key
        first = jax.tree.map(lambda leaf: leaf[0, 0], system.blocks)
        shapes = jax.eval_shape(self.tapped_loss, system.params, {}, first)[1]
        leaves = dict(named_leaves(system.params))
        _check(shapes, leaves)
        taps = {
            name: jnp.zeros((shape.shape[0], leaves[f"{name}/kernel"].shape[1]), shape.dtype)
            for name, shape in shapes.items()
        }

        def walk(example):
            """Inputs, and by rows of the loss the gradients of outputs and of other parameters."""
            loss, pull, inputs = jax.vjp(
                lambda params, taps: self.tapped_loss(params, taps, example),
                system.params,
                taps,
                has_aux=True,
            )
            rows = jnp.eye(loss.size, dtype=loss.dtype).reshape(-1, *loss.shape)
            gradients, deltas = jax.vmap(pull)(rows)
            rest = {n: g for n, g in named_leaves(gradients) if n.rpartition("/")[0] not in taps}
            inputs = {name: _with_one(x, leaves, name) for name, x in inputs.items()}
            return inputs, deltas, rest

        def mean(statistic):
            """The mean of a statistic of examples over the training set."""

            def add(total, block):
                examples, weights = block
                found = jax.vmap(lambda example: statistic(*walk(example)))(examples)
                part = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), found)
                return jax.tree.map(jnp.add, total, part), None

            like = jax.eval_shape(lambda example: statistic(*walk(example)), first)
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
            return jax.lax.scan(add, zeros, (system.blocks, system.weights))[0]

        def moments(inputs, deltas, rest):
            del rest
            return {
                name: (x.T @ x, jnp.einsum("rti,rtj->ij", deltas[name], deltas[name]))
                for name, x in inputs.items()
            }

        bases = jax.tree.map(lambda moment: jnp.linalg.eigh(moment)[1], mean(moments))

        def squares(inputs, deltas, rest):
            turned = {
                name: (x @ bases[name][0]).T @ (deltas[name] @ bases[name][1])
                for name, x in inputs.items()
            }
            return jax.tree.map(lambda x: jnp.sum(jnp.square(x), 0), (turned, rest))

        spectrum, diagonal = mean(squares)

        def solve(vector):
            named = dict(named_leaves(vector))
            for name, (left, right) in bases.items():
                gradient = named[f"{name}/kernel"]
                bias = f"{name}/bias"
                if bias in named:
                    gradient = jnp.concatenate([gradient, named[bias][None]])
                turned = (left.T @ gradient @ right) / (spectrum[name] + system.damping)
                solved = left @ turned @ right.T
                if bias in named:
                    named[bias], solved = solved[-1], solved[:-1]
                named[f"{name}/kernel"] = solved
            named |= {name: named[name] / (x + system.damping) for name, x in diagonal.items()}
            return jax.tree.map_with_path(lambda path, _: named[join(path)], vector)

        solutions = jax.vmap(solve)(vectors)
        return solutions, jnp.full(len(jax.tree.leaves(vectors)[0]), jnp.nan)


def _with_one(inputs: jax.Array, leaves: dict[str, Any], name: str) -> jax.Array:
    """The inputs [T, in] of a layer, with a column of ones for its bias if it has one."""
    return jnp.pad(inputs, ((0, 0), (0, f"{name}/bias" in leaves)), constant_values=1)


def _check(shapes: dict[str, Any], leaves: dict[str, Any]) -> None:
    """Refuses inputs that do not fit the parameters."""
    for name, shape in shapes.items():
        kernel = leaves.get(f"{name}/kernel")
        if kernel is None or kernel.ndim != 2 or shape.shape[1:] != kernel.shape[:1]:
            raise ValueError(
                f"`tapped_loss` must give the inputs [T, in] of layers by name, got {name!r} with "
                f"{shape.shape}; the kernel is {None if kernel is None else kernel.shape}."
            )
