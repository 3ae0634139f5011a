"""Influence functions: what a training example does to a query, through the optimum it moves.

At params that minimize the mean loss, raising the weight of example n moves them, and with them the
loss of query q, at a rate that is -score / N:

    score[q, n] = < (C + damping)^-1 g_q, g_n >,

so that leaving n out raises the loss of q by about score / N.  A positive score supports q.  C is
the curvature of the mean training loss.  The left factor is found once for each query by a solver;
the right product is a directional score, see `directional`.

References:
    P. W. Koh, P. Liang, "Understanding Black-box Predictions via Influence Functions", 2017,
        arXiv:1703.04730.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import blocks as block_layout
from .blocks import Blocks
from .curvature import Curvature, Hessian, System
from .directional import (
    Engine,
    Loss,
    check_finite,
    check_vectors,
    directional_scores,
    example_gradients,
)
from .solvers import CG, Arnoldi, LiSSA, Solver
from .spectrum import choose_damping

SOLVERS: dict[str, Solver] = {"cg": CG(), "lissa": LiSSA(), "arnoldi": Arnoldi()}


class InverseProducts(NamedTuple):
    """(C + damping)^-1 v_q for queries."""

    vectors: Any  # like the parameters, leaves [Q, ...]
    residuals: np.ndarray  # [Q] relative lengths of what is unsolved; NaN if not measured
    damping: float


def influence_function(
    loss: Loss,
    params: Any,
    train: Any,
    queries: Any,
    *,
    method: Literal["cg", "lissa", "arnoldi"] | Solver = "cg",
    curvature: Curvature | None = None,
    damping: float | None = None,
    query_loss: Loss | None = None,
    key: jax.Array | None = None,
    engine: Engine = "auto",
    blocks: Blocks | None = None,
) -> np.ndarray:
    """<(C + damping)^-1 g_q, g_n> for all queries and training examples.

    Args:
        loss: ``loss(params, example) -> scalar`` of one training example, pure.
        params: pytree of arrays, near a minimum of the mean loss.
        train: training examples, pytree with a leading axis [N, ...].
        queries: what is to be explained, pytree with a leading axis [Q, ...].
        method: a solver or its name, see `solvers` and `kronecker`.
        curvature: the Hessian of `loss` by default; `GaussNewton` suits networks better, which
            seldom are at a minimum.
        damping: added to the curvature, >= 0; chosen from the spectrum by default.
        query_loss: see `gradient_dot`.
        key: typed random key of the solver; ``jax.random.key(0)`` by default.
        engine: see `directional`.
        blocks: block size, devices, journal, progress of the pass over training examples.

    Returns:
        [Q, N] scores; over N they estimate the rise of the query's loss when n is left out.

    Raises:
        ValueError: if `method` or `damping` is out of range.
        FloatingPointError: if the solver diverged or a score is not finite.

    Example:
        >>> influence_function(loss, params, train, queries, method="lissa")
        >>> influence_function(loss, params, train, queries, method=CG(steps=20), damping=0.1)
    """
    vectors = example_gradients(query_loss or loss, params, queries)
    solved = inverse_products(
        curvature or Hessian(loss),
        params,
        train,
        vectors,
        method=method,
        damping=damping,
        key=key,
        block_size=(blocks or Blocks()).size,
    )
    return directional_scores(loss, params, solved.vectors, train, engine=engine, blocks=blocks)


def inverse_products(
    curvature: Curvature,
    params: Any,
    train: Any,
    vectors: Any,
    *,
    method: str | Solver = "cg",
    damping: float | None = None,
    key: jax.Array | None = None,
    block_size: int = 64,
) -> InverseProducts:
    """Solves (C + damping) x = v for each of several vectors.

    Args:
        curvature: see `curvature`.
        params: pytree of arrays.
        train: training examples, pytree with a leading axis [N, ...].
        vectors: like `params`, leaves [Q, ...].
        method: see `influence_function`.
        damping: see `influence_function`.
        key: see `influence_function`.
        block_size: training examples in a block.

    Returns:
        Solutions, their residuals and the damping.

    Raises:
        ValueError: if an argument is out of range.
        FloatingPointError: if a solution is not finite, or its residual exceeds the right side.
    """
    check_vectors(params, vectors)
    system = make_system(curvature, params, train, damping=damping, key=key, block_size=block_size)
    if isinstance(method, str) and method not in SOLVERS:
        raise ValueError(f"`method` must be a solver or one of {sorted(SOLVERS)}, got {method!r}.")
    solver = SOLVERS[method] if isinstance(method, str) else method
    found, residuals = _solve(curvature, solver, system[1:], vectors, _key(key, 1))
    residuals = np.asarray(residuals)
    finite = all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(found))
    if not finite or np.any(residuals > 1):
        raise FloatingPointError(
            f"{solver} diverged at damping {float(system.damping):.3g} (relative residuals "
            f"{np.array2string(residuals, precision=2)}): raise `damping`, use a curvature that is "
            "never indefinite (GaussNewton, Fisher), or raise the scale of LiSSA."
        )
    return InverseProducts(found, residuals, float(system.damping))


def make_system(
    curvature: Curvature,
    params: Any,
    train: Any,
    *,
    damping: float | None = None,
    key: jax.Array | None = None,
    block_size: int = 64,
) -> System:
    """The curvature over a training set, with the given damping or one from its spectrum."""
    if damping is not None and not damping >= 0:
        raise ValueError(f"`damping` must be at least 0, got {damping}; None chooses it.")
    stacked, weights = block_layout.stack(train, block_size)
    zero = jnp.zeros([], weights.dtype)
    system = System(curvature, params, stacked, weights, zero)
    chosen = _damping(curvature, system[1:], _key(key, 0)) if damping is None else damping
    check_finite(chosen, "eigenvalues of the curvature")
    return system._replace(damping=jnp.asarray(chosen, weights.dtype))


def _key(key: jax.Array | None, number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(0) if key is None else key, number)


# Functions are no arguments of a compiled program, and data no constants of one.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve(curvature, solver, system, vectors, key):
    return solver(System(curvature, *system), vectors, key)


@functools.partial(jax.jit, static_argnums=0)
def _damping(curvature, system, key):
    return choose_damping(System(curvature, *system), key)
