"""What tests of the core share: equality of bits, and digits to learn."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[[Any, Any], None]:
    """``(left, right)``: fails unless two pytrees have the same structure, types and bits."""

    def raw(x):
        return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x

    def check(left, right):
        assert jax.tree.structure(left) == jax.tree.structure(right)
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
            assert a.dtype == b.dtype
            assert np.asarray(raw(a)).tobytes() == np.asarray(raw(b)).tobytes()

    return check


@pytest.fixture(scope="session")
def assert_engines_agree() -> Callable[..., None]:
    """``(left, right, *, inner)``: fails unless results of two engines have the same bits.

    After Adam, on jax from 0.11 on, their last bits may differ: its XLA for CPUs contracts the last
    product of Adam with the sum of the mixing in one engine and not in another.
    """

    def check(left, right, *, inner):
        last_bits = inner == "adam" and jax.__version_info__ >= (0, 11)
        tolerance = 1e-6 if last_bits else 0.0
        compare = functools.partial(np.testing.assert_allclose, rtol=0, atol=tolerance)
        jax.tree.map(compare, left, right)

    return check


class Digits(NamedTuple):
    """An MLP 64-50-50-10 on 1,500 images of 8 x 8 pixels."""

    init: Callable[[jax.Array], Any]  # key -> params, He-normal
    loss: Callable[..., Any]  # (params, numbers of images, key) -> (loss, {})


@pytest.fixture(scope="session")
def digits() -> Digits:
    """A problem that large steps and coarse compression can fail."""
    data = np.load(Path(__file__).parents[1] / "digits.npz")
    order = np.random.RandomState(0).permutation(len(data["labels"]))[:1500]
    images = jnp.asarray(data["images"].reshape(-1, 64)[order] / 16.0, jnp.float32)
    labels = jnp.asarray(data["labels"][order], jnp.int32)

    def init(key):
        sizes = (64, 50, 50, 10)
        return [
            (np.sqrt(2.0 / rows) * jax.random.normal(key, (rows, columns)), jnp.zeros(columns))
            for key, rows, columns in zip(
                jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True
            )
        ]

    def loss(params, batch, key):
        del key
        x = images[batch]
        for weights, bias in params[:-1]:
            x = jax.nn.relu(x @ weights + bias[None])
        logits = x @ params[-1][0] + params[-1][1][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean(), {}

    return Digits(init, loss)
