"""Spectra of a p-n junction, where the field depends on the place.

In the depletion region of an abrupt junction the field falls linearly from its peak to zero on both
sides, and light of a finite spot averages over it,

    <A>(w) = int s(x) A(w; F(x)) dx / int s(x) dx,    F(x) = F_peak max(0, 1 - |x| / width).
"""

from typing import NamedTuple

import numpy as np


class Profile(NamedTuple):
    """Fields and how much of the light falls on each."""

    fields: np.ndarray  # [num], V/um
    weights: np.ndarray  # [num], their sum is 1


def abrupt_junction(
    peak: float, width: float, spot: float = np.inf, num_fields: int = 12
) -> Profile:
    """The fields that a spot of light sees, as nodes of a Gauss-Legendre rule.

    Args:
        peak: largest field, V/um.
        width: distance from the peak to the end of the depletion on either side, nm.
        spot: 1 / e^2 radius of a Gaussian spot centered on the junction, nm; light outside the
            depletion counts as field 0.  Infinite: only the depletion is seen.
        num_fields: number of fields besides zero.

    Returns:
        A `Profile`; ``weights @ absorption(spectrum, energies)`` is the average if `spectrum` was
        solved at its fields.

    Raises:
        ValueError: if a number is not positive.
    """
    for name, value in (("peak", peak), ("width", width), ("spot", spot)):
        if not value > 0:
            raise ValueError(f"`{name}` of a junction must be positive, got {value}.")
    if num_fields < 1:
        raise ValueError(f"`num_fields` must be at least 1, got {num_fields}.")
    nodes, weights = np.polynomial.legendre.leggauss(num_fields)
    place = (1 + nodes) / 2  # |x| / width
    light = np.exp(-2 * (place * width / spot) ** 2) * weights / 2 * width
    fields = peak * (1 - place)
    if np.isinf(spot):
        return Profile(fields, light / light.sum())
    outside = np.sqrt(np.pi / 8) * spot - light.sum()  # half of the whole spot, less what is inside
    total = np.append(light, max(outside, 0.0))
    return Profile(np.append(fields, 0.0), total / total.sum())
