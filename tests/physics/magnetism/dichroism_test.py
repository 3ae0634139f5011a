"""The signal of layers."""

import numpy as np
import pytest

from gossamer.physics.magnetism.dichroism import dichroism


def test_signal_of_layers():
    assert dichroism(np.array([1.0, 1.0, 1.0]), full=2.0) == pytest.approx(2.0)
    assert dichroism(np.array([1.0, -1.0])) == pytest.approx(0.0)
    # Light that reaches one layer only sees that one.
    assert dichroism(np.array([0.3, -1.0]), depth=1e-3) == pytest.approx(0.3)
    weights = np.exp([0, -1.0])
    found = dichroism(np.array([[1.0, 0.0], [0.0, 1.0]]), spacing=0.5, depth=1.0)
    np.testing.assert_allclose(found, weights / weights.sum())
    with pytest.raises(ValueError, match="must be positive"):
        dichroism(np.ones(2), depth=0.0)
