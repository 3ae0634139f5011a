"""The rows of a planned batch: read, resampled to another speed, joined and padded.

References:
    T. Ko et al., "Audio Augmentation for Speech Recognition", 2015.
"""

from collections.abc import Sequence

import numpy as np

from .augmentation import speed_perturb, tempo_perturb
from .batch_plan import Bucket, Item, PlannedBatch
from .corpora.alternatives import Alternatives, encode, join
from .corpora.corpus import Utterance, Utterances
from .text import BLANK_ID, Vocabulary

Batch = dict[str, np.ndarray]


def read_batch(
    step: int,
    planned: PlannedBatch,
    *,
    utterances: Utterances,
    usable: Sequence[int],
    vocabulary: Vocabulary,
    sample_rate: int,
    buckets: Sequence[Bucket],
    num_learners: int | None,
    alternatives: Alternatives | None = None,
    with_step: bool = False,
) -> Batch:
    """Reads, augments and pads the rows of a batch, or of a part of one.

    Args:
        step: number of the batch.
        planned: its bucket and its rows.
        utterances: a split of a corpus.
        usable: the indices into `utterances` of those that the plan counts.
        vocabulary: numbers the characters.
        sample_rate: Hz of the utterances.
        buckets: of the plan.
        num_learners: adds a leading axis of learners, or None.
        alternatives: see `loader.batches`.
        with_step: see `loader.batches`.

    Returns:
        A batch as the head of `loader` says.

    Raises:
        ValueError: if an utterance has another sample rate.
    """
    bucket, num_rows = buckets[planned.bucket], len(planned.items)
    samples = round(bucket.seconds * sample_rate)
    waveform = np.zeros((num_rows, samples), np.float32)
    waveform_paddings = np.ones_like(waveform)
    labels = np.full((num_rows, bucket.labels), BLANK_ID, np.int32)
    label_paddings = np.ones(labels.shape, np.float32)
    others = []
    for row, item in enumerate(planned.items):
        pieces = [utterances[usable[index]] for index in item.indices]
        sound, text = _join(item, pieces, vocabulary, sample_rate)
        if alternatives is not None:
            heard = [(piece.text, alternatives.get(piece.name, ())) for piece in pieces]
            others.append(join(heard, _separator(vocabulary)))
        sound = sound[:samples]  # resampling rounds up by less than a sample
        waveform[row, : len(sound)] = sound
        waveform_paddings[row, : len(sound)] = 0
        labels[row, : len(text)] = text
        label_paddings[row, : len(text)] = 0
    batch = {
        "waveform": waveform,
        "waveform_paddings": waveform_paddings,
        "labels": labels,
        "label_paddings": label_paddings,
    }
    if alternatives is not None:
        number = max([1, *map(len, alternatives.values())])
        batch["alternatives"], batch["alternative_paddings"] = encode(
            others, vocabulary, number=number, length=bucket.labels
        )
    if with_step:
        batch["step"] = np.full(num_rows, step, np.int32)
    if num_learners is None:
        return batch
    return {
        name: value.reshape(num_learners, -1, *value.shape[1:]) for name, value in batch.items()
    }


def _join(
    item: Item, utterances: Sequence[Utterance], vocabulary: Vocabulary, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """The waveform and the labels of one row."""
    pieces, texts = [], []
    for utterance, gap in zip(utterances, (*item.gaps, 0.0), strict=True):
        if utterance.sample_rate != sample_rate:
            raise ValueError(
                f"`sample_rate` must be that of the utterances, {utterance.sample_rate}, "
                f"got {sample_rate}."
            )
        waveform = speed_perturb(utterance.waveform, sample_rate, speed=item.speed)
        waveform = tempo_perturb(waveform, sample_rate, tempo=item.tempo)
        pieces += [waveform, np.zeros(int(gap * sample_rate), np.float32)]
        texts.append(utterance.text)
    return np.concatenate(pieces), vocabulary.encode(_separator(vocabulary).join(texts))


def _separator(vocabulary: Vocabulary) -> str:
    """What stands between utterances."""
    return " " if " " in vocabulary.characters else ""
