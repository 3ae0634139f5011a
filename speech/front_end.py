"""The features of a recording that a configuration asks for, unperturbed."""

import jax

from . import features
from .run_config import DataConfig


def recognizer_inputs(
    data: DataConfig, waveform: jax.Array, paddings: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What a recognizer reads.

    Args:
        data: the sample rate and the normalization.
        waveform: ``[..., samples]`` in [-1, 1].
        paddings: ``[..., samples]``, 1 at padded samples.

    Returns:
        Features ``[..., frames, 240]`` and paddings ``[..., frames]``, see `features.extract`.
    """
    return features.extract(
        waveform, data.sample_rate, waveform_paddings=paddings, normalization=data.normalization
    )


def transducer_inputs(
    data: DataConfig, batch: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What a transducer reads of a batch.

    Args:
        data: as in `recognizer_inputs`.
        batch: ``waveform`` and ``waveform_paddings`` ``[batch, samples]``, ``labels`` ``[batch,
            U]``.

    Returns:
        Features, paddings and labels, see `Transducer.survey`.
    """
    inputs, paddings = recognizer_inputs(data, batch["waveform"], batch["waveform_paddings"])
    return inputs, paddings, batch["labels"]
