"""Two-dimensional magnets: numbers that make a spin model, and how they change with thickness.

Energies are those of `SpinModel`: bonds once, unit spins.  Tags tell how sure we are of a set:

    illustrative   chosen so that the model has one published number; no fit to anything else
    published      couplings read in the source
    user           your own

For VSe2 no couplings are known to us.  Density functional theory gives the monolayer of the 2H
phase a moment of 1 Bohr magneton and, by Monte Carlo, a Curie temperature of 472 K (Fuh et al.); J
is chosen to give that with K = J / 10 (k Tc = 1.126 J).  An easy axis is what experiments report
for multilayers, an easy plane what theory gives the monolayer: K may have either sign.

Thickness enters by a law, which is our choice and no result of the paper:

    constant   K(N) = K of the monolayer
    surface    K(N) = K_bulk + (K_monolayer - K_bulk) / N, as for an anisotropy of surfaces

References:
    X. Wang et al., "Ferromagnetism in 2D Vanadium Diselenide", 2021, arXiv:2104.07937.
    H.-R. Fuh et al., "Newtype single-layer magnetic semiconductor in transition-metal
        dichalcogenides VX2 (X = S, Se and Te)", Scientific Reports 6, 32625, 2016.
    D. Torelli, T. Olsen, 2D Materials 6, 015028, 2019.
"""

import dataclasses
from typing import Literal

from .interactions.model import SpinModel
from .lattice import Kind, Lattice, Stacking
from .units import BOHR_MAGNETON

Law = Literal["constant", "surface"]
LAWS: tuple[Law, ...] = ("constant", "surface")


@dataclasses.dataclass(frozen=True)
class Magnet:
    """A layered magnet.

    Example:
        >>> find("VSe2").model(24, layers=3, law="surface")
    """

    exchange: float  # J, meV
    anisotropy: float  # K of the monolayer, meV
    bulk_anisotropy: float | None = None  # K of the bulk, meV; None for that of the monolayer
    interlayer: float = 0.0  # J_perp, meV
    moment: float = 1.0  # Bohr magnetons
    kind: Kind = "triangular"
    stacking: Stacking = "AA"
    constant: float = 0.33  # nm
    spacing: float = 0.61  # nm
    name: str = ""
    source: str = ""
    tag: str = "user"

    def anisotropy_of(self, layers: int, law: Law = "constant") -> float:
        """K of a film, meV.

        Raises:
            ValueError: if the law is unknown.
        """
        if law not in LAWS:
            raise ValueError(f"`law` must be one of {', '.join(LAWS)}; got {law!r}.")
        if law == "constant" or self.bulk_anisotropy is None:
            return self.anisotropy
        return self.bulk_anisotropy + (self.anisotropy - self.bulk_anisotropy) / layers

    def switching_field(self, layers: int = 1) -> float:
        """2 |K(N)| / mu in T, at which a single domain turns over without heat; law of surfaces."""
        return 2 * abs(self.anisotropy_of(layers, "surface")) / (self.moment * BOHR_MAGNETON)

    def model(self, size: int, *, layers: int = 1, law: Law = "constant") -> SpinModel:
        """A film of `size x size` cells, periodic in the plane."""
        lattice = Lattice(
            self.kind,
            (size, size),
            layers,
            self.stacking,
            constant=self.constant,
            spacing=self.spacing,
        )
        return SpinModel(
            lattice,
            exchange=self.exchange,
            anisotropy=self.anisotropy_of(layers, law),
            interlayer=self.interlayer,
            moment=self.moment,
        )


def find(name: str) -> Magnet:
    """A set by its name, such as VSe2.

    Raises:
        ValueError: if there is none; the message lists all.
    """
    if name not in MAGNETS:
        raise ValueError(
            f"`material` must be one of {', '.join(MAGNETS)}; got {name!r}. "
            "`Magnet(...)` takes your own numbers."
        )
    return MAGNETS[name]


MAGNETS = {
    "VSe2": Magnet(
        exchange=36.1,
        anisotropy=3.61,
        bulk_anisotropy=0.036,
        interlayer=3.61,
        name="VSe2",
        source="moment and monolayer Tc: Fuh et al. 2016; anisotropy and interlayer: chosen",
        tag="illustrative",
    ),
    "VSe2/plane": Magnet(
        exchange=36.1,
        anisotropy=-3.61,
        interlayer=3.61,
        name="VSe2/plane",
        source="as VSe2, with an easy plane as theory has it for the monolayer",
        tag="illustrative",
    ),
    "CrI3": Magnet(
        exchange=6.975,
        anisotropy=0.855,
        moment=3.0,
        kind="honeycomb",
        constant=0.687,
        spacing=0.66,
        name="CrI3",
        source="Torelli, Olsen 2019: J = 3.1 meV, A = -0.38 meV, S = 3/2, converted",
        tag="published",
    ),
}
