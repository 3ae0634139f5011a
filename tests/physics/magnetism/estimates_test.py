"""Estimates against their closed forms and tabulated values."""

import numpy as np
import pytest

from gossamer.physics.interactions.conventions import Convention, to_model_energies
from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.magnetism.estimates import (
    ISING,
    magnon_energy,
    mean_field,
    random_phase,
    torelli_olsen,
)
from gossamer.physics.units import BOHR_MAGNETON, BOLTZMANN

TRIANGULAR = Lattice("triangular", (6, 6), constant=1.0)


@pytest.mark.parametrize(("ratio", "expected"), [(0.01, 0.8873), (0.1, 1.2502), (1.0, 2.2734)])
def test_random_phase(ratio, expected):
    found = random_phase(SpinModel(TRIANGULAR, anisotropy=ratio), points=384)
    assert found * BOLTZMANN == pytest.approx(expected, abs=2e-3)


def test_torelli_olsen_for_chromium_iodide():
    """J = 3.1 meV, A = -0.38 meV, S = 3/2: the formula gives 36.9 K."""
    energies = to_model_energies(3.1, -0.38, convention=Convention("half", 1.5, -1, 1))
    model = SpinModel(Lattice("honeycomb", (6, 6)), *energies)
    assert torelli_olsen(model) == pytest.approx(36.9, abs=0.1)


def test_mean_field():
    for kind, neighbors in (("triangular", 6), ("square", 4), ("honeycomb", 3)):
        lattice = Lattice(kind, (6, 6))
        assert mean_field(SpinModel(lattice)) * BOLTZMANN == pytest.approx(neighbors / 3, rel=1e-3)
        assert mean_field(SpinModel(lattice, spin="ising")) * BOLTZMANN == neighbors
        assert ISING[kind] < neighbors
    hard = SpinModel(TRIANGULAR, anisotropy=1e4)  # Ising
    assert mean_field(hard) * BOLTZMANN == pytest.approx(6, rel=0.01)
    film = SpinModel(Lattice("triangular", (6, 6), 3), interlayer=0.5)
    assert mean_field(film) * BOLTZMANN == pytest.approx(7 / 3, rel=1e-3)


def test_magnons():
    model = SpinModel(TRIANGULAR, exchange=2.0, anisotropy=0.3, field=[0, 0, 5.0], moment=2.0)
    gap = 0.6 + 2 * BOHR_MAGNETON * 5
    assert magnon_energy(model, np.zeros(2)) == pytest.approx(gap)
    # E_q - gap = J [6 - 2 cos q.a1 - 2 cos q.a2 - 2 cos q.(a1 - a2)]
    q, a2 = np.array([0.7, -1.1]), np.array([0.5, np.sqrt(0.75)])
    phases = np.cos([q[0], q @ a2, q[0] - q @ a2])
    assert magnon_energy(model, q) - gap == pytest.approx(2 * (6 - 2 * phases.sum()))
    with pytest.raises(ValueError, match="got honeycomb"):
        magnon_energy(model.replace(lattice=Lattice("honeycomb", (3, 3))), q)
    with pytest.raises(ValueError, match="must have an easy axis"):
        random_phase(SpinModel(TRIANGULAR))
