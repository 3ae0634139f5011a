"""Losses of single examples; EK-FAC sees every dense layer of the classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import (
    EKFAC,
    Fisher,
    GaussNewton,
    example_gradients,
    inverse_products,
)
from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.losses import (
    Importance,
    Margin,
    Nll,
    Predict,
    Removal,
    TappedNll,
    TappedPredictions,
    nll,
)
from gossamer.language.models import Classifier

MODEL = Classifier(EncoderConfig(layers=1, size=4, heads=2, hidden=3, max_length=4), 8, 3)
EXAMPLE = {
    "ids": jnp.array([2, 5, 6, 3]),
    "masked": jnp.array([2, 4, 6, 3]),
    "label": jnp.array(1),
}


@pytest.fixture
def params(key):
    return jax.jit(MODEL.init)(key, EXAMPLE["ids"][None])["params"]


def test_losses_are_what_they_say(params):
    whole = jax.jit(Predict(MODEL))(params, EXAMPLE)
    hidden = jax.jit(Predict(MODEL))(params, EXAMPLE | {"ids": EXAMPLE["masked"]})
    nll, masked_nll = (-jax.nn.log_softmax(logits)[1] for logits in (whole, hidden))
    np.testing.assert_allclose(jax.jit(Nll(MODEL))(params, EXAMPLE), nll, rtol=1e-5)
    np.testing.assert_allclose(
        jax.jit(Removal(MODEL))(params, EXAMPLE), nll - masked_nll, atol=1e-6
    )
    np.testing.assert_allclose(
        jax.jit(Importance(MODEL))(params, EXAMPLE), hidden[1] - whole[1], atol=1e-6
    )


def test_the_margin_is_over_the_mean_of_the_other_classes(params):
    logits = jax.jit(Predict(MODEL))(params, EXAMPLE)
    found = jax.jit(Margin(MODEL))(params, EXAMPLE)
    np.testing.assert_allclose(found, (logits[0] + logits[2]) / 2 - logits[1], rtol=1e-5)


def test_taps_see_every_dense_layer(params):
    loss, inputs = jax.jit(TappedNll(MODEL))(params, {}, EXAMPLE)
    np.testing.assert_allclose(loss, jax.jit(Nll(MODEL))(params, EXAMPLE), rtol=1e-6)
    layers = {f"encoder/layer_0/{name}" for name in ("query", "key", "value", "output")}
    layers |= {"encoder/layer_0/expand", "encoder/layer_0/contract", "head"}
    assert set(inputs) == layers
    assert inputs["head"].shape == (1, 4)


def test_taps_add_to_outputs(params):
    taps = {"head": jnp.array([[0.0, 5.0, 0.0]])}
    logits = jax.jit(Predict(MODEL))(params, EXAMPLE) + taps["head"][0]
    loss, _ = jax.jit(TappedNll(MODEL))(params, taps, EXAMPLE)
    np.testing.assert_allclose(loss, -jax.nn.log_softmax(logits)[1], rtol=1e-5)


def test_rows_of_predictions_give_the_gauss_newton_matrix(params, key):
    vector = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), params)

    def rows(params):
        return TappedPredictions(MODEL)(params, {}, EXAMPLE)[0]

    _, pull = jax.vjp(rows, params)
    found = pull(jax.jvp(rows, (params,), (vector,))[1])[0]
    block = jax.tree.map(lambda leaf: leaf[None], EXAMPLE)
    wanted = GaussNewton(Predict(MODEL), nll)(params, block, jnp.ones(1), vector)
    # Two routes of float32 products; what cancels is of the size of the largest.
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6 * scale), found, wanted)


def test_ekfac_inverts_all_parameters(params):
    train = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), EXAMPLE)
    train["ids"] = train["ids"].at[1, 1].set(7)
    vectors = example_gradients(Nll(MODEL), params, train)
    found = inverse_products(
        Fisher(Nll(MODEL)), params, train, vectors, method=EKFAC(TappedNll(MODEL)), damping=0.1
    )
    # With the damping far above the spectrum, the inverse is 1 / damping.
    large = inverse_products(
        Fisher(Nll(MODEL)), params, train, vectors, method=EKFAC(TappedNll(MODEL)), damping=1e6
    )
    for (path, x), y in zip(
        jax.tree.leaves_with_path(vectors), jax.tree.leaves(large.vectors), strict=True
    ):
        np.testing.assert_allclose(1e6 * y, x, rtol=1e-3, atol=1e-6, err_msg=str(path))
    assert jax.tree.structure(found.vectors) == jax.tree.structure(vectors)
