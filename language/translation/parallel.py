"""Parallel texts: made by rules, the user's own, or WMT14.

All are read from array_record files, which a tensorflow-datasets builder writes once.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

from ...core import whole_file
from ...core.data_folder import default_data_dir
from .. import corpora, data, records, table
from . import grammar

WMT14 = "wmt14/"  # followed by two languages, such as en-de
SENTENCES = 12_000
BLOCK = 1024  # records that are read together


class Pair(NamedTuple):
    """A text and its translation."""

    source: str
    target: str


class ParallelText(NamedTuple):
    """Pairs by split."""

    name: str
    train: Sequence[Pair]
    dev: Sequence[Pair]
    test: Sequence[Pair]


class _Row(NamedTuple):
    source: str
    target: str
    split: str


class Pairs(Sequence[Pair]):
    """Pairs of a source of records, decoded as they are asked for.

    Args:
        source: random access to ``{field: bytes or str}``.
        fields: those of the source text and of the target text.
    """

    def __init__(self, source: Sequence[Any], fields: tuple[str, str] = ("source", "target")):
        self._source, self._fields = source, fields

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Pair]": ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._decode(self._source[index])

    def __iter__(self) -> Iterator[Pair]:
        read_many = getattr(self._source, "__getitems__", None)  # several times as fast
        for start in range(0, len(self), BLOCK):
            numbers = range(start, min(start + BLOCK, len(self)))
            found = (
                read_many(list(numbers)) if read_many else map(self._source.__getitem__, numbers)
            )
            yield from map(self._decode, found)

    def _decode(self, record: Mapping[str, Any]) -> Pair:
        return Pair(*(records.decode(record[field]) for field in self._fields))


def load_parallel(
    name: str,
    targets: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> ParallelText:
    """A parallel text by its name, or one's own.

    Args:
        name: ``sentences``, English and German by the rules of `grammar`; ``wmt14/en-de`` or two
            other languages of WMT14 (gigabytes, network needed); the path of a table in UTF-8 with
            tab-separated columns and a head, ``source``, ``target`` and optionally ``split``
            (train, dev or test; else a tenth of the texts goes to dev and a tenth to test); or,
            with `targets`, the path of a text with one sentence for each line.
        targets: path of the translations, line by line.
        data_dir: folder of prepared data, by default in the cache.

    Returns:
        The text; no source text of a table or of lines stands in two splits.

    Raises:
        ValueError: if there is none, or it is unusable.

    Example:
        >>> load_parallel("sentences").train[0].source
        'No doctors must look for no apple.'
    """
    if name.startswith(WMT14):
        return _wmt14(name, data_dir)
    readers: dict[str, Callable[[], list[_Row]]] = {"sentences": make_sentences}
    if name in readers and targets is None:
        rows, label = readers[name](), name
    elif Path(name).is_file():
        rows = read_table(name) if targets is None else read_lines(name, targets)
        label = "pairs"
    else:
        raise ValueError(
            f"no parallel text {name!r}: give `sentences`, `wmt14/en-de`, the path of a table, or "
            "with `--data.targets` that of a text."
        )
    missing = [split for split in records.SPLITS if not any(row.split == split for row in rows)]
    if missing:
        raise ValueError(
            f"{name}: no pairs for {' and '.join(missing)} among {len(rows)}; give more, or a "
            "column `split` with all of them."
        )
    builder = records.prepare(label, rows, data_dir or default_data_dir() / "texts")
    return ParallelText(name, *(Pairs(builder.open(split)) for split in records.SPLITS))


def make_sentences(number: int = SENTENCES, *, seed: int = 0) -> list[_Row]:
    """Sentences by the rules of `grammar`, a twentieth each for dev and test."""
    splits = {0: "dev", 1: "test"}
    drawn = grammar.draw_sentences(number, seed=seed)
    return [_Row(*pair, splits.get(place % 20, "train")) for place, pair in enumerate(drawn)]


def read_table(path: str | os.PathLike[str]) -> list[_Row]:
    """Rows of a table, see `load_parallel`.

    Raises:
        ValueError: if a column is missing or a text empty, naming the line.
    """
    lines = table.read(path, ("source", "target"))
    return _once([_Row(source, target, split) for _, (source, target), split in lines])


def read_lines(sources: str | os.PathLike[str], targets: str | os.PathLike[str]) -> list[_Row]:
    """Rows of two texts, line by line; pairs with an empty side are left out.

    Raises:
        ValueError: if one text is longer than the other, or none.
    """
    texts = []
    for path in (sources, targets):
        try:
            # Other separators, such as U+2028, may stand within a line.
            texts.append(Path(path).read_text(encoding="utf-8-sig").rstrip("\n").split("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}: must be a text in UTF-8 ({whole_file.reason(error)})."
            ) from None
    if len(texts[0]) != len(texts[1]):
        raise ValueError(
            f"`targets` must have as many lines as the text it translates, got {len(texts[1])} in "
            f"{targets} and {len(texts[0])} in {sources}."
        )
    pairs = ((x.strip(), y.strip()) for x, y in zip(*texts, strict=True))
    return _once([_Row(x, y, corpora.assign_split(x)) for x, y in pairs if x and y])


def _once(rows: list[_Row]) -> list[_Row]:
    """Rows without those whose source stands in an earlier split: test, dev, train."""
    taken: dict[str, str] = {}
    for split in ("test", "dev", "train"):
        for row in rows:
            if row.split == split:
                taken.setdefault(row.source, split)
    return [row for row in rows if taken[row.source] == row.split]


def _wmt14(name: str, data_dir: str | os.PathLike[str] | None) -> ParallelText:
    source, _, target = name.removeprefix(WMT14).partition("-")
    languages = f"{source}-{target}" if target == "en" else f"{target}-{source}"
    splits = ("train", "validation", "test")
    found = (Pairs(data.wmt14(languages, split, data_dir), (source, target)) for split in splits)
    return ParallelText(name, *found)
