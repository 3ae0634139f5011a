"""Corpora of labeled texts: fetched ones, made-up phrases, the user's own table.

Every corpus is written once as array_record files by a tensorflow-datasets builder (`records`) and
read from there.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.data_folder import default_data_dir
from . import corpora, phrases, records, table
from .corpora import Row
from .tokens import Tokenizer

CORPORA: dict[str, Callable[[], list[Row]]] = {
    "sentiment": lambda: corpora.read_sentiment("movie"),
    "sentiment-all": lambda: corpora.read_sentiment("all"),
    "news": corpora.read_news,
    "questions": corpora.read_questions,
    "spam": corpora.read_spam,
    "phrases": lambda: phrases.make_phrases(1200),
}


class Text(NamedTuple):
    """A text with its class."""

    name: str
    text: str
    label: int  # index into the classes of its corpus


class Corpus(NamedTuple):
    """Texts by split, and what their classes are called."""

    name: str
    classes: tuple[str, ...]
    train: list[Text]
    dev: list[Text]
    test: list[Text]


def load_corpus(name: str, data_dir: str | os.PathLike[str] | None = None) -> Corpus:
    """A corpus by its name, or a table of one's own.

    Args:
        name: one of `CORPORA`, or the path of a table in UTF-8 with tab-separated columns and a
            head: ``text`` and ``label``, and optionally ``split`` (train, dev or test; else a tenth
            of the texts goes to dev and a tenth to test).
        data_dir: folder of prepared data, by default in the cache.

    Returns:
        The corpus.

    Raises:
        ValueError: if there is none, or the table is unusable.

    Example:
        >>> corpus = load_corpus("phrases")
        >>> corpus.classes
        ('negative', 'positive')
    """
    if name in CORPORA:
        rows, label = CORPORA[name](), name
    elif Path(name).is_file():
        rows, label = read_table(name), "table"
    else:
        raise ValueError(f"no corpus {name!r}: give a table, or one of {', '.join(CORPORA)}.")
    classes = tuple(sorted({row.label for row in rows}))
    numbers = {label: number for number, label in enumerate(classes)}
    builder = records.prepare(label, rows, data_dir or default_data_dir() / "texts")

    def read(split: str) -> list[Text]:
        found = (
            {field: records.decode(value) for field, value in example.items()}
            for example in builder.open(split)
        )
        return [Text(each["name"], each["text"], numbers[each["label"]]) for each in found]

    return Corpus(name, classes, *(read(split) for split in records.SPLITS))


def read_table(path: str | os.PathLike[str]) -> list[Row]:
    """Rows of a table, see `load_corpus`.

    Raises:
        ValueError: if a column, a class or the training split is missing, naming the line.
    """
    rows = [
        Row(f"line-{number}", text, label, split)
        for number, (text, label), split in table.read(path, ("text", "label"))
    ]
    if len({row.label for row in rows if row.split == "train"}) < 2:
        raise ValueError(f"{path}: the training texts must have at least two classes.")
    if not any(row.split in ("dev", "test") for row in rows):
        raise ValueError(
            f"{path}: no texts for dev or test; give more, or name splits in a column."
        )
    return rows


def wmt14(
    languages: str = "de-en",
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
) -> Sequence[Any]:
    """Sentence pairs of WMT14, as tensorflow-datasets prepares them (gigabytes, network needed).

    Args:
        languages: one of its configurations: cs-en, de-en, fr-en, hi-en, ru-en.
        split: train, validation or test.
        data_dir: folder of prepared data, by default that of `core.data_folder`.

    Returns:
        Random access to ``{"de": ..., "en": ...}``.

    Raises:
        ValueError: if there is no such configuration, or it cannot be downloaded.
    """
    known = ("cs-en", "de-en", "fr-en", "hi-en", "ru-en")
    if languages not in known:
        raise ValueError(f"`languages` must be one of {', '.join(known)}, got {languages!r}.")
    return records.load_translations(
        f"wmt14_translate/{languages}", split, data_dir or default_data_dir()
    )


def as_arrays(texts: Sequence[Text], tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """Texts as examples of the losses in `losses`.

    Returns:
        "ids" [N, max_length] int32 and "label" [N] int32.
    """
    return {
        "ids": tokenizer.encode_all(each.text for each in texts),
        "label": np.array([each.label for each in texts], np.int32),
    }
