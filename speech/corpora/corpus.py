"""Corpora: recordings with transcripts, split into train, dev and test.

    telephone_prompts()  24 minutes of one professional voice at 8 kHz, bundled (CC BY-SA 3.0,
                         Allison Smith)
    manifest(path)       the user's own recordings in any language, listed in a TSV or JSON
                         Lines file
    switchboard(...)     Switchboard-1, Fisher and Hub5'00 from the discs of the LDC

They are written once as array_record files (see ``records``) and then read by random access.  The
preparation folder is ``data_dir``, else that of `core.data_folder`.
"""

import contextlib
import csv
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, overload

import numpy as np

from ...core import whole_file
from ...core.data_folder import default_data_dir
from ..text import Vocabulary
from . import ldc, manifest_file, records

PROMPTS = pathlib.Path(__file__).parents[1] / "prompts"
PROMPTS_SAMPLE_RATE = 8000  # Hz
ATTRIBUTION = (
    "Telephone prompts: Asterisk core sounds, US English, recorded by Allison Smith "
    "(theivrvoice.com), CC BY-SA 3.0"
)


class Word(NamedTuple):
    """A word of an utterance, as a forced alignment found it."""

    text: str
    start: float  # s, from the beginning of the utterance
    end: float  # s


class Utterance(NamedTuple):
    """What is said, and how it sounds."""

    name: str
    text: str  # normalized
    waveform: np.ndarray  # [samples] float32 in [-1, 1]
    sample_rate: int  # Hz


@dataclasses.dataclass(frozen=True)
class Utterances(Sequence[Utterance]):
    """Utterances by random access, with what a loader must know before it reads them.

    Attributes:
        read: loads the utterance of an index in ``0..len - 1``.
        seconds: ``[len]`` float64 durations.
        texts: normalized texts.
    """

    read: Callable[[int], Utterance]
    seconds: np.ndarray
    texts: tuple[str, ...]

    @classmethod
    def of(cls, utterances: Iterable[Utterance]) -> "Utterances":
        """Utterances that are in memory."""
        held = tuple(utterances)
        seconds = [len(utterance.waveform) / utterance.sample_rate for utterance in held]
        return cls(held.__getitem__, np.array(seconds), tuple(u.text for u in held))

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> "Utterances": ...
    def __getitem__(self, index):
        """One utterance, or some of them."""
        chosen = range(len(self))[index]
        if isinstance(chosen, int):
            return self.read(chosen)
        texts = tuple(self.texts[i] for i in chosen)
        return Utterances(_Chosen(self.read, chosen), self.seconds[index], texts)


class _Chosen(NamedTuple):
    """Reads by the indices of a slice."""

    read: Callable[[int], Utterance]
    indices: range

    def __call__(self, index: int) -> Utterance:
        return self.read(self.indices[index])


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Recordings of three splits in one sample rate and one vocabulary."""

    name: str
    train: Utterances
    dev: Utterances
    test: Utterances
    vocabulary: Vocabulary  # of all splits
    sample_rate: int  # Hz
    attribution: str = ""  # whom to name when results are shown
    train_words: tuple[tuple[Word, ...], ...] = ()  # of each training utterance, if aligned


def telephone_prompts(data_dir: str | os.PathLike[str] | None = None) -> Corpus:
    """The bundled telephone prompts.

    616 utterances, 24 minutes: 80% for training and 10% each for dev and test; no recording's
    transcript occurs in two splits. Characters are ``a-z``, apostrophe and space.

    Args:
        data_dir: folder of prepared data; see the head of this module for the default.

    Returns:
        The corpus at 8 kHz.

    Example:
        >>> corpus = telephone_prompts()  # doctest: +SKIP
        >>> corpus.dev[0].text  # doctest: +SKIP
        'agent login please enter your agent number followed by the pound key'
    """
    rows = prompt_rows()
    reading = records.Reading(PROMPTS_SAMPLE_RATE)
    corpus = _load("telephone_prompts", rows, reading, data_dir, attribution=ATTRIBUTION)
    train = [row for row in rows if row.split == "train"]
    return dataclasses.replace(corpus, train_words=_read_words(PROMPTS / "words.tsv", train))


def prompt_rows() -> list[records.Row]:
    """Where the utterances of the bundled telephone prompts come from."""
    return manifest_file.read(
        PROMPTS / "transcripts.tsv", language="en", split_seed=0, audio_suffix=".flac"
    )


def manifest(
    path: str | os.PathLike[str],
    *,
    sample_rate: int = 8000,
    language: str = "en",
    channel: int | None = None,
    vocabulary: Vocabulary | None = None,
    min_seconds: float = 0.1,
    max_seconds: float = 60.0,
    split_seed: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    data_dir: str | os.PathLike[str] | None = None,
) -> Corpus:
    """The user's own recordings.

    The file lists one utterance per line, as tab-separated values with a header or as JSON objects.
    Columns: ``audio`` (a path, relative to the list), ``text``, and optionally ``name``, ``split``
    (``train``, ``dev`` or ``test``), ``start`` and ``end`` in seconds, and ``channel``, from 0, of
    recordings with several.

    Args:
        path: a ``.tsv`` or ``.jsonl`` file.
        sample_rate: Hz of the corpus; recordings of other rates are resampled.
        language: ``"en"``, or any other code; see ``text.normalize``.
        channel: which channel of multi-channel recordings to take where the list says nothing;
            ``None`` refuses them.
        vocabulary: characters to accept, such as a trained recognizer's; all that occur if
            ``None``.
        min_seconds: shortest recording.
        max_seconds: longest recording.
        split_seed: without a column ``split``, equal texts go together to train, dev or test with
            the probabilities 0.8, 0.1 and 0.1, by a hash of this seed and the text.
        on_error: ``"raise"`` refuses the whole list at the first unusable line; ``"skip"`` leaves
            unusable lines out and warns of their number.
        data_dir: folder of prepared data; see the head of this module for the default.

    Returns:
        The corpus, named after the file.

    Raises:
        ManifestError: if the list, or with ``on_error="raise"`` one of its lines, is unusable.
        AudioError: if a recording is unusable, with ``on_error="raise"``, or if all are.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip', got {on_error!r}.")
    skipped: list[str] = []
    rows = manifest_file.read(
        path,
        language=language,
        vocabulary=vocabulary,
        split_seed=split_seed,
        skipped=skipped if on_error == "skip" else None,
    )
    reading = records.Reading(sample_rate, channel, min_seconds, max_seconds, on_error)
    name = pathlib.Path(path).stem
    return _load(name, rows, reading, data_dir, vocabulary=vocabulary, skipped=skipped)


def switchboard(
    folder: str | os.PathLike[str],
    sources: ldc.Sources,
    *,
    on_error: Literal["raise", "skip"] = "raise",
    data_dir: str | os.PathLike[str] | None = None,
) -> Corpus:
    """English telephone conversations of the LDC, which are licensed.

    Args:
        folder: where the list of recordings is written, see `ldc.build`.
        sources: where the corpora lie.
        on_error: see `manifest`.
        data_dir: folder of prepared data; see the head of this module for the default.

    Returns:
        The corpus; its test split is Hub5'00 if that is among the sources.

    Raises:
        AudioError: if a recording is unusable.
        ValueError: if a corpus is incomplete or has another form.

    Example:
        >>> sources = ldc.Sources(["LDC97S62"], ["swb_ms98_transcriptions"])
        >>> corpus = switchboard("swb", sources)  # doctest: +SKIP
    """
    ldc.build(folder, sources)
    path = pathlib.Path(folder) / f"{ldc.NAME}.tsv"
    return manifest(path, on_error=on_error, data_dir=data_dir)


def _read_words(path: pathlib.Path, rows: Sequence[records.Row]) -> tuple[tuple[Word, ...], ...]:
    """The words of each row, from a table of the words of whole recordings."""
    aligned: dict[str, list[Word]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            word = Word(line["word"], float(line["start"]), float(line["end"]))
            aligned.setdefault(line["name"], []).append(word)
    return tuple(
        tuple(
            Word(word.text, word.start - (row.start or 0.0), word.end - (row.start or 0.0))
            for word in aligned[row.path.relative_to(path.parent).with_suffix("").as_posix()]
            if (row.start or 0.0) - 0.01 < word.start < (row.end or math.inf)
        )
        for row in rows
    )


def _load(
    name: str,
    rows: Sequence[records.Row],
    reading: records.Reading,
    data_dir: str | os.PathLike[str] | None,
    *,
    vocabulary: Vocabulary | None = None,
    skipped: Sequence[str] = (),
    attribution: str = "",
) -> Corpus:
    """Prepares the rows and opens them."""
    builder = records.prepare(name, rows, reading, data_dir or default_data_dir())
    skipped = [*skipped, *builder.skipped]
    splits = {split: _open(builder, split, reading.sample_rate) for split in records.SPLITS}
    texts = [text for utterances in splits.values() for text in utterances.texts]
    records.warn_of_skipped(skipped, len(texts) + len(skipped))
    return Corpus(
        name=name,
        train=splits["train"],
        dev=splits["dev"],
        test=splits["test"],
        vocabulary=vocabulary or Vocabulary.of(texts),
        sample_rate=reading.sample_rate,
        attribution=attribution,
    )


def _open(builder: records.Recordings, split: str, sample_rate: int) -> Utterances:
    """One split. The first time durations and texts take a pass over it, and are then kept."""
    if split not in builder.info.splits or not builder.info.splits[split].num_examples:
        return Utterances.of(())
    reader = _Stored(builder.open(split), sample_rate)
    index = pathlib.Path(builder.data_dir) / f"index-{split}.json"
    try:
        facts = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        heard = map(reader, range(len(reader.source)))
        pairs = [(len(utterance.waveform), utterance.text) for utterance in heard]
        facts = dict(zip(("samples", "texts"), zip(*pairs, strict=True), strict=True))
        with contextlib.suppress(OSError):  # a folder that others prepared
            whole_file.write_text(index, json.dumps(facts, ensure_ascii=False))
    return Utterances(reader, np.array(facts["samples"]) / sample_rate, tuple(facts["texts"]))


class _Stored(NamedTuple):
    """Reads utterances from array_record files."""

    source: Sequence
    sample_rate: int  # Hz

    def __call__(self, index: int) -> Utterance:
        return Utterance(*records.decode(self.source[index]), self.sample_rate)
