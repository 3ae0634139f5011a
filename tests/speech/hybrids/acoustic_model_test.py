import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.hybrids.acoustic_model import (
    AcousticModel,
    AcousticModelConfig,
    count_priors,
    unroll,
)

CONFIG = AcousticModelConfig(layers=2, size=6, bottleneck=5, dropout=0.0)


@pytest.fixture(scope="module")
def variables():
    model = AcousticModel(CONFIG, num_pdfs=4)
    return model.init(jax.random.key(0), jnp.zeros((1, 3, 7)), jnp.zeros((1, 3)))


def test_padding_changes_nothing(variables):
    model = AcousticModel(CONFIG, num_pdfs=4)
    x = jax.random.normal(jax.random.key(1), (2, 9, 7))
    paddings = jnp.array([[0.0] * 9, [0.0] * 5 + [1.0] * 4])
    together = model.apply(variables, x * (1 - paddings)[:, :, None], paddings)
    alone = model.apply(variables, x[1:, :5], jnp.zeros((1, 5)))
    np.testing.assert_allclose(together[1, :5], alone[0], rtol=1e-5, atol=1e-6)
    assert together.shape == (2, 9, 4)


def test_parts_follow_one_another():
    x = jnp.arange(2 * 5 * 3).reshape(2, 5, 3)
    parts = unroll(x, 2)
    assert parts.shape == (6, 2, 3)
    np.testing.assert_array_equal(parts[:3].reshape(6, 3)[:5], x[0])
    np.testing.assert_array_equal(parts[2, 1], 0)
    np.testing.assert_array_equal(parts[3:].reshape(6, 3)[:5], x[1])


def test_priors_are_shares():
    priors = np.exp(count_priors([np.array([0, 0, -1, 2]), np.array([2, 2])], 4))
    np.testing.assert_allclose(priors, np.array([3, 1, 4, 1]) / 9, rtol=1e-6)
