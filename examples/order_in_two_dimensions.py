"""Finds the Curie temperature of a magnetic layer one atom thick with a weak easy axis.

    python examples/order_in_two_dimensions.py

Isotropic spins in two dimensions do not order (Mermin and Wagner). An easy axis of a tenth of the
exchange is enough to give a third of the Curie temperature of Ising spins.
"""

import jax
import numpy as np

from gossamer.physics.spins import Lattice, SpinModel, curie_temperature
from gossamer.physics.units import BOLTZMANN

EXCHANGE = 36.1  # meV, each bond once, unit spins
RATIO = 0.1  # of the easy axis to the exchange


def main() -> None:
    """Prints the Curie temperature and what it is of Ising spins."""
    lattice = Lattice("triangular", (12, 12))
    model = SpinModel(lattice, exchange=EXCHANGE, anisotropy=RATIO * EXCHANGE)
    curie = curie_temperature(model, key=jax.random.key(0), sizes=(6, 12), measurements=300)
    print(f"K = {RATIO:g} J: {curie.temperature:.0f} +- {curie.error:.0f} K, from small lattices")
    print(f"Ising: {4 / np.log(3) * EXCHANGE / BOLTZMANN:.0f} K, exactly")


if __name__ == "__main__":
    main()
