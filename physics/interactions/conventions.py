"""From the forms in which papers and programs write spin energies to that of `SpinModel`.

The same J of a paper means different couplings, and the wrong reading moves the Curie temperature
by factors.  What differs:

    bonds once       sum_<ij>          each pair of neighbors counts once
    bonds twice      sum_{i != j}      each pair counts twice, so that J of it is half of ours
    half sum         1/2 sum_{i != j}  each pair once, as ours
    length           spins of length S, S . S scales with S^2, or with S (S + 1)
    sign             + J with J > 0 antiferromagnetic

`to_model_energies` returns J, J_perp, K and D of `SpinModel`.
"""

import dataclasses
from typing import Literal, NamedTuple

Sum = Literal["once", "twice", "half"]


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a source writes H = sign * weight * sum J S_i . S_j + anisotropy_sign * A sum Sz^2.

    Args:
        bonds: "once" for a sum over pairs, "twice" for a sum over i and j, "half" for half of that.
        length: of the spins S in the exchange; 1 for unit spins.
        sign: -1 if J > 0 is ferromagnetic, +1 if it is antiferromagnetic.
        anisotropy_sign: -1 if A > 0 is an easy axis, +1 if it is an easy plane.
    """

    bonds: Sum = "once"
    length: float = 1.0
    sign: int = -1
    anisotropy_sign: int = -1

    def __post_init__(self):
        if self.bonds not in ("once", "twice", "half"):
            raise ValueError(f"`bonds` must be once, twice or half, got {self.bonds!r}.")
        if not self.length > 0:
            raise ValueError(f"`length` of spins must be positive, got {self.length}.")
        if self.sign not in (-1, 1) or self.anisotropy_sign not in (-1, 1):
            raise ValueError("`sign` and `anisotropy_sign` must be -1 or 1.")


class ModelEnergies(NamedTuple):
    """Couplings of `SpinModel`, in the unit of what was given."""

    exchange: float
    anisotropy: float


def to_model_energies(
    exchange: float, anisotropy: float = 0.0, *, convention: Convention
) -> ModelEnergies:
    """J and K of `SpinModel` from those of another form.

    Args:
        exchange: J there.
        anisotropy: A there, of each site.
        convention: what they mean.

    Example:
        >>> to_model_energies(3.1, -0.38, convention=Convention("half", 1.5, -1, 1))
        ModelEnergies(exchange=6.975, anisotropy=0.855)
    """
    weight = 2.0 if convention.bonds == "twice" else 1.0
    square = convention.length**2
    return ModelEnergies(
        exchange=-convention.sign * weight * square * exchange,
        anisotropy=-convention.anisotropy_sign * square * anisotropy,
    )
