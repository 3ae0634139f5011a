"""Push-sum: gossip over directed links, where no learner knows who listens to whom.

Learner j hands out shares P_ij of what it has, which sum to one over the receivers i: the matrix is
column stochastic, and need not be row stochastic.  Mixing x with it conserves the sum of x but
weighs learners unevenly; the same mixing of a scalar w, one at the start, measures by how much:

    x <- P x,    w <- P w,    z = x / w,

and every z_i goes to the mean of x.  Stochastic gradient push takes gradients at z.

Here the *parameters are z*, so that the loss, the optimizer, and evaluation see the model itself;
x = w z is implicit, and the state is one scalar per learner.  With m_ij = P_ij w_j, mixing reads

    z_i <- z_i + sum_j m_ij (z_j - z_i) / w_i,    w_i <- sum_j m_ij,

so that learners that agree stay exactly as they are.

References:
    D. Kempe, A. Dobra, J. Gehrke, "Gossip-Based Computation of Aggregate Information", 2003, FOCS.
    M. Assran et al., "Stochastic Gradient Push for Distributed Deep Learning", 2019,
        arXiv:1811.10792.
"""

import functools
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.sparse import csgraph, csr_array

from . import gossip, mixing, mixing_analysis


class PushSumState(NamedTuple):
    """State of `push_sum`."""

    step: jax.Array  # [] int32: number of updates so far; selects the matrix
    weight: jax.Array  # [] float32, float64 in double precision: w; sums to n over the learners


def push_sum(
    matrix: np.ndarray, axis_name: str | None = "learner", order: gossip.Order = "atc"
) -> optax.GradientTransformationExtraArgs:
    """Averages the parameters over a directed graph; the last link of an optax chain.

    With the update u of the links before, computed at z, the sum x = w z moves by

        ATC:  x <- P (x + u)        AWC:  x <- P x + u

    and the mean of x over the learners, sum_i w_i z_i / n, by the mean of u.  Learners exchange
    w and arrays in the dtype of the parameters, once for each distinct hop (i - j) mod n.

    Args:
        matrix: [n, n] or [period, n, n], column stochastic; column j holds the shares that learner
            j hands out.  The links of one period must lead from every learner to every other.
        axis_name: the axis of learners; None for a single learner, where the link is the identity.
        order: "atc" as in stochastic gradient push, or "awc".

    Returns:
        A transform whose ``update`` needs `params` and keeps the dtype of the updates.

    Raises:
        ValueError: if `order` is unknown, a matrix is not column stochastic or lets a learner end
            up with nothing, or the graph is not strongly connected; in ``update`` as for
            `gossip.mix`.

    Example:
        >>> shares = np.array([[0.5, 0.0, 0.5], [0.25, 0.5, 0.0], [0.25, 0.5, 0.5]])
        >>> optimizer = optax.chain(optax.sgd(0.1), push_sum(shares))

    References:
        M. Assran et al., 2019, arXiv:1811.10792.
    """
    if order not in get_args(gossip.Order):
        raise ValueError(f'`order` must be "awc" or "atc", got {order!r}.')
    matrices = _checked(matrix)

    def init(params):
        del params
        return PushSumState(step=jnp.zeros([], jnp.int32), weight=jnp.ones([]))

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if axis_name is None:
            return updates, state
        if params is None:
            raise ValueError("`params` must be given to the update of push-sum, it averages them.")
        mixing.check_learners(params, matrices.shape[-1], axis_name)
        updates = jax.tree.map(mixing.rounded, updates)
        if order == "atc":
            updates = _divide(updates, state.weight)
            params = optax.apply_updates(params, updates)
        index = mixing.share_step(state.step, axis_name) % len(matrices)
        branches = [functools.partial(_push, shares=p, axis_name=axis_name) for p in matrices]
        pulls, weight = jax.lax.switch(index, branches, params, state.weight)
        if order == "awc":
            updates = _divide(updates, weight)
        updates = jax.tree.map(lambda u, pulled: (u + pulled).astype(u.dtype), updates, pulls)
        return updates, PushSumState(jnp.asarray(optax.safe_increment(state.step)), weight)

    return optax.GradientTransformationExtraArgs(init, update)


def _push(z: Any, weight: jax.Array, *, shares: np.ndarray, axis_name: str):
    """(sum_j m_ij (z_j - z_i) / w_i, the new w_i) for the matrix `shares` [n, n]."""
    senders = np.arange(len(shares))
    mine = jax.lax.axis_index(axis_name)
    hops, masses = [], []
    for hop in range(len(shares)):
        handed_out = shares[(senders + hop) % len(shares), senders]  # P_ij for i = j + hop
        if handed_out.any():
            mass = mixing.rounded(jnp.asarray(handed_out, weight.dtype)[mine] * weight)
            hops.append(hop)
            masses.append(_send(mass, hop, axis_name))
    new_weight = functools.reduce(jnp.add, masses)
    shares_received = [mixing.rounded(mass / new_weight) for mass in masses]

    def pull(x):
        wide = jnp.promote_types(x.dtype, jnp.float32)
        total = jnp.zeros(x.shape, wide)
        for hop, share in zip(hops, shares_received, strict=True):
            if hop:
                difference = _send(x, hop, axis_name).astype(wide) - x.astype(wide)
                total = total + mixing.rounded(share.astype(wide) * difference)
        return total

    return jax.tree.map(pull, z), new_weight


def _send(x: jax.Array, hop: int, axis_name: str) -> jax.Array:
    """Learner i receives from learner i - hop."""
    size = jax.lax.axis_size(axis_name)
    return jax.lax.ppermute(x, axis_name, [(j, (j + hop) % size) for j in range(size)])


def _divide(updates: Any, weight: jax.Array) -> Any:
    # XLA may turn divisions by one scalar into products with its inverse; here it has no choice.
    inverse = mixing.rounded(1.0 / weight)
    return jax.tree.map(lambda u: mixing.rounded((u * inverse).astype(u.dtype)), updates)


def _checked(matrix: np.ndarray) -> np.ndarray:
    """The matrices [period, n, n], if push-sum converges with them."""
    matrix = np.asarray(matrix, np.float64)
    matrices = matrix if matrix.ndim == 3 else matrix[None]
    for step, shares in enumerate(matrices):
        if not mixing_analysis.is_column_stochastic(shares):
            raise ValueError(
                f"`matrix` must be column stochastic, each learner hands out all it has; got the "
                f"column sums {shares.sum(axis=0).tolist()} in step {step}."
            )
        if not np.all(shares.sum(axis=1) > 0.0):
            raise ValueError(
                f"`matrix` must leave every learner with something, got a row of zeros in step "
                f"{step}; give each learner a share of its own."
            )
    edges = csr_array(matrices.sum(axis=0) > 0.0)
    parts, _ = csgraph.connected_components(edges, connection="strong")
    if parts > 1:
        raise ValueError(
            f"`matrix` must be strongly connected over its period, got {parts} parts; add links "
            "until every learner reaches every other."
        )
    return matrices
