"""What texts are padded with changes no score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import Blocks, directional_scores, example_gradients, gradient_norms
from gossamer.language.encoder_config import EncoderConfig
from gossamer.language.losses import Importance, Nll, Removal
from gossamer.language.models import Classifier
from gossamer.language.padding import TEXTS

MODEL = Classifier(EncoderConfig(layers=1, size=8, heads=2, hidden=8, max_length=40), 20, 2)


@pytest.fixture(scope="module")
def texts():
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 20, (13, 40)).astype(np.int32)
    lengths = generator.integers(3, 41, 13)
    ids = np.where(np.arange(40) < lengths[:, None], ids, 0)
    masked = np.where(np.arange(40) == 1, 4, ids)
    return {"ids": ids, "masked": masked, "label": generator.integers(0, 2, 13)}


@pytest.mark.parametrize("loss", [Nll(MODEL), Removal(MODEL)], ids=["whole", "span"])
def test_scores_are_those_of_whole_rows(loss, texts, key):
    params = jax.jit(MODEL.init)(key, jnp.ones((1, 40), jnp.int32))["params"]
    query = example_gradients(Importance(MODEL), params, jax.tree.map(lambda x: x[:1], texts))
    whole, cut = (
        (
            directional_scores(loss, params, query, texts, blocks=blocks),
            gradient_norms(loss, params, texts, blocks=blocks),
        )
        for blocks in (Blocks(4), Blocks(4, padding=TEXTS))
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6), whole, cut)
