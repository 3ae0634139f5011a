"""Batches of speech for training and evaluation, on grain.

Training batches have few shapes, one per bucket, because each costs a compilation. Batch ``i`` is
a pure function of the seed (see ``batch_plan``), so the iterator's state is a number: a run that
resumes from it sees the batches it would have seen. Recordings are read, resampled to another
speed (Ko et al., Audio Augmentation for Speech Recognition, 2015) and joined in background
threads.

A batch is a dict with, in optax's ``ctc_loss`` convention (padding on the right, 1 = padded),

    waveform           [batch, samples] float32
    waveform_paddings  [batch, samples] float32
    labels             [batch, labels] int32
    label_paddings     [batch, labels] float32

if asked for

    alternatives           [batch, number, labels] int32, see ``alternatives``
    alternative_paddings   [batch, number, labels] float32
    step                   [batch] int32, the number of the batch, the same in all rows

and, with ``num_learners``, a leading axis that gives every learner its own shard of the rows.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import grain
import numpy as np

from . import batch_plan
from .batch_plan import Bucket, Lengths
from .batch_reading import Batch, read_batch
from .corpora.alternatives import Alternatives, check
from .corpora.corpus import Utterances
from .text import Vocabulary

DEFAULT_BUCKETS = ((1.5, 64), (3.0, 32), (5.5, 16), (12.0, 8))
# Fast readers reach 15 characters a second; a text that is denser than the bound moves up a bucket.
LABELS_PER_SECOND = 18.0


def batches(
    utterances: Utterances,
    vocabulary: Vocabulary,
    *,
    sample_rate: int,
    buckets: Sequence[tuple[float, int]] = DEFAULT_BUCKETS,
    num_learners: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    num_epochs: int | None = None,
    speed: tuple[float, float] = (1.0, 1.0),
    tempo: tuple[float, float] = (1.0, 1.0),
    join_probability: float = 0.0,
    labels_per_second: float = LABELS_PER_SECOND,
    on_error: Literal["raise", "skip"] = "raise",
    alternatives: Alternatives | None = None,
    with_step: bool = False,
    num_threads: int = 2,
) -> grain.DatasetIterator[Batch]:
    """Training batches, with ``get_state()`` and ``set_state(state)`` to resume.

    Args:
        utterances: a split of a corpus.
        vocabulary: numbers the characters.
        sample_rate: Hz of the utterances.
        buckets: longest row in seconds and number of rows (over all learners), ascending.
        num_learners: adds the leading axis; must divide every number of rows.
        seed: of the order and of all augmentation.
        shuffle: anew each epoch.
        num_epochs: ``None`` never ends. Rows that fill no batch are carried to the next epoch;
            after the last one, rows are repeated to fill the last batch of each bucket.
        speed: range of the uniformly drawn speed; (1, 1) leaves recordings as they are.
        tempo: range of the uniformly drawn tempo, which leaves the pitch as it is.
        join_probability: that an utterance is joined with one or two others, 0.1 to 0.3 s apart.
        labels_per_second: bounds the number of labels of a bucket.
        on_error: whether utterances that no bucket holds, or that have unknown characters, are
            refused or left out with a counted warning.
        alternatives: other transcripts of utterances by their names; those that are longer than
            the bucket's labels are left out.
        with_step: whether to tell the number of the batch.
        num_threads: background readers; 0 reads in the calling thread.

    Returns:
        An iterator over batches.

    Raises:
        ValueError: if an option is out of range or, with ``on_error="raise"``, an utterance is
            unusable.

    Example:
        >>> stream = batches(corpus.train, corpus.vocabulary, sample_rate=8000)  # doctest: +SKIP
        >>> batch = next(stream)  # doctest: +SKIP
    """
    plan, load = _prepare(
        utterances,
        vocabulary,
        sample_rate=sample_rate,
        buckets=buckets,
        num_learners=num_learners,
        seed=seed,
        shuffle=shuffle,
        num_epochs=num_epochs,
        speed=speed,
        tempo=tempo,
        join_probability=join_probability,
        labels_per_second=labels_per_second,
        on_error=on_error,
        alternatives=alternatives,
        with_step=with_step,
    )
    load = functools.partial(load, num_learners=num_learners)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=4 * num_threads)
    return iter(grain.MapDataset.source(plan).map_with_index(load).to_iter_dataset(options))


def shards(
    utterances: Utterances, vocabulary: Vocabulary, *, num_learners: int, **options
) -> Callable[[int, int], Batch]:
    """The same batches by random access, one learner's rows at a time.

    Args:
        utterances: a split of a corpus.
        vocabulary: numbers the characters.
        num_learners: must divide every number of rows.
        **options: of `batches`, except `num_threads`.

    Returns:
        ``shard(learner, step) -> batch``, row `learner` of batch number `step` of
        ``batches(..., num_learners=num_learners)``.  It reads nothing else, and in the calling
        thread.

    Raises:
        ValueError: see `batches`.

    Example:
        >>> shard = shards(
        ...     corpus.train, corpus.vocabulary, num_learners=4, sample_rate=8000
        ... )  # doctest: +SKIP
        >>> batch = shard(3, 0)  # doctest: +SKIP
    """
    plan, load = _prepare(utterances, vocabulary, num_learners=num_learners, **options)

    def shard(learner: int, step: int) -> Batch:
        planned = plan[step]
        rows = len(planned.items) // num_learners
        items = planned.items[learner * rows : (learner + 1) * rows]
        return load(step, planned._replace(items=items), num_learners=None)

    return shard


def _prepare(
    utterances: Utterances,
    vocabulary: Vocabulary,
    *,
    sample_rate: int,
    buckets: Sequence[tuple[float, int]] = DEFAULT_BUCKETS,
    num_learners: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    num_epochs: int | None = None,
    speed: tuple[float, float] = (1.0, 1.0),
    tempo: tuple[float, float] = (1.0, 1.0),
    join_probability: float = 0.0,
    labels_per_second: float = LABELS_PER_SECOND,
    on_error: Literal["raise", "skip"] = "raise",
    alternatives: Alternatives | None = None,
    with_step: bool = False,
) -> tuple[batch_plan.BatchPlan, Callable[..., Batch]]:
    """The plan of all batches, and ``load(step, planned, num_learners=...)``; see `batches`."""
    shapes = batch_plan.make_buckets(buckets, labels_per_second=labels_per_second)
    if num_learners is not None and any(
        num_learners < 1 or shape.rows % num_learners for shape in shapes
    ):
        raise ValueError(
            f"`num_learners` must divide the rows of every bucket, got {num_learners} learners and "
            f"{[shape.rows for shape in shapes]} rows; change `buckets`."
        )
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip', got {on_error!r}.")
    for name, factors in (("speed", speed), ("tempo", tempo)):
        if not 0 < factors[0] <= factors[1]:
            raise ValueError(f"`{name}` must be a range of positive factors, got {factors}.")
    if not 0 <= join_probability <= 1:
        raise ValueError(f"`join_probability` must be in [0, 1], got {join_probability}.")
    if num_epochs is not None and num_epochs < 1:
        raise ValueError(f"`num_epochs` must be positive or None, got {num_epochs}.")
    if alternatives is not None:
        check(alternatives, vocabulary)
    usable = _usable(utterances, vocabulary, shapes[-1], on_error)
    lengths = Lengths(
        np.array([utterances.seconds[i] for i in usable], np.float64),
        np.array([len(utterances.texts[i]) for i in usable], np.int64),
    )
    plan = batch_plan.BatchPlan(
        lengths,
        shapes,
        seed=seed,
        num_epochs=num_epochs,
        shuffle=shuffle,
        speed=speed,
        tempo=tempo,
        join_probability=join_probability,
    )
    load = functools.partial(
        read_batch,
        utterances=utterances,
        usable=usable,
        vocabulary=vocabulary,
        sample_rate=sample_rate,
        buckets=shapes,
        alternatives=alternatives,
        with_step=with_step,
    )
    return plan, load


def evaluation_batches(
    utterances: Utterances,
    vocabulary: Vocabulary,
    *,
    sample_rate: int,
    buckets: Sequence[tuple[float, int]] = DEFAULT_BUCKETS,
    labels_per_second: float = LABELS_PER_SECOND,
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Every utterance once, bucket by bucket in the order of the split.

    Args:
        utterances: a split of a corpus; all must fit the last bucket.
        vocabulary: numbers the characters.
        sample_rate: Hz of the utterances.
        buckets: longest row in seconds and number of rows, ascending.
        labels_per_second: bounds the number of labels of a bucket.

    Yields:
        ``[batch]`` int32 indices into ``utterances`` and their batch. Rows that only fill up the
        last batch of a bucket repeat others and have the index -1.
    """
    shapes = batch_plan.make_buckets(buckets, labels_per_second=labels_per_second)
    usable = _usable(utterances, vocabulary, shapes[-1], "raise")
    lengths = Lengths(
        np.asarray(utterances.seconds, np.float64),
        np.array([len(text) for text in utterances.texts], np.int64),
    )
    plan = batch_plan.BatchPlan(lengths, shapes, seed=0, num_epochs=1, shuffle=False)
    seen: set[int] = set()
    for planned in plan:
        indices = np.full(len(planned.items), -1, np.int32)
        for row, item in enumerate(planned.items):
            if item.indices[0] not in seen:
                indices[row] = item.indices[0]
                seen.add(item.indices[0])
        yield (
            indices,
            read_batch(
                0,
                planned,
                utterances=utterances,
                usable=usable,
                vocabulary=vocabulary,
                sample_rate=sample_rate,
                buckets=shapes,
                num_learners=None,
            ),
        )


def _usable(
    utterances: Utterances, vocabulary: Vocabulary, largest: Bucket, on_error: str
) -> list[int]:
    """The indices of the utterances that fit the vocabulary and the largest bucket."""
    usable, messages = [], []
    for index, (seconds, text) in enumerate(zip(utterances.seconds, utterances.texts, strict=True)):
        if unknown := vocabulary.unknown(text):
            problem = f"has characters outside the vocabulary: {unknown!r}; build it from the texts"
        elif seconds > largest.seconds:
            problem = f"lasts {seconds:.2f} s, over {largest.seconds:g} s; add a longer bucket"
        elif len(text) > largest.labels:
            problem = f"has {len(text)} labels, over {largest.labels}; raise `labels_per_second`"
        elif not text or seconds <= 0:
            problem = "has no text or no samples; remove it"
        else:
            usable.append(index)
            continue
        messages.append(f"{utterances[index].name} {problem}")
    if messages and on_error == "raise":
        raise ValueError(
            f"`utterances`: {messages[0]}, or pass on_error='skip' ({len(messages)} unusable)."
        )
    if messages:
        warnings.warn(
            f"Left out {len(messages)} of {len(utterances)} utterances, first: {messages[0]}.",
            stacklevel=3,
        )
    if not usable:
        raise ValueError("`utterances` must hold at least one usable utterance, got none.")
    return usable
