"""Material parameters from measured lines, by least squares with exact derivatives.

Lines at zero field fix ``mass / kappa^2`` and ``r0 mass / kappa^2`` only: all three numbers appear
once a field brings in a length.  Tell the fit which to leave free; it returns how well the lines
fix them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from .exciton import Basis, solve_exciton
from .materials import Material

POSITIVE = ("reduced_mass", "screening_length", "dielectric")  # fitted by their logarithms
FREE = ("band_gap", *POSITIVE, "p_shift")
LOWEST = {"dielectric": 0.0, "band_gap": 0.0}  # log 1 is vacuum


class Line(NamedTuple):
    """A measured line."""

    state: str  # 1s, 2p, ...: its name at zero field
    photon_energy: float  # meV
    field: float = 0.0  # V/um
    error: float = 1.0  # standard deviation, meV


class Fit(NamedTuple):
    """A fitted material."""

    material: Material
    errors: dict[str, float]  # standard deviations of what was free; inf if the lines do not fix it
    residuals: np.ndarray  # [num_lines]: computed less measured, meV
    evaluations: int  # solutions of the exciton


def fit_material(
    start: Material,
    lines: Sequence[Line],
    free: Sequence[str] = ("band_gap", "reduced_mass", "dielectric"),
    *,
    basis: Basis | None = None,
    steps: int = 8,
) -> Fit:
    """Fits parameters of a material to measured photon energies.

    Args:
        start: a guess; what is not free stays as it is there.
        lines: at least as many as free parameters.
        free: names of parameters, of `FREE`.
        basis: see `Basis`.
        steps: see `solve_exciton`.

    Returns:
        A `Fit`.

    Raises:
        ValueError: if a name is no parameter, or there are fewer lines than free parameters.

    Example:
        >>> lines = [Line("1s", 1728.6), Line("2s", 1852.6), Line("3s", 1873.9)]
        >>> fit_material(find("WSe2/hBN"), lines, free=("band_gap", "reduced_mass"))
    """
    unknown = [name for name in free if name not in FREE]
    if unknown or not free:
        raise ValueError(f"`free` must name parameters of {', '.join(FREE)}; got {list(free)}.")
    if len(lines) < len(free):
        raise ValueError(
            f"{len(free)} free parameters need at least as many lines, got {len(lines)}; "
            "take some out of `free`."
        )
    states = tuple(dict.fromkeys(line.state for line in lines))
    fields, places = np.unique([line.field for line in lines], return_inverse=True)
    columns = np.array([states.index(line.state) for line in lines])
    measured, errors = (
        np.array([getattr(line, key) for line in lines]) for key in ("photon_energy", "error")
    )

    def residuals(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        material = _replace(start, free, values)
        spectrum = solve_exciton(material, fields, states=states, basis=basis, steps=steps)
        computed = spectrum.energies.real[places, columns] + material.band_gap
        found = (computed - measured) / errors
        return found, found

    linearize = _remember_last(jax.jit(jax.jacfwd(residuals, has_aux=True)))
    found = least_squares(
        lambda values: linearize(values)[1],
        _values(start, free),
        jac=lambda values: linearize(values)[0],  # pyright: ignore[reportArgumentType]
        x_scale="jac",
        bounds=([LOWEST.get(name, -np.inf) for name in free], np.inf),
    )
    values = jnp.asarray(found.x)
    material = _replace(start, free, values, float)
    _, sizes, directions = np.linalg.svd(found.jac, full_matrices=False)
    fixed = sizes > 1e-8 * sizes[0]
    variances = np.sum((directions[fixed] / sizes[fixed, None]) ** 2, axis=0)
    loose = np.any(np.abs(directions[~fixed]) > 1e-4, axis=0)
    deviations = {
        name: float("inf" if lost else np.sqrt(variance) * _slope(material, name))
        for name, variance, lost in zip(free, variances, loose, strict=True)
    }
    return Fit(material, deviations, found.fun * errors, found.nfev)


def _remember_last(function: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """`function`, which is not called again for the values that it was called for last."""
    known: list[Any] = [None, None]

    def call(values: np.ndarray) -> Any:
        if known[0] is None or not np.array_equal(values, known[0]):
            known[:] = values.copy(), jax.device_get(function(values))
        return known[1]

    return call


def _values(material: Material, free: Sequence[str]) -> np.ndarray:
    """What the fit varies, ``[num_free]``: logarithms, or energies."""
    numbers = [float(getattr(material, name)) for name in free]
    return np.array(
        [
            np.log(number) if name in POSITIVE else number
            for name, number in zip(free, numbers, strict=True)
        ]
    )


def _replace(start: Material, free: Sequence[str], values: jax.Array, kind: Any = jnp.asarray):
    changes = {
        name: kind(jnp.exp(value) if name in POSITIVE else value)
        for name, value in zip(free, values, strict=True)
    }
    numbers = {name: getattr(start, name) for name in FREE} | changes
    return Material(**numbers, name=start.name, source=start.source)


def _slope(material: Material, name: str) -> float:
    return float(getattr(material, name)) if name in POSITIVE else 1.0
