"""The conversion of a BERT's tensors; the real one only where it is in the cache."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import data_folder
from gossamer.language import packages, pretrained
from gossamer.language.encoder_config import MINILM, EncoderConfig
from gossamer.language.models import Encoder


def test_every_tensor_has_its_place():
    generator = np.random.default_rng(0)
    sizes = {"intermediate.dense": (3, 4), "output.dense": (4, 3)}
    tensors = {
        "embeddings.word_embeddings.weight": generator.normal(size=(9, 4)),
        "embeddings.position_embeddings.weight": generator.normal(size=(5, 4)),
        "embeddings.token_type_embeddings.weight": generator.normal(size=(2, 4)),
    }
    norms = ["embeddings.LayerNorm"]
    norms += [f"encoder.layer.0.{name}" for name in pretrained.NORMS.values()]
    for name in pretrained.DENSE.values():
        shape = sizes.get(name, (4, 4))
        tensors[f"encoder.layer.0.{name}.weight"] = generator.normal(size=shape)
        tensors[f"encoder.layer.0.{name}.bias"] = generator.normal(size=shape[0])
    for name in norms:
        tensors |= {f"{name}.weight": generator.normal(size=4), f"{name}.bias": np.ones(4)}
    params = pretrained.convert(tensors, 1)
    config = EncoderConfig(layers=1, size=4, heads=2, hidden=3, max_length=5)
    expected = jax.eval_shape(
        Encoder(config, 9).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 3), jnp.int32)
    )["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    kernel = tensors["encoder.layer.0.intermediate.dense.weight"].T
    np.testing.assert_allclose(params["layer_0"]["expand"]["kernel"], kernel, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    not (data_folder.cache_dir() / "packages" / packages.MINILM.file).exists(),
    reason="the pretrained encoder was not fetched",
)
def test_embeddings_mean_something():
    encoder = pretrained.load_minilm()
    assert len(encoder.tokenizer.vocabulary) == 30522
    assert encoder.model.config == MINILM
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "The sky is blue."]
    found = pretrained.embed(encoder, texts)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    cosines = found @ found.T
    assert cosines[0, 1] > 0.6
    assert max(cosines[0, 2], cosines[1, 2]) < 0.2
