"""The recordings a run trains on, as batches of all learners or of each one alone."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import loader
from .corpora import alternatives, corpus, manifest_file, splicing
from .corpora.corpus import Corpus, Utterances
from .corpora.records import Row
from .run_config import SpeechConfig

SPLICE_REPEATS = 4  # passes over the recordings before the same spliced sentences come again


def load_corpus(config: SpeechConfig) -> Corpus:
    """Opens the corpus that a configuration names.

    Args:
        config: the run; `data.corpus` is ``prompts`` or the path of a manifest.

    Returns:
        The corpus.

    Raises:
        ValueError: if the manifest cannot be read.
    """
    if config.data.corpus == "prompts":
        return corpus.telephone_prompts()
    return corpus.manifest(
        config.data.corpus,
        sample_rate=config.data.sample_rate,
        language=config.data.language,
        on_error=config.data.on_error,
    )


def load_rows(config: SpeechConfig) -> list[Row]:
    """Where the utterances of the corpus that a configuration names come from.

    Args:
        config: the run.

    Returns:
        The lines of the list of recordings, among them all that `load_corpus` gives, by name.

    Raises:
        ValueError: if the list cannot be read.
    """
    if config.data.corpus == "prompts":
        return corpus.prompt_rows()
    skipped = [] if config.data.on_error == "skip" else None
    return manifest_file.read(
        config.data.corpus, language=config.data.language, split_seed=0, skipped=skipped
    )


def training_batches(config: SpeechConfig, data: Corpus) -> Iterator[Any]:
    """The batches of a run, without end, with a resumable position."""
    return loader.batches(training_utterances(config, data), data.vocabulary, **_options(config))


def learner_batches(config: SpeechConfig, data: Corpus) -> Callable[[int, int], loader.Batch]:
    """``(learner, step) -> batch``: the rows of each learner in `training_batches`."""
    return loader.shards(training_utterances(config, data), data.vocabulary, **_options(config))


@dataclasses.dataclass(frozen=True)
class RemoteBatches:
    """`learner_batches` for another process, which opens the corpus itself at the first call.

    Attributes:
        config: the run; the paths of a manifest and of alternatives must be valid there.
    """

    config: SpeechConfig

    @classmethod
    def of(cls, config: SpeechConfig) -> "RemoteBatches":
        """Those of a run in this folder, from any folder."""
        data, noise = config.data, config.label_noise
        if data.corpus != "prompts":
            data = dataclasses.replace(data, corpus=str(Path(data.corpus).resolve()))
        if noise.alternatives is not None:
            path = str(Path(noise.alternatives).resolve())
            noise = dataclasses.replace(noise, alternatives=path)
        return cls(dataclasses.replace(config, data=data, label_noise=noise))

    def __call__(self, learner: int, step: int) -> loader.Batch:
        """The batch of a learner's step."""
        return _open_batches(self.config)(learner, step)


@functools.lru_cache(maxsize=1)
def _open_batches(config: SpeechConfig) -> Callable[[int, int], loader.Batch]:
    return learner_batches(config, load_corpus(config))


def training_utterances(config: SpeechConfig, data: Corpus) -> Utterances:
    """The training split, with spliced sentences if the run has any."""
    if config.data.spliced == 0 or not data.train_words:
        return data.train
    return splicing.splice(
        data.train,
        data.train_words,
        number=int(config.data.spliced * SPLICE_REPEATS * len(data.train)),
        repeats=SPLICE_REPEATS,
        seed=config.seed,
    )


def _options(config: SpeechConfig) -> dict[str, Any]:
    noise = config.label_noise
    return {
        "alternatives": alternatives.read(noise.alternatives or "") if noise.nbest else None,
        "with_step": noise.scheduled_sampling > 0,
        "sample_rate": config.data.sample_rate,
        "buckets": config.data.buckets,
        "on_error": config.data.on_error,
        "num_learners": config.learners.number,
        "seed": config.seed,
        "speed": config.data.speed,
        "tempo": config.data.tempo,
        "join_probability": config.data.join_probability,
    }
