"""A trained classifier with all that explanations need, as one file.

Beside the final parameters it holds variants near them (see `gossamer.core.attribution.variants`),
the vocabulary and the names of the classes.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from ..core import packing, whole_file
from ..core.attribution.blocks import Blocks
from ..core.paths import named_leaves, nest
from .encoder_config import EncoderConfig
from .losses import Predict
from .models import Classifier
from .padding import TEXTS
from .tokens import Tokenizer

PACKED = "classifier.safetensors"
FORMAT = "gossamer-classifier-1"


class TrainedClassifier(NamedTuple):
    """A classifier, ready to predict and to be explained."""

    config: EncoderConfig
    classes: tuple[str, ...]
    tokenizer: Tokenizer
    params: Any
    variants: Sequence[Any]  # parameters near `params`, at least one
    gradient_norms: np.ndarray  # [N] of the loss of each training text, at `params`
    corpus: str  # what it was trained on, see `data.load_corpus`

    @property
    def model(self) -> Classifier:
        """The network that `params` belong to."""
        return Classifier(self.config, len(self.tokenizer.vocabulary), len(self.classes))


def predict(
    trained: TrainedClassifier, texts: Sequence[str], *, batch_size: int = 64
) -> np.ndarray:
    """Probabilities of the classes, [N, classes]."""
    ids = trained.tokenizer.encode_all(texts)
    logits = predict_ids(trained.model, trained.params, ids, batch_size=batch_size)
    return np.asarray(jax.nn.softmax(logits))


def predict_ids(
    model: Classifier, params: Any, ids: np.ndarray, *, batch_size: int = 64
) -> np.ndarray:
    """Logits [N, classes] of encoded texts [N, T]."""
    return Blocks(batch_size, padding=TEXTS).map(_logits(model), {"ids": ids}, params)


def _logits(model: Classifier):
    return lambda block, params: _jitted(Predict(model), block, params)


@jax.jit(static_argnums=0)
def _jitted(predict: Predict, block: Any, params: Any) -> jax.Array:
    return predict(params, block)


def save(path: str | os.PathLike, trained: TrainedClassifier) -> None:
    """Writes one file, atomically, in float32."""
    trees = {"params": trained.params}
    trees |= {f"variant_{number}": tree for number, tree in enumerate(trained.variants)}
    header = {
        "format": FORMAT,
        "config": json.dumps(cattrs.unstructure(trained.config)),
        "classes": json.dumps(trained.classes),
        "vocabulary": json.dumps(trained.tokenizer.vocabulary, ensure_ascii=False),
        "max_length": str(trained.tokenizer.max_length),
        "corpus": trained.corpus,
    }
    trees["gradient_norms"] = trained.gradient_norms
    tensors = {name: np.asarray(leaf) for name, leaf in named_leaves(trees)}
    with whole_file.draft(path) as part:
        save_file(tensors, part, metadata=header)


def load(path: str | os.PathLike) -> TrainedClassifier:
    """Reads a classifier.

    Args:
        path: the file, or the folder of its run.

    Raises:
        ValueError: if there is none.
    """
    path = Path(path)
    path = path / PACKED if path.is_dir() else path
    remedy = "train it by `gossamer train language`"
    header, tensors = packing.read_tensors(path, (FORMAT,), "classifier", remedy)
    with packing.refuse_damage(path, "classifier"):
        gradient_norms = tensors.pop("gradient_norms")
        trees = jax.tree.map(jnp.asarray, nest(tensors))
        trees.pop("common", None)  # of files of an earlier version
        return TrainedClassifier(
            cattrs.structure(json.loads(header["config"]), EncoderConfig),
            tuple(json.loads(header["classes"])),
            Tokenizer(json.loads(header["vocabulary"]), int(header["max_length"])),
            trees.pop("params"),
            [trees[name] for name in sorted(trees, key=lambda name: int(name.split("_")[1]))],
            gradient_norms,
            header["corpus"],
        )
