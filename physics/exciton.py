"""Excitons of a monolayer in an in-plane electric field.

    H = -(hbar^2 / 2 mu) lap + V(r) + e F x

One verb solves it: a basis of polar Laguerre functions, rotated into the complex plane, gives the
energies, ionization widths, oscillator strengths and wave functions of the Rydberg states, and with
the same numbers the whole spectrum (see `polar` and `optics`).  Energies count from the band gap,
in meV; lengths are in nm, fields in V/um, times in ps.

Results are pytrees of arrays: `jax.vmap` runs over fields and materials, `jax.grad` gives the
derivatives with respect to mass, screening, dielectric constant and field.

References:
    B. Zhu et al., "In-Plane Electric Field Induced Orbital Hybridization of Excitonic States In
        Monolayer WSe2", 2023, arXiv:2302.11373.
    T. G. Pedersen, Physical Review B 94, 125424, 2016.
"""

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from .keldysh import keldysh_potential as keldysh_potential
from .materials import Material as Material
from .optics.dissociation import photocurrent as photocurrent
from .optics.spectra import absorption as absorption
from .polar import hamiltonian, laguerre, resonances
from .polar.hamiltonian import Basis as Basis
from .units import HBAR, scales

LETTERS = "spdfghiklmnoqrtuvwxyz"  # of the angular momentum, in the order of spectroscopy
DEFAULT_STATES = ("1s", "2p", "2s")
TOLERANCE = 0.1  # meV: states less converged are warned about


class State(NamedTuple):
    """One state at every field of a spectrum, each of the shape of its fields."""

    energy: jax.Array  # meV, from the band gap; the real part
    width: jax.Array  # meV, full width Gamma of ionization; hbar / width is the life time
    oscillator_strength: jax.Array  # Re psi(0)^2 over |psi(0)|^2 of 1s without a field
    character: jax.Array  # [..., M]: weights of the angular momenta 0, 1, ...; their sum is 1
    composition: jax.Array  # [..., num_states]: weights of the followed states without a field
    convergence: jax.Array  # meV: estimated error of the basis
    continuity: jax.Array  # what is left of the step before on the way from zero field, to 1

    @property
    def lifetime(self) -> jax.Array:
        """Hbar / Gamma in ps."""
        return HBAR / self.width


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "field",
        "band_gap",
        "poles",
        "strengths",
        "energies",
        "amplitudes",
        "coefficients",
        "origins",
        "dipoles",
        "decay",
        "convergence",
        "continuity",
        "ground_density",
        "ground_energy",
        "dark_below",
    ],
    meta_fields=["states", "basis"],
)
@dataclasses.dataclass(frozen=True)
class Spectrum:
    """All states of an exciton at fields of a shape ``[...]``; made by `solve_exciton`.

    Followed states are read by their name, as in ``spectrum["2p"].energy``.
    """

    field: Any  # [...], V/um
    band_gap: Any  # [...], meV
    poles: Any  # [..., M N]: complex E - i Gamma / 2, meV, of all states and the continuum
    strengths: Any  # [..., M N]: complex psi(0)^2, nm^-2
    energies: Any  # [..., num_states]: complex, meV, of the followed states
    amplitudes: Any  # [..., num_states]: complex psi(0), nm^-1
    coefficients: Any  # [..., num_states, M, N]
    origins: Any  # [..., num_states, M, N]: coefficients without a field
    dipoles: Any  # [..., num_states, num_states]: <i|x|j>, nm
    decay: Any  # [...]: lam of the basis, nm^-1
    convergence: Any  # [..., num_states], meV
    continuity: Any  # [..., num_states]
    ground_density: Any  # [...]: |psi(0)|^2 of 1s without a field, nm^-2
    ground_energy: Any  # [...]: energy of 1s without a field, meV
    dark_below: Any  # [...]: energy far below all states, meV
    states: tuple[str, ...]
    basis: Basis

    def __getitem__(self, name: str) -> State:
        """A followed state by its name at zero field."""
        place = self._place(name)
        coefficients = self.coefficients[..., place, :, :]
        weights = jnp.abs(jnp.sum(coefficients**2, axis=-1))
        overlaps = jnp.einsum("...mn,...kmn->...k", coefficients, self.origins)
        strength = jnp.real(self.amplitudes[..., place] ** 2) / self.ground_density
        return State(
            energy=jnp.real(self.energies[..., place]),
            width=-2.0 * jnp.imag(self.energies[..., place]),
            oscillator_strength=strength,
            character=weights / jnp.sum(weights, axis=-1, keepdims=True),
            composition=jnp.abs(overlaps) ** 2,
            convergence=self.convergence[..., place],
            continuity=self.continuity[..., place],
        )

    def wavefunction(self, name: str, x: ArrayLike, y: ArrayLike) -> jax.Array:
        """psi(x, y) of a followed state, for a spectrum of one field.

        Args:
            name: the state.
            x: distance of electron and hole along the field, nm, any shape.
            y: distance across, nm, the same shape.

        Returns:
            Complex, nm^-1, of the shape of `x`, with psi^2 integrating to 1.  A state that the
            field ionizes runs out along it.  Turning back a rotation of 0.4 costs digits far
            outside; `rotation=0.2` keeps them, and zero field needs none.

        Raises:
            ValueError: if the spectrum has more than one field.
        """
        if np.ndim(self.field):
            raise ValueError(
                f"`wavefunction` takes a spectrum of one field, got fields of shape "
                f"{np.shape(self.field)}; take one, `jax.tree.map(lambda leaf: leaf[0], spectrum)`."
            )
        coefficients = self.coefficients[self._place(name)]
        r, angle = jnp.hypot(x, y), jnp.arctan2(y, x)
        total = jnp.zeros_like(r, coefficients.dtype)
        for m, row in enumerate(coefficients):
            radial = laguerre.radial_functions(self.decay * r, self.basis.radial, m)
            norm = np.sqrt(1 / np.pi) if m else np.sqrt(1 / (2 * np.pi))
            total += norm * jnp.cos(m * angle) * jnp.tensordot(row, radial, 1)
        return self.decay * total

    def _place(self, name: str) -> int:
        if name not in self.states:
            raise ValueError(
                f"`{name}` was not followed; ask for it by `states=` of `solve_exciton`, which "
                f"followed {', '.join(self.states)}."
            )
        return self.states.index(name)


def solve_exciton(
    material: Material,
    field: ArrayLike | Sequence[float] = 0.0,
    *,
    states: tuple[str, ...] = DEFAULT_STATES,
    basis: Basis | None = None,
    steps: int = 8,
) -> Spectrum:
    """Energies, widths and strengths of the states of an exciton in a field.

    Followed states carry their names from zero field on: each is the state at the next field with
    the smallest angle to it.  With given fields one path runs through all of them; with traced
    ones, as under `jax.vmap` or `jax.grad`, each field has a path of its own, of `steps` fields.

    Args:
        material: parameters; scalars, or traced scalars.
        field: F along x, V/um, any shape.
        states: names of the states to follow, as 1s, 2p, 3d.
        basis: functions, rotation and decay; see `Basis`.
        steps: fields in between, from zero to the largest, at which states are followed up.

    Returns:
        A `Spectrum` of the shape of `field`.

    Raises:
        ValueError: for bad numbers, and for float32 where widths need float64.

    Warns:
        UserWarning: if a followed state is not converged to 0.1 meV, or lost more than half of
            itself in one step, so that its name means little.

    Example:
        >>> from gossamer.physics.materials import find
        >>> with jax.enable_x64(True):
        ...     spectrum = solve_exciton(find("WSe2/hBN"), field=[0.0, 2.0, 4.0])
        ...     spectrum["2p"].energy, spectrum["2p"].width
    """
    basis = (Basis() if basis is None else basis).check()
    labels = tuple(parse_state(name, basis) for name in states)
    if not labels:
        raise ValueError("`states` must name at least one state, got none.")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    field = jnp.asarray(field, jnp.result_type(float))
    shape = field.shape
    if isinstance(field, Tracer):

        def alone(one):
            path = one * jnp.linspace(0.0, 1.0, steps + 1)[1:]
            return jax.tree.map(lambda leaf: leaf[-1], _solve(material, path, labels, basis))

        found = jax.vmap(alone)(field.reshape(-1))
        sign = jnp.ones(field.size, field.dtype)
    else:
        wanted = np.abs(np.asarray(field).reshape(-1))
        if not np.isfinite(wanted).all():
            raise ValueError(f"`field` must be finite, got {field}.")
        path = np.union1d(wanted, np.linspace(0.0, wanted.max(initial=0.0), steps + 1))
        found = _solve(material, jnp.asarray(path, field.dtype), labels, basis)
        found = jax.tree.map(lambda leaf: leaf[np.searchsorted(path, wanted)], found)
        sign = jnp.where(field.reshape(-1) < 0, -1.0, 1.0).astype(field.dtype)
    found = jax.tree.map(lambda leaf: leaf.reshape(shape + leaf.shape[1:]), _mirror(found, sign))
    spectrum = _to_spectrum(found, field, material, states, basis)
    _warn(spectrum)
    return spectrum


def parse_state(name: str, basis: Basis) -> tuple[int, int]:
    """Angular momentum and number of radial nodes of a state such as 3d.

    Raises:
        ValueError: if it is no such name, or the basis has no room for it.
    """
    number, letter = name[:-1], name[-1:]
    if not (number.isdigit() and letter and letter in LETTERS):
        raise ValueError(f"`states` are named like 1s, 2p, 3d; got {name!r}.")
    angular = LETTERS.index(letter)
    nodes = int(number) - angular - 1
    if nodes < 0:
        raise ValueError(f"There is no state {name}: the first {letter} is {angular + 1}{letter}.")
    if angular >= basis.angular or nodes >= basis.radial // 2:
        raise ValueError(
            f"The basis of {basis.radial} x {basis.angular} functions is too small for {name}; "
            "raise `radial` or `angular` (`--radial`, `--angular`)."
        )
    return angular, nodes


class _Found(NamedTuple):
    """The solution on a path, in physical units; leaves ``[num_fields, ...]``."""

    poles: jax.Array
    strengths: jax.Array
    energies: jax.Array
    amplitudes: jax.Array
    coefficients: jax.Array
    origins: jax.Array
    dipoles: jax.Array
    decay: jax.Array
    convergence: jax.Array
    continuity: jax.Array
    ground_density: jax.Array
    ground_energy: jax.Array
    dark_below: jax.Array


@functools.partial(jax.jit, static_argnums=(2, 3))
def _solve(material: Material, path: jax.Array, labels, basis: Basis) -> _Found:
    units = scales(material)
    whole = hamiltonian.build(units.screening, material.p_shift / units.energy, basis)
    start = resonances.field_free(whole, ((0, 0), *labels))
    followed = resonances.follow(whole, units.to_reduced_field(path), start[1:])
    num_channels, num_radial, _ = whole.channels.shape
    tile = functools.partial(jnp.broadcast_to, shape=path.shape)
    grid = (len(path), len(labels), num_channels, num_radial)
    take = functools.partial(jnp.take_along_axis, indices=followed.places, axis=1)
    ground = start[0, :num_radial]
    ground_energy = jnp.real(ground @ whole.channels[0] @ ground)
    tilt = jnp.cbrt(units.to_reduced_field(path) ** 2 / 2)  # the electro-optical energy
    vectors = followed.vectors
    return _Found(
        poles=followed.energies * units.energy,
        strengths=(followed.amplitudes / units.length) ** 2,
        energies=take(followed.energies) * units.energy,
        amplitudes=take(followed.amplitudes) / units.length,
        coefficients=vectors.reshape(grid),
        origins=jnp.broadcast_to(start[1:].reshape(grid[1:])[None], grid),
        dipoles=jnp.real(vectors @ whole.position()[None] @ vectors.swapaxes(1, 2)) * units.length,
        decay=tile(whole.decay / units.length),
        convergence=followed.truncation * units.energy,
        continuity=followed.continuity,
        ground_density=tile(jnp.real(whole.origin @ ground) ** 2 / units.length**2),
        ground_energy=tile(ground_energy * units.energy),
        dark_below=jax.lax.stop_gradient((3.0 * ground_energy - 8.0 * tilt) * units.energy),
    )


def _mirror(found: _Found, sign: jax.Array) -> _Found:
    """States in the opposite field where `sign` ``[num_fields]`` is -1: x becomes -x."""
    num_channels = found.coefficients.shape[2]
    odd = jnp.arange(num_channels) % 2 == 1
    flips = jnp.where(odd[None, :], sign[:, None], 1.0)[:, None, :, None]
    return found._replace(
        coefficients=found.coefficients * flips, dipoles=found.dipoles * sign[:, None, None]
    )


def _to_spectrum(found: _Found, field, material: Material, states, basis: Basis) -> Spectrum:
    gap = jnp.broadcast_to(jnp.asarray(material.band_gap, field.dtype), field.shape)
    return Spectrum(field=field, band_gap=gap, **found._asdict(), states=states, basis=basis)


def _warn(spectrum: Spectrum) -> None:
    """Warns of states that are not converged or not themselves any more, unless traced."""
    leaves = (spectrum.field, spectrum.convergence, spectrum.continuity)
    if any(isinstance(leaf, Tracer) for leaf in leaves) or not np.size(spectrum.field):
        return
    fields = np.asarray(spectrum.field).reshape(-1)
    for place, name in enumerate(spectrum.states):
        error = np.asarray(spectrum.convergence)[..., place].reshape(-1)
        if not error.max() < TOLERANCE:
            at = fields[np.argmax(error)]
            warnings.warn(
                f"{name} is converged to {error.max():.2g} meV only, at {at:g} V/um; raise "
                "`radial` or `angular` of `basis` (`--radial`, `--angular`).",
                stacklevel=3,
            )
        kept = np.asarray(spectrum.continuity)[..., place].reshape(-1)
        if not kept.min() > 0.5:
            at = fields[np.argmin(kept)]
            warnings.warn(
                f"{name} keeps only {kept.min():.0%} of itself in the step to {at:g} V/um; raise "
                "`steps`, or take it for ionized there.",
                stacklevel=3,
            )
