"""Dipoles in the plane, by fast Fourier transforms.

    H = (mu0 mu^2 / 4 pi) sum_<ij> [S_i . S_j - 3 (S_i . r)(S_j . r)] / r^3

between moments of one layer, with the nearest image of a periodic lattice, or the mean of several
at the same distance.  The interaction is a convolution over the cells of the lattice, one for each
pair of sites in a cell.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..lattice import BASIS, Lattice
from ..units import DIPOLE
from .model import SpinModel


def dipolar_field(model: SpinModel, spins: jax.Array) -> jax.Array:
    """Field of the other moments on each spin, ``[3, colors, depth, rows, cells]``, meV.

    Args:
        model: its moment and lattice.
        spins: ``[3, colors, depth, rows, cells]``.
    """
    lattice = model.lattice
    kernel, size = _kernel(lattice)
    grid = to_grid(lattice, spins)  # [3, layers, basis, j, i]
    moments = jnp.fft.rfft2(grid, s=size)
    field = jnp.fft.irfft2(jnp.einsum("abpqyx,blqyx->alpyx", kernel, moments), s=size)
    height, width = grid.shape[-2:]
    field = field[..., :height, :width].astype(spins.dtype)
    return (DIPOLE * model.moment**2) * from_grid(lattice, field)


def to_grid(lattice: Lattice, values: jax.Array) -> jax.Array:
    """From storage ``[..., colors, depth, rows, cells]`` to ``[..., layers, basis, j, i]``."""
    i, j, layer, sublattice = lattice.indices
    basis = 1 if lattice.sheared else 2
    places = ((layer * basis + sublattice) * lattice.size[1] + j) * lattice.size[0] + i
    order = np.argsort(places, axis=None, kind="stable")[: lattice.num_sites]
    flat = values.reshape(*values.shape[:-4], -1)[..., order]
    return flat.reshape(*values.shape[:-4], lattice.layers, basis, lattice.size[1], lattice.size[0])


def from_grid(lattice: Lattice, values: jax.Array) -> jax.Array:
    """The inverse of `to_grid`; zeros in an empty layer."""
    i, j, layer, sublattice = lattice.indices
    inside = np.minimum(layer, lattice.layers - 1)
    stored = values[..., inside, sublattice, j, i]
    return jnp.where(layer < lattice.layers, stored, 0)


@functools.lru_cache(maxsize=8)
def _kernel(lattice: Lattice) -> tuple[np.ndarray, tuple[int, int]]:
    """Transforms of minus the dipole tensor, ``[3, 3, basis, basis, ky, kx]`` in nm^-3."""
    width, height = lattice.size
    wraps = lattice.periodic[:2]
    size = (height if wraps[1] else 2 * height, width if wraps[0] else 2 * width)
    steps = [np.arange(n) for n in size]
    dj, di = np.meshgrid(*[(x + n // 2) % n - n // 2 for x, n in zip(steps, size, strict=True)],
                         indexing="ij")  # fmt: skip
    basis = 1 if lattice.sheared else 2
    axes = lattice.constant * BASIS[lattice.kind]
    tensor = np.zeros((3, 3, basis, basis, *size))
    for to in range(basis):
        for source in range(basis):
            shift = (to - source) / 3
            place = np.tensordot(axes.T, np.stack([di + shift, dj + shift]), 1)
            images = [
                place + (m * width * axes[0] + n * height * axes[1])[:, None, None]
                for m in ((-1, 0, 1) if wraps[0] else (0,))
                for n in ((-1, 0, 1) if wraps[1] else (0,))
            ]
            tensor[:, :, to, source] = _nearest(np.stack(images))
    return np.fft.rfft2(tensor).astype(np.complex64), size


def _nearest(images: np.ndarray) -> np.ndarray:
    """Tensors ``[3, 3, ...]`` of the nearest of the images ``[num, 2, ...]``, or their mean."""
    r = np.concatenate([images, np.zeros_like(images[:, :1])], 1)
    distance = np.sqrt(np.sum(r**2, 1))
    nearest = distance <= distance.min(0) * (1 + 1e-9)
    distance = np.where(distance == 0, np.inf, distance)
    tensors = 3 * r[:, :, None] * r[:, None] / distance[:, None, None] ** 5
    tensors = tensors - np.eye(3)[:, :, None, None] / distance[:, None, None] ** 3
    return np.sum(tensors * nearest[:, None, None], 0) / np.sum(nearest, 0)
