"""A lattice over eight devices takes the path of the whole one."""

import jax
import numpy as np
import pytest

from gossamer.physics.interactions.model import SpinModel
from gossamer.physics.lattice import Lattice
from gossamer.physics.samplers.sampler import chain, repeat
from gossamer.physics.samplers.sharding import spread
from gossamer.physics.samplers.sweeps import heat_bath, metropolis, over_relaxation


def both(model, axis_name=None):
    return chain(heat_bath(model, axis_name=axis_name), over_relaxation(model, axis_name=axis_name))


@pytest.mark.parametrize("edges", [(True, True, False), (False, False, False)])
def test_the_same_path(key, edges):
    lattice = Lattice("triangular", (12, 24), 2, "AA", edges)
    model = SpinModel(lattice, anisotropy=0.2, interlayer=0.3, dmi=0.1, field=1.0)
    mesh = jax.make_mesh((8,), ("rows",))
    whole, parts = both(model), spread(both, model, mesh)
    state = parts.init(key, 15.0)
    assert len(state.spins.sharding.device_set) == 8
    spread_state, info = jax.jit(repeat(parts, 3).step)(key, state)
    expected, _ = jax.jit(repeat(whole, 3).step)(key, whole.init(key, 15.0))
    # A rounding may change whether one proposal is taken; in six sweeps none was.
    np.testing.assert_allclose(spread_state.spins, expected.spins, atol=1e-4)
    assert 0 < float(info.acceptance) <= 1


def test_what_does_not_divide():
    model = SpinModel(Lattice("square", (8, 12)), spin="ising")
    with pytest.raises(ValueError, match="multiple of the 8 devices, got 12"):
        spread(metropolis, model, jax.make_mesh((8,), ("rows",)))
    with pytest.raises(ValueError, match="`mesh` must have one axis, 'rows'"):
        spread(metropolis, model, jax.make_mesh((8,), ("x",)))
