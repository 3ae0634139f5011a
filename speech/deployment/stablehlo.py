"""A recognizer as one portable program of JAX: StableHLO, with its parameters inside.

The file is read by `jax.export.deserialize` wherever JAX runs, without gossamer:

    program = jax.export.deserialize(Path("recognizer.stablehlo").read_bytes())
    labels, label_paddings, frames, scores = program.call(waveform, paddings)
"""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ...core import whole_file
from .. import recognizer
from ..fusion import FusedModels
from ..recognizer import Recognizer


def export(
    source: Recognizer,
    path: str | os.PathLike,
    *,
    batch: int = 1,
    seconds: float = 12.0,
    beam: int = 1,
    nbest: int = 1,
    language_models: FusedModels | None = None,
    platforms: Sequence[str] = ("cpu",),
) -> int:
    """Writes the program from samples to labels, atomically.

    Args:
        source: the recognizer.
        path: the file.
        batch: recordings that are read at once.
        seconds: the length that they are padded to.
        beam: hypotheses of the beam search; 1 is greedy search.
        nbest: sequences of each recording.
        language_models: what adds to the scores of the beam search.
        platforms: where it shall run: "cpu", "cuda", "tpu".

    Returns:
        Bytes of the file.

    Raises:
        ValueError: if the package that `jax.export` needs is not installed, or the recognizer reads
            together with others.
    """
    recognizer.check_alone(source)

    def read(waveform: jax.Array, paddings: jax.Array):
        static = (source.model, source.config.data, beam, nbest)
        found = recognizer.decode(*static, source.params, language_models, waveform, paddings)
        return tuple(found)

    length = round(seconds * source.config.data.sample_rate)
    shape = jax.ShapeDtypeStruct((batch, length), jnp.float32)
    program = jax.export.export(jax.jit(read), platforms=platforms)(shape, shape)
    try:
        content = program.serialize()
    except ImportError as error:
        raise ValueError(
            f"`jax.export` needs {error.name}: pip install '.[export]' in a checkout of gossamer."
        ) from error
    whole_file.write_bytes(path, content)
    return len(content)
