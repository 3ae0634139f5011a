"""The loss around the classifier of a finished run, see ``core.landscape_slice``."""

import json
from pathlib import Path

import jax
import numpy as np

from ..core import whole_file
from ..core.landscape_slice import filter_direction, slice_loss
from . import classifier
from .data import ImageData

SLICE = "slice.json"
NUMBER = 500  # images that the loss is a mean of


def measure(
    folder: str | Path, packed: str, data: ImageData, *, reach: float = 1.0, points: int = 11
) -> dict[str, list[float]]:
    """Loss on images for tests along a random direction, once for each folder.

    The statistics of batch norm stay those of the end of training.

    Args:
        folder: of a finished run; `slice.json` is written there.
        packed: name of the packed classifier in it.
        data: its images.
        reach: the largest distance, in lengths of the weights.
        points: number of positions from ``-reach`` to ``reach``.

    Returns:
        "positions" and "losses".

    Raises:
        ValueError: if there is no classifier.
    """
    path = Path(folder) / SLICE
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    if not (Path(folder) / packed).exists():
        raise ValueError(
            f"{folder}: the result is there without its model, around which the loss is to be "
            "measured; choose another folder with --run, where it is trained anew."
        )
    model = classifier.load(Path(folder) / packed)
    params = model.variables["params"]
    positions = np.linspace(-reach, reach, points)

    def loss(params):
        moved = model._replace(variables=model.variables | {"params": params})
        return classifier.evaluate(moved, data, number=NUMBER).loss

    direction = filter_direction(jax.random.key(0), params)
    losses = slice_loss(loss, params, direction, positions.tolist())
    found = {"positions": positions.tolist(), "losses": losses.tolist()}
    whole_file.write_text(path, json.dumps(found))
    return found
