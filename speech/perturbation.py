"""What a training step changes of its batch: features, targets, and what the predictor reads.

Features are computed from waveforms; other recordings' energies are added before the logarithm's
normalization, SpecAugment masks after it, then come deltas and stacking, and on the stacked frames,
the encoder's inputs, changes of length.  Each part is off unless its field of the configuration
says otherwise, and has random numbers of its own: switching one on changes no other's draws.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from . import features
from .augmentation import length_perturb, sequence_noise, spec_augment
from .label_noise import nbest_smooth, sampling_rate, scheduled_sampling, switchout
from .run_config import SpeechConfig

Batch = dict[str, jax.Array]
TokenLogits = Callable[[jax.Array], jax.Array]  # labels [batch, U] -> [batch, U + 1, vocabulary]


def augmented_features(
    config: SpeechConfig, batch: Batch, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log-mel features with noise, normalized, masked, with deltas, stacked, perturbed in length.

    Args:
        config: the run.
        batch: ``waveform`` and ``waveform_paddings``, each ``[batch, samples]``; the labels, which
            must keep their place in the frames.
        key: random key of all that is drawn.

    Returns:
        Features ``[batch, frames, 240]`` and paddings ``[batch, frames]``.
    """
    # The masks split the same key, and take the first two.
    _, _, noise_key, length_key = jax.random.split(key, 4)
    log_mel, paddings = features.log_mel(
        batch["waveform"],
        config.data.sample_rate,
        waveform_paddings=batch["waveform_paddings"],
    )
    masks = config.augmentation
    noise, length = masks.sequence_noise, masks.length_perturb
    if noise.probability:
        log_mel = sequence_noise(
            noise_key, log_mel, paddings, probability=noise.probability, weight=noise.weight
        )
    log_mel = features.normalize(log_mel, paddings, config.data.normalization)
    log_mel = spec_augment(
        key,
        log_mel,
        paddings,
        num_time_masks=masks.num_time_masks,
        max_time_width=masks.max_time_width,
        max_time_fraction=masks.max_time_fraction,
        num_frequency_masks=masks.num_frequency_masks,
        max_frequency_width=masks.max_frequency_width,
    )
    inputs, paddings = features.assemble(log_mel, paddings)
    if not length.probability:
        return inputs, paddings
    return length_perturb(
        length_key,
        inputs,
        paddings,
        drop_fraction=length.drop_fraction,
        drop_run=length.drop_run,
        insert_fraction=length.insert_fraction,
        insert_run=length.insert_run,
        probability=length.probability,
        min_frames=frames_needed(batch["labels"], batch["label_paddings"], config.model.reduction),
    )


def frames_needed(labels: jax.Array, label_paddings: jax.Array, reduction: int) -> jax.Array:
    """The fewest input frames ``[batch]`` in which the auxiliary loss can place the labels.

    Each label takes a frame of the encoder, and a blank must stand between equal neighbors.
    """
    valid = label_paddings == 0
    repeats = (labels[:, 1:] == labels[:, :-1]) & valid[:, 1:]
    encoded = jnp.sum(valid, axis=1) + jnp.sum(repeats, axis=1)
    return reduction * (encoded - 1) + 1  # a part of a frame is one


def smoothed_targets(config: SpeechConfig, batch: Batch, key: jax.Array) -> Batch:
    """The batch with alternatives as labels of some rows, if the run asks for that."""
    if not config.label_noise.nbest:
        return batch
    labels, paddings = nbest_smooth(
        key,
        batch["labels"],
        batch["label_paddings"],
        batch["alternatives"],
        batch["alternative_paddings"],
        probability=config.label_noise.nbest,
    )
    return batch | {"labels": labels, "label_paddings": paddings}


def noisy_prefixes(
    config: SpeechConfig,
    batch: Batch,
    key: jax.Array,
    vocabulary_size: int,
    token_logits: TokenLogits | None,
) -> jax.Array:
    """The labels as the predictor reads them.

    Args:
        config: the run.
        batch: ``labels`` and ``label_paddings`` ``[batch, U]``; for scheduled sampling ``step``.
        key: random key.
        vocabulary_size: number of labels, the blank included.
        token_logits: the language model of scheduled sampling.

    Returns:
        ``[batch, U]``.
    """
    noise = config.label_noise
    labels, paddings = batch["labels"], batch["label_paddings"]
    sampling_key, switch_key = jax.random.split(key)
    prefixes = labels
    if noise.scheduled_sampling and token_logits is not None:
        progress = batch["step"][0] / config.optimizer.steps
        rate = sampling_rate(progress, final=noise.scheduled_sampling, ramp=noise.ramp)
        prefixes = scheduled_sampling(
            sampling_key, labels, paddings, token_logits(labels), rate=rate
        )
    if noise.switchout:
        prefixes = switchout(
            switch_key,
            prefixes,
            paddings,
            vocabulary_size=vocabulary_size,
            temperature=noise.switchout,
            exact=noise.switchout_exact,
        )
    return prefixes
