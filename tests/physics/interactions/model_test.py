"""What a model is, and what it refuses."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.physics.interactions.conventions import Convention, to_model_energies
from gossamer.physics.interactions.model import SpinModel, warn_if_disordered
from gossamer.physics.lattice import Lattice

SMALL = Lattice("triangular", (3, 3), 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"exchange": [1.0, 2.0, 3.0]}, r"`exchange` of a model must be one number or .*\(2,\)"),
        ({"interlayer": [1.0, 2.0]}, r"shape \(1,\), got the shape \(2,\)"),
        ({"dmi": [1.0, 2.0]}, "`dmi` of a model must be one number, got"),
        ({"moment": np.nan}, "`moment` of a model must be finite"),
        ({"spin": "potts"}, "`spin` must be 'ising' or 'vector'"),
        ({"spin": "ising", "dmi": 1.0}, "Ising spins have no `dmi`"),
        ({"spin": "ising", "field": [1.0, 0.0, 0.0]}, "`field` of Ising spins must be along z"),
    ],
)
def test_bad_models(options, match):
    with pytest.raises(ValueError, match=match):
        SpinModel(SMALL, **options)


def test_a_pytree_of_numbers():
    model = SpinModel(SMALL, field=jnp.arange(3.0))
    assert len(jax.tree.leaves(model)) == 7
    zeeman = jax.vmap(lambda field: model.replace(field=field).zeeman())(jnp.ones((5, 3)))
    assert zeeman.shape == (5, 3)


def test_only_isotropic_spins_are_warned_about():
    with pytest.warns(UserWarning, match="Mermin and Wagner"):
        warn_if_disordered(SpinModel(SMALL))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for change in ({"anisotropy": 0.1}, {"exchange_anisotropy": 1.1}, {"spin": "ising"}):
            warn_if_disordered(SpinModel(SMALL, **change))


def test_conventions_give_one_energy():
    """Two spins of length 3/2: J and A of each form give the energies they stand for."""
    exchange, anisotropy = 3.1, -0.38
    half = Convention("half", 1.5, -1, 1)  # Torelli and Olsen
    ours = to_model_energies(exchange, anisotropy, convention=half)
    pair = -0.5 * exchange * 2 * 1.5**2  # both orders of the pair, halved
    assert -ours.exchange == pytest.approx(pair)
    assert -ours.anisotropy == pytest.approx(anisotropy * 1.5**2)
    twice = to_model_energies(1.0, convention=Convention("twice"))
    once = to_model_energies(-2.0, convention=Convention("once", sign=1))
    assert twice.exchange == once.exchange == 2.0
    for wrong in ({"bonds": "thrice"}, {"length": 0.0}, {"sign": 2}):
        with pytest.raises(ValueError, match="must be"):
            Convention(**wrong)
