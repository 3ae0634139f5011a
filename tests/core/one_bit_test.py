"""One bit for each element against numpy."""

import jax.numpy as jnp
import numpy as np

from gossamer.core import learners
from gossamer.core.one_bit import signs

N = 3


def test_signs_times_the_mean_magnitude_of_each_array():
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal((N, *s)).astype(np.float32) for s in [(5,), (3, 4), ()]]
    arrays[0][:, 2] = 0.0  # Zero counts as positive.

    def one(*arrays):
        found = signs().reduce(list(arrays), [32.0] * 3, (), jnp.asarray(0), "learner")
        return found.mean, found.rest

    mean, rest = learners.spread(one, N)(*map(jnp.asarray, arrays))
    for i, x in enumerate(arrays):
        magnitude = np.abs(x).reshape(N, -1).mean(1).reshape((N,) + (1,) * (x.ndim - 1))
        sent = np.where(x >= 0, magnitude, -magnitude)
        np.testing.assert_allclose(rest[i], x - sent, rtol=1e-6, atol=1e-6)
        expected = np.broadcast_to(sent.mean(0), x.shape)
        np.testing.assert_allclose(mean[i], expected, rtol=1e-6, atol=1e-7)
