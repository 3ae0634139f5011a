"""Spins of a two-dimensional ferromagnet: models, samplers, and what they show.

    H = - J sum_<ij> (Sx Sx + Sy Sy + lambda Sz Sz) - J_perp sum S . S - K sum Sz^2 - mu B . sum S

with each bond once and unit spins; `SpinModel` holds the numbers and `Lattice` the film.  Samplers
are pairs of `init` and `step`, runs are mapped over temperatures and replicas, and every average
comes with an error that knows of the autocorrelation.  Energies are in meV, temperatures in K,
fields in T, lengths in nm, times in ps.

Example:
    >>> lattice = Lattice("triangular", (24, 24))
    >>> model = SpinModel(lattice, exchange=36.1, anisotropy=3.61)
    >>> curie_temperature(model, key=jax.random.key(0)).temperature  # K

References:
    X. Wang et al., "Ferromagnetism in 2D Vanadium Diselenide", 2021, arXiv:2104.07937.
"""

from .interactions.conventions import Convention as Convention
from .interactions.conventions import to_model_energies as to_model_energies
from .interactions.fields import energy as energy
from .interactions.model import SpinModel as SpinModel
from .lattice import Lattice as Lattice
from .magnetism.curie import curie_temperature as curie_temperature
from .magnetism.curie import default_sampler as default_sampler
from .magnetism.curie import scan as scan
from .magnetism.dichroism import dichroism as dichroism
from .magnetism.estimates import magnon_energy as magnon_energy
from .magnetism.estimates import mean_field as mean_field
from .magnetism.estimates import random_phase as random_phase
from .magnetism.estimates import torelli_olsen as torelli_olsen
from .magnetism.hysteresis import hysteresis as hysteresis
from .magnetism.observables import average as average
from .magnetism.observables import snapshot as snapshot
from .samplers.clusters import swendsen_wang as swendsen_wang
from .samplers.clusters import wolff as wolff
from .samplers.dynamics import llg as llg
from .samplers.multispin import multispin_metropolis as multispin_metropolis
from .samplers.sampler import Sampler as Sampler
from .samplers.sampler import State as State
from .samplers.sampler import chain as chain
from .samplers.sampler import repeat as repeat
from .samplers.sharding import spread as spread
from .samplers.sweeps import heat_bath as heat_bath
from .samplers.sweeps import metropolis as metropolis
from .samplers.sweeps import over_relaxation as over_relaxation
from .samplers.tempering import tempering as tempering
