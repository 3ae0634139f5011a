"""Polar Laguerre functions and the exact matrices of the operators of an exciton.

With a decay lam and x = lam r, the functions

    phi_nm(r) = lam c_nm x^m exp(-x/2) L_n^(2m+1)(x) times cos(m phi),
    c_nm = sqrt(n! / (n + 2m + 1)!),    n, m = 0, 1, ...

are orthonormal and complete for states that are even in y, which a field along x does not mix with
the odd ones.  Nothing is integrated numerically over r:

    kinetic energy     lam^2 D D^T / 2,  D triangular, since (d/dr - m/r) lowers polynomials
    x                  three diagonals between neighboring m, divided by lam
    exp(-s x)          B B^T,  B_nj ~ (n + 2m + 1 choose n - j) (1 - w)^j w^(n-j),  w = s / (1 + s)

B follows from the multiplication theorem of Laguerre polynomials; all its entries are positive, so
that no digit cancels.  A potential that is a Laplace transform, such as that of `keldysh`, is a sum
of B B^T over s.  Every matrix is analytic in lam: a complex lam rotates r into the complex plane.

References:
    T. G. Pedersen, "Exciton Stark shift and electroabsorption in monolayer transition-metal
        dichalcogenides", Physical Review B 94, 125424, 2016 (complex scaling of the same problem).
    NIST Digital Library of Mathematical Functions, 18.18.12.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

# A trapezoid in t with s = exp(sinh t): good to 1e-12 for a screening times decay from 0 to 100.
_STEP = 0.07
_T = np.arange(-4.3, 4.3 + _STEP / 2, _STEP)
NODES = np.exp(np.sinh(_T))
WEIGHTS = _STEP * np.cosh(_T) * NODES


class Tables(NamedTuple):
    """Matrices at decay 1, as float64 of numpy; N radial functions in each of M channels."""

    kinetic: np.ndarray  # [M, N, N]
    position: np.ndarray  # [M - 1, N, N]: x between channels m (rows) and m + 1
    origin: np.ndarray  # [N]: values of the functions of m = 0 at r = 0
    laplace: np.ndarray  # [num, M, N, N]: exp(-s x) at the nodes s


@functools.lru_cache(maxsize=4)
def tabulate(radial: int, angular: int) -> Tables:
    """The matrices of a basis of `radial` functions in each of `angular` channels."""
    pairs = zip(range(angular - 1), range(1, angular), strict=True)
    laplace = np.empty((len(NODES), angular, radial, radial))
    for m in range(angular):
        laplace[:, m] = _exponential(radial, m)
    return Tables(
        kinetic=np.stack([_kinetic(radial, m) for m in range(angular)]),
        position=np.reshape([_position(radial, *pair) for pair in pairs], (-1, radial, radial)),
        origin=np.sqrt(np.arange(radial) + 1.0) / np.sqrt(2 * np.pi),
        laplace=laplace,
    )


def radial_functions(x: jax.Array, radial: int, m: int) -> jax.Array:
    """c_nm x^m exp(-x/2) L_n^(2m+1)(x) by their three-term recurrence.

    Args:
        x: decay times distance, real or complex, any shape.
        radial: number N of functions.
        m: channel.

    Returns:
        ``[N, *x.shape]``.
    """
    log_c = _log_norms(radial, m)
    n, power = np.arange(1, radial), 2 * m + 1
    ahead = np.exp(np.diff(log_c)) / n
    back = -np.exp(log_c[1:] - np.roll(log_c[:-1], 1)) * (n - 1 + power) / n
    start = jnp.exp(-0.5 * x + log_c[0]) * x**m
    return _recur(start, x, tuple(map(jnp.asarray, (ahead, 2.0 * n - 1 + power, back))))


@jax.jit
def _recur(start: jax.Array, x: jax.Array, recurrence: tuple[jax.Array, ...]) -> jax.Array:
    """f_n = ahead_n (middle_n - x) f_n-1 + back_n f_n-2, stacked from f_0 = `start` on."""

    def step(functions, row):
        before, last = functions
        ahead, middle, back = (value.astype(last.real.dtype) for value in row)
        following = ahead * (middle - x) * last + back * before
        return (last, following), following

    _, functions = jax.lax.scan(step, (jnp.zeros_like(start), start), recurrence)
    return jnp.concatenate([start[None], functions])


def _log_norms(radial: int, m: int) -> np.ndarray:
    n = np.arange(radial)
    return 0.5 * (gammaln(n + 1) - gammaln(n + 2 * m + 2))


def _kinetic(radial: int, m: int) -> np.ndarray:
    """x^-m exp(x/2) (d/dx - m/x) phi_n = c_n (L_n' - L_n / 2), and L_n' = -(L_0 + ... + L_n-1)."""
    log_c = _log_norms(radial, m)
    lowered = np.tril(np.ones((radial, radial)), -1) + 0.5 * np.eye(radial)
    lowered = lowered * np.exp(log_c[:, None] - log_c[None, :])
    return 0.5 * lowered @ lowered.T


def _position(radial: int, m: int, above: int) -> np.ndarray:
    """L_n^(a) = L_n^(a+2) - 2 L_n-1^(a+2) + L_n-2^(a+2), and <cos m|cos|cos(m + 1)>."""
    angular = np.sqrt(0.5) if m == 0 else 0.5
    differences = np.eye(radial) - 2 * np.eye(radial, k=-1) + np.eye(radial, k=-2)
    rows, columns = np.nonzero(differences)
    scale = np.exp(_log_norms(radial, m)[rows] - _log_norms(radial, above)[columns])
    differences[rows, columns] *= angular * scale
    return differences


def _exponential(radial: int, m: int) -> np.ndarray:
    """``[num, radial, radial]``: exp(-s x) at all nodes."""
    n, j = np.arange(radial)[:, None], np.arange(radial)[None, :]
    log_c = _log_norms(radial, m)
    gap = np.maximum(n - j, 0)
    log_b = log_c[:, None] - log_c[None, :] + gammaln(n + 2 * m + 2)
    log_b -= gammaln(gap + 1) + gammaln(j + 2 * m + 2)
    log_w, log_1_w = np.log(NODES / (1 + NODES)), -np.log1p(NODES)
    powers = gap * log_w[:, None, None] + (j + m + 1) * log_1_w[:, None, None]
    b = np.where(n >= j, np.exp(log_b + powers), 0.0)
    return b @ b.swapaxes(1, 2)
