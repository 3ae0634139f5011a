"""Monolayer semiconductors: the numbers that make an exciton.

An exciton in the effective-mass picture is fixed by its reduced mass, by the screening length
r0 = 2 pi chi_2D of the sheet and by the dielectric constant kappa = (above + below) / 2 around it,
in the convention of Goryca et al.: r0 is *not* divided by kappa.  `MATERIALS` holds published sets,
each with its source and a tag that tells how sure we are of its numbers:

    partial     mass and r0 read in the sources named, the rest recalled
    recalled    from memory; energies computed from the set agree with published ones within 1%
    derived     a set of one surrounding, with the dielectric constant of another

References:
    A. V. Stier et al., "Magnetooptics of Exciton Rydberg States in a Monolayer Semiconductor",
        2018, arXiv:1709.00123.
    M. Goryca et al., "Revealing exciton masses and dielectric properties of monolayer
        semiconductors with high magnetic fields", Nature Communications 10, 4172, 2019.
    T. C. Berkelbach, M. S. Hybertsen, D. R. Reichman, "Theory of neutral and charged excitons in
        monolayer transition metal dichalcogenides", Physical Review B 88, 045318, 2013.
"""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np
from jax.core import Tracer

Tag = Literal["partial", "recalled", "derived", "user"]

SILICA = 3.9  # static dielectric constant of SiO2


@dataclasses.dataclass(frozen=True)
class Material:
    """A monolayer in its surroundings; a pytree of its numbers, so it can be traced and stacked.

    Energies and oscillator strengths without a field depend on ``mass / kappa^2`` and
    ``r0 mass / kappa^2`` alone; lengths, and with them the effect of a field, on all three numbers.

    Example:
        >>> Material(reduced_mass=0.2, screening_length=4.5, dielectric=4.5, band_gap=1890.0)
    """

    reduced_mass: Any  # of electron and hole, in electron masses
    screening_length: Any  # r0, nm; 0 is the hydrogen limit
    dielectric: Any  # kappa, mean of above and below
    band_gap: Any = 0.0  # meV, the zero of photon energies if it is 0
    p_shift: Any = 0.0  # meV, added to all p states; for Berry curvature, which this model lacks
    name: str = ""
    source: str = ""
    tag: Tag = "user"

    def __post_init__(self):
        _check("reduced_mass", self.reduced_mass, "positive, in electron masses", lambda x: x > 0)
        _check("screening_length", self.screening_length, "at least 0, in nm", lambda x: x >= 0)
        _check("dielectric", self.dielectric, "at least 1, which is vacuum", lambda x: x >= 1)
        _check("band_gap", self.band_gap, "at least 0, in meV", lambda x: x >= 0)
        _check("p_shift", self.p_shift, "a finite energy in meV", np.isfinite)

    def numbers(self) -> tuple[Any, ...]:
        """The leaves of the pytree, in the order of the fields."""
        return tuple(getattr(self, name) for name in _NUMBERS)

    def surrounded(self, above: float, below: float) -> "Material":
        """The same sheet between other dielectrics, kappa = (above + below) / 2.

        The band gap is kept, though it too depends on the surroundings: treat photon energies as
        relative to it.
        """
        return dataclasses.replace(self, dielectric=(above + below) / 2, tag="derived")


_NUMBERS = ("reduced_mass", "screening_length", "dielectric", "band_gap", "p_shift")


def _restore(words: tuple[str, str, str], numbers: tuple[Any, ...]) -> Material:
    """Rebuilds a pytree without checks: its leaves may be gradients, axes or placeholders."""
    material = object.__new__(Material)
    for name, value in zip((*_NUMBERS, "name", "source", "tag"), (*numbers, *words), strict=True):
        object.__setattr__(material, name, value)
    return material


jax.tree_util.register_pytree_node(
    Material, lambda each: (each.numbers(), (each.name, each.source, each.tag)), _restore
)


def find(name: str) -> Material:
    """A published set by its name, such as ``WSe2/hBN``.

    Raises:
        ValueError: if there is none; the message lists all.
    """
    if name not in MATERIALS:
        raise ValueError(
            f"`material` must be one of {', '.join(MATERIALS)}; got {name!r}. "
            "`Material(...)` takes your own numbers."
        )
    return MATERIALS[name]


def stack(materials: "list[Material] | tuple[Material, ...]") -> Material:
    """Several materials as one, with arrays ``[len(materials)]``, for `jax.vmap`.

    Raises:
        ValueError: if there are none.
    """
    if not materials:
        raise ValueError("`materials` must hold at least one material, got none.")
    nameless = [dataclasses.replace(each, name="", source="", tag="user") for each in materials]
    return jax.tree.map(lambda *values: np.asarray(values, np.float64), *nameless)


def _check(name: str, value: Any, rule: str, holds: Any) -> None:
    """Refuses numbers out of range; traced values pass."""
    if isinstance(value, Tracer):
        return
    numbers = np.asarray(value, np.float64)
    if not (np.isfinite(numbers).all() and holds(numbers).all()):
        raise ValueError(f"`{name}` of a material must be {rule}, got {value}.")


_STIER = "mass: Stier et al. 2018; screening, dielectric, gap: Goryca et al. 2019"
_GORYCA = "Goryca et al. 2019"
_BERKELBACH = "Berkelbach et al. 2013"

# Formula: reduced mass, r0 in nm, kappa, gap in meV, tag.
_ENCAPSULATED: dict[str, tuple[float, float, float, float, Tag]] = {
    "WSe2": (0.20, 4.5, 4.5, 1890.0, "partial"),
    "WS2": (0.175, 3.4, 4.35, 2238.0, "recalled"),
    "MoS2": (0.275, 3.4, 4.45, 2160.0, "recalled"),
    "MoSe2": (0.350, 3.9, 4.4, 1874.0, "recalled"),
    "MoTe2": (0.360, 6.4, 4.4, 1352.0, "recalled"),
}
_FREESTANDING = {
    "MoS2": (0.25, 4.15),
    "MoSe2": (0.27, 5.17),
    "WS2": (0.16, 3.79),
    "WSe2": (0.17, 4.51),
}


def _published() -> dict[str, Material]:
    sets = {}
    for formula, (mass, screening, dielectric, gap, tag) in _ENCAPSULATED.items():
        source = _STIER if tag == "partial" else _GORYCA
        name = f"{formula}/hBN"
        sets[name] = Material(mass, screening, dielectric, gap, name=name, source=source, tag=tag)
    for formula, (mass, screening) in _FREESTANDING.items():
        for below, surroundings in ((1.0, "vacuum"), (SILICA, "SiO2")):
            name = f"{formula}/{surroundings}"
            sets[name] = Material(
                mass,
                screening,
                (1.0 + below) / 2,
                name=name,
                source=_BERKELBACH,
                tag="recalled" if surroundings == "vacuum" else "derived",
            )
    for below, surroundings in ((1.0, "vacuum"), (SILICA, "SiO2")):
        name = f"MoTe2/{surroundings}"
        bare = dataclasses.replace(sets["MoTe2/hBN"], name=name, band_gap=0.0)
        sets[name] = bare.surrounded(1.0, below)
    return sets


MATERIALS = _published()
