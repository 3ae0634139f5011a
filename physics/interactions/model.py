"""The energy of classical spins of a two-dimensional magnet, in one convention.

    H = - sum_<ij> J_l (Sx Sx + Sy Sy + lambda Sz Sz)        bonds in layer l
        - sum_<ij> J_perp S_i . S_j                          bonds between layers
        - sum_i K_l Sz^2 - mu sum_i B . S_i
        + sum_<ij> D (z x r_ij) . (S_i x S_j)                in plane, interfacial
        + dipolar interaction in the plane, optional

Every bond counts once, spins are unit vectors (for Ising, S = (0, 0, +-1)), J > 0 is ferromagnetic,
K > 0 an easy axis out of plane and K < 0 an easy plane.  Energies are in meV, fields in T, the
moment mu in Bohr magnetons.  `conventions` converts the other forms in use.
"""

import dataclasses
import warnings
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..lattice import Lattice
from ..units import BOHR_MAGNETON

SpinKind = Literal["ising", "vector"]
_NUMBERS = (
    "exchange",
    "anisotropy",
    "exchange_anisotropy",
    "interlayer",
    "moment",
    "field",
    "dmi",
)


@dataclasses.dataclass(frozen=True)
class SpinModel:
    """Spins on a lattice and their couplings; a pytree of its numbers.

    Args:
        lattice: where the spins are.
        exchange: J, meV, one number or ``[layers]``.
        anisotropy: K, meV, one number or ``[layers]``; of no meaning for Ising spins.
        exchange_anisotropy: lambda, 1 for Heisenberg and 0 for XY exchange.
        interlayer: J_perp, meV, one number or ``[layers - 1]``, of the gaps from below.
        moment: mu, Bohr magnetons.
        field: B, T; ``[3]``, or one number along z.
        dmi: D, meV, of bonds in the plane.
        spin: "ising" or "vector".
        dipolar: whether moments of one layer interact as dipoles; see `dipolar`.

    Raises:
        ValueError: for numbers that are not finite or do not match the layers, and for terms that
            Ising spins do not have.

    Example:
        >>> SpinModel(Lattice("triangular", (48, 48)), exchange=36.1, anisotropy=3.61)
    """

    lattice: Lattice
    exchange: Any = 1.0
    anisotropy: Any = 0.0
    exchange_anisotropy: Any = 1.0
    interlayer: Any = 0.0
    moment: Any = 1.0
    field: Any = 0.0
    dmi: Any = 0.0
    spin: SpinKind = "vector"
    dipolar: bool = False

    def __post_init__(self):
        if self.spin not in ("ising", "vector"):
            raise ValueError(f"`spin` must be 'ising' or 'vector', got {self.spin!r}.")
        layers = self.lattice.layers
        shapes = {"exchange": (layers,), "anisotropy": (layers,), "interlayer": (layers - 1,)}
        shapes["field"] = (3,)
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, Tracer):
                continue
            if not np.isfinite(np.asarray(value, np.float64)).all():
                raise ValueError(f"`{name}` of a model must be finite, got {value}.")
            if np.shape(value) not in ((), shapes.get(name, ())):
                raise ValueError(
                    f"`{name}` of a model must be one number"
                    + (f" or have the shape {shapes[name]}" if name in shapes else "")
                    + f", got the shape {np.shape(value)}."
                )
        if self.spin == "ising":
            self._check_ising()

    def _check_ising(self) -> None:
        if not is_zero(self.dmi) or self.dipolar:
            raise ValueError("Ising spins have no `dmi` and no `dipolar`; take spin='vector'.")
        if isinstance(self.field, Tracer):
            return
        if np.shape(self.field) == (3,) and np.any(np.asarray(self.field)[:2]):
            raise ValueError(
                f"`field` of Ising spins must be along z, got {self.field}; take spin='vector'."
            )

    @property
    def components(self) -> int:
        """Numbers stored for each spin: 1 for Ising, its Sz, or 3."""
        return 1 if self.spin == "ising" else 3

    def replace(self, **changes: Any) -> "SpinModel":
        """The model with other numbers, lattice or terms."""
        return dataclasses.replace(self, **changes)

    def resized(self, size: int | tuple[int, int]) -> "SpinModel":
        """The model on a lattice of another size, of ``size x size`` cells if it is one number."""
        pair = (size, size) if isinstance(size, int) else size
        return self.replace(lattice=dataclasses.replace(self.lattice, size=pair))

    def zeeman(self) -> jax.Array:
        """Mu B, ``[components]``, meV."""
        field = jnp.asarray(self.field, jnp.float32)
        if field.ndim == 0:
            field = field * jnp.array([0.0, 0.0, 1.0])
        return self.moment * BOHR_MAGNETON * field[3 - self.components :]

    def by_depth(self, value: Any, color: int) -> jax.Array:
        """A number for each layer, as ``[depth, 1, 1]`` of the sites of one color."""
        value = jnp.asarray(value, jnp.float32)
        index = np.minimum(self.lattice.layer_index[color], self.lattice.layers - 1)
        return (value[index] if value.ndim else jnp.tile(value, len(index)))[:, None, None]

    def gap_by_depth(self, color: int, up: bool) -> jax.Array:
        """J_perp to the layer above, or below, ``[depth, 1, 1]``; around the edge the last gap."""
        value = jnp.asarray(self.interlayer, jnp.float32)
        gap = self.lattice.layer_index[color] - (0 if up else 1)
        if value.ndim == 0:
            return jnp.tile(value, len(gap))[:, None, None]
        return value[np.clip(gap, 0, len(value) - 1)][:, None, None]


def _flatten(model: SpinModel):
    numbers = tuple(getattr(model, name) for name in _NUMBERS)
    return numbers, (model.lattice, model.spin, model.dipolar)


def _restore(words, numbers) -> SpinModel:
    """Rebuilds a pytree without checks: its leaves may be stacked, axes or placeholders."""
    model = object.__new__(SpinModel)
    names = (*_NUMBERS, "lattice", "spin", "dipolar")
    for name, value in zip(names, (*numbers, *words), strict=True):
        object.__setattr__(model, name, value)
    return model


jax.tree_util.register_pytree_node(SpinModel, _flatten, _restore)


def is_zero(value: Any) -> bool:
    """Whether a number is known to be zero, so that its term may be left out."""
    return not isinstance(value, Tracer) and not np.any(np.asarray(value))


def warn_if_disordered(model: SpinModel) -> None:
    """Warns if the model orders at no temperature above zero.

    Warns:
        UserWarning: for isotropic spins in two dimensions (Mermin and Wagner 1966).
    """
    if model.spin == "ising" or model.dipolar:
        return
    isotropic = is_zero(model.exchange_anisotropy - 1)
    if isotropic and all(map(is_zero, (model.anisotropy, model.field, model.dmi))):
        warnings.warn(
            "isotropic spins in two dimensions have no order at any temperature above zero "
            "(Mermin and Wagner): what a finite lattice shows moves to zero as it grows. Give "
            "`anisotropy` or `exchange_anisotropy`.",
            stacklevel=3,
        )
