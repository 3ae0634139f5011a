"""A trained image classifier and its packed file.

A packed classifier is one safetensors file: parameters and statistics in half precision or as
packed codes (see ``core.packing``), and in the header the configuration, the names of the classes
and the scale of pixels as JSON.
"""

import json
import os
from typing import Any, NamedTuple

import cattrs
import jax
import numpy as np

from ..core import packing
from . import models
from .data import ImageData, Scale
from .loader import evaluation_batches
from .models import Network
from .policies import named_policy
from .run_config import NetworkConfig, VisionConfig

FORMAT = "gossamer-image-classifier-1"


class Classifier(NamedTuple):
    """A network, its variables, and what they mean."""

    config: VisionConfig
    class_names: tuple[str, ...]
    scale: Scale
    variables: Any  # "params", "batch_stats" and, if quantized, "clips"

    @property
    def network(self) -> Network:
        """The network of the variables."""
        return create_network(self.config.network, len(self.class_names))


class Score(NamedTuple):
    """How well a classifier does on labeled images."""

    loss: float  # mean cross entropy
    accuracy: float  # share of images whose class is the likeliest, 0 to 1
    top5: float  # share whose class is among the five likeliest
    number: int  # of images


def create_network(config: NetworkConfig, num_classes: int) -> Network:
    """The network of a configuration."""
    return models.create(
        config.name,
        num_classes,
        width=config.width,
        dtype=config.precision,
        policy=named_policy(config.quantize),
    )


def evaluate(
    classifier: Classifier, data: ImageData, *, batch_size: int = 200, number: int | None = None
) -> Score:
    """Scores a classifier on the images for tests.

    Args:
        classifier: the classifier.
        data: the data set, of the same classes.
        batch_size: of an evaluation batch.
        number: of images, from the first; None for all.

    Raises:
        ValueError: if the classes are others.
    """
    if data.class_names != classifier.class_names:
        raise ValueError(
            f"`data` must have the classes of the model, {list(classifier.class_names)[:5]}, got "
            f"{list(data.class_names)[:5]}."
        )
    # Otherwise all devices of the learners that were averaged would do the same.
    variables = jax.device_put(classifier.variables, jax.local_devices()[0])
    totals = np.zeros(4)
    size = classifier.config.data.size
    for batch, valid in evaluation_batches(data, batch_size=batch_size, size=size, number=number):
        logits = np.asarray(_logits(classifier.network, variables, batch["images"]))[valid]
        labels = np.argmax(batch["targets"][valid], axis=-1)
        right = logits[np.arange(len(labels)), labels]
        rank = np.sum(~(logits <= right[:, None]), axis=-1)  # last where there are no numbers
        with np.errstate(invalid="ignore"):  # a model that diverged has a loss of NaN
            losses = np.logaddexp.reduce(logits.astype(np.float64), axis=-1) - right
        totals += [np.sum(losses), np.sum(rank < 1), np.sum(rank < 5), len(labels)]
    loss, first, five, total = totals
    return Score(loss / total, first / total, five / total, int(total))


@jax.jit(static_argnums=0)
def _logits(network: Any, variables: Any, images: jax.Array) -> jax.Array:
    return network.apply(variables, images)


def save(path: str | os.PathLike, classifier: Classifier) -> None:
    """Packs a classifier into one file, atomically."""
    header = {
        "format": FORMAT,
        "config": json.dumps(cattrs.unstructure(classifier.config)),
        "classes": json.dumps(classifier.class_names, ensure_ascii=False),
        "scale": json.dumps(cattrs.unstructure(classifier.scale)),
    }
    packing.write(path, classifier.variables, header)


def load(path: str | os.PathLike) -> Classifier:
    """Unpacks a classifier.

    Raises:
        ValueError: if the file is none.
    """

    def build(header: dict[str, str], variables: dict[str, Any]) -> Classifier:
        return Classifier(
            cattrs.structure(json.loads(header["config"]), VisionConfig),
            tuple(json.loads(header["classes"])),
            cattrs.structure(json.loads(header["scale"]), Scale),
            variables,
        )

    remedy = "`gossamer train vision` with its run folder packs it"
    return packing.read(path, [FORMAT], "classifier", remedy, build)
