"""The same excitons on grids, as cross-checks: slower, and of second order only.

Nothing here shares a line with the polar basis but the units.  A radial grid, uniform in log r,
takes the singular potential well; a Cartesian one is what general solvers offer, and its error in
the energy of 1s falls with the square of its spacing only.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import eigsh
from scipy.special import struve, y0

from .materials import Material
from .units import BOHR, COULOMB


def struve_potential(r: np.ndarray, material: Material) -> np.ndarray:
    """The Rytova-Keldysh potential by scipy's functions, meV; at r kappa / r0 > 30 its series."""
    if material.screening_length == 0:
        return -COULOMB / (material.dielectric * r)
    z = material.dielectric * r / material.screening_length
    near = np.minimum(z, 30.0)
    series = sum(c / z**n for c, n in ((1, 1), (-1, 3), (9, 5), (-225, 7), (11025, 9)))
    difference = np.where(z < 30.0, struve(0, near) - y0(near), 2 / np.pi * series)
    return -np.pi / 2 * COULOMB / material.screening_length * difference


def radial_levels(
    material: Material, m: int = 0, num_levels: int = 3, num_points: int = 4000
) -> np.ndarray:
    """Lowest energies of one angular momentum, without a field, on a grid uniform in log r.

    Args:
        material: parameters.
        m: angular momentum.
        num_levels: how many.
        num_points: from 1e-5 to 1000 excitonic Bohr radii.

    Returns:
        ``[num_levels]``, meV, ascending; the error falls as 1 / num_points^2.
    """
    length = BOHR * material.dielectric / material.reduced_mass
    x, step = np.linspace(np.log(1e-5 * length), np.log(1e3 * length), num_points, retstep=True)
    r = np.exp(x)
    kinetic = COULOMB * BOHR / (2 * material.reduced_mass)  # hbar^2 / 2 mu, meV nm^2
    diagonal = np.full(num_points, 2.0)
    diagonal[0] = 1.0  # psi is flat at the inner end
    above = scipy.sparse.eye_array(num_points, k=1)
    second = (scipy.sparse.diags_array(diagonal) - above - above.T) / step**2
    potential = kinetic * m**2 + r**2 * struve_potential(r, material)
    matrix = kinetic * second + scipy.sparse.diags_array(potential)
    weight = scipy.sparse.diags_array(r**2)
    lowest = -1.1 * 4 * COULOMB / (2 * material.dielectric * length)
    energies = eigsh(
        matrix.tocsc(), num_levels, weight.tocsc(), sigma=lowest, return_eigenvectors=False
    )
    return np.sort(energies)


def cartesian_levels(
    material: Material,
    field: float = 0.0,
    *,
    spacing: float = 0.25,
    extent: float = 20.0,
    num_levels: int = 1,
    guess: float | None = None,
) -> np.ndarray:
    """Lowest energies on a square grid, by finite differences of second order.

    The grid is centered between nodes, so that none lies on the singular point.

    Args:
        material: parameters.
        field: F along x, V/um.
        spacing: nm.
        extent: half the side of the square, nm.
        num_levels: how many, nearest above `guess`.
        guess: meV, below the energies wanted; by default below all.

    Returns:
        ``[num_levels]``, meV, ascending.
    """
    num = 2 * round(extent / spacing)
    x = (np.arange(num) - num / 2 + 0.5) * spacing
    kinetic = COULOMB * BOHR / (2 * material.reduced_mass) / spacing**2
    above, same = scipy.sparse.eye_array(num, k=1), scipy.sparse.eye_array(num)
    line = 2 * same - above - above.T
    potential = struve_potential(np.hypot(x[:, None], x[None, :]), material) + field * x[:, None]
    matrix = kinetic * (scipy.sparse.kron(line, same) + scipy.sparse.kron(same, line))
    matrix = matrix + scipy.sparse.diags_array(potential.ravel())
    lowest = 1.2 * float(radial_levels(material, num_levels=1, num_points=1000)[0])
    sigma = lowest if guess is None else guess
    return np.sort(eigsh(matrix.tocsc(), num_levels, sigma=sigma, return_eigenvectors=False))
