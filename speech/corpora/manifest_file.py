"""Lists of recordings with transcripts: tab-separated values with a header, or JSON Lines.

Columns: ``audio`` (or ``name``, from which a suffix makes the path), ``text``, and optionally
``name``, ``split``, ``start`` and ``end`` in seconds, and ``channel``, from 0. Every line is
checked before any recording is opened.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

from ..text import Vocabulary, normalize
from .records import SPLITS, Row


class ManifestError(ValueError):
    """A list, or a line of it, that cannot be used; the message names both and the remedy."""


def read(
    path: str | os.PathLike[str],
    *,
    language: str,
    split_seed: int,
    vocabulary: Vocabulary | None = None,
    audio_suffix: str | None = None,
    skipped: list[str] | None = None,
) -> list[Row]:
    """Reads a list of recordings.

    Args:
        path: a ``.tsv`` or ``.jsonl`` file.
        language: see ``text.normalize``.
        split_seed: seed of the hash that splits texts when there is no column ``split``.
        vocabulary: characters that texts may have; any if ``None``.
        audio_suffix: makes a path of a name when there is no column ``audio``.
        skipped: unusable lines are left out and their messages put here; ``None`` raises.

    Returns:
        One row per usable line, names unique (a repeated one gets its start time, its line number
        or both).

    Raises:
        ManifestError: if the file is missing, empty or of another kind, or a line is unusable.
    """
    path = pathlib.Path(path)
    rows: list[Row] = []
    names: set[str] = set()
    parse, lines = _open(path)
    for number, line in lines:
        try:
            columns = parse(line)
            if audio_suffix is not None:
                columns.setdefault("audio", f"{columns['name']}{audio_suffix}")
            row = _make_row(path, number, columns, language, split_seed)
            if vocabulary is not None:
                vocabulary.encode(row.text)
        except ValueError as error:
            message = f"{path}, line {number}: {error}"
            if skipped is None:
                raise ManifestError(message) from None
            skipped.append(message)
            continue
        if row.name in names and row.start is not None:
            row = row._replace(name=f"{row.name}@{row.start:g}")
        while row.name in names:
            row = row._replace(name=f"{row.name}:{number}")
        names.add(row.name)
        rows.append(row)
    if not rows:
        raise ManifestError(f"{path}: holds no usable line; add an audio path and a text.")
    return rows


_Columns = dict[str, Any]


def _open(path: pathlib.Path) -> tuple[Callable[[str], _Columns], list[tuple[int, str]]]:
    """A parser of single lines, and the lines to parse with their numbers from 1."""
    if path.suffix not in (".tsv", ".jsonl"):
        raise ManifestError(
            f"{path}: a list of recordings must be a .tsv file (with a header) or a .jsonl file, "
            f"got {path.suffix or 'no suffix'!r:.80}."
        )
    if not path.is_file():
        raise ManifestError(
            f"{path}: there is no such file; give another with `--data.corpus` (in training) or "
            "`--corpus`, or make it with `gossamer corpus` (see docs/data.md)."
        )
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 ({error}); save it in that encoding.") from None
    lines = [(n, line) for n, line in enumerate(content.split("\n"), start=1) if line.strip()]
    if path.suffix == ".jsonl" or not lines:
        return _parse_json, lines
    header = lines[0][1].rstrip("\r").split("\t")
    if "text" not in header or not {"audio", "name"} & set(header):
        raise ManifestError(
            f"{path}, line {lines[0][0]}: the header must name the columns `audio` and `text`, "
            f"separated by tabs, got {header!s:.80}."
        )
    return lambda line: _parse_cells(header, line), lines[1:]


def _parse_json(line: str) -> _Columns:
    try:
        columns = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error}); write one object per line.") from None
    if not isinstance(columns, dict):
        raise ValueError(f"must be a JSON object, got {type(columns).__name__}.")
    return columns


def _parse_cells(header: list[str], line: str) -> _Columns:
    cells = line.rstrip("\r").split("\t")
    if len(cells) != len(header):
        raise ValueError(
            f"has {len(cells)} tab-separated cells, the header {len(header)}; "
            "fill in or remove cells."
        )
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def _make_row(
    path: pathlib.Path, number: int, columns: _Columns, language: str, split_seed: int
) -> Row:
    """Checks the columns of a line."""
    for column in ("audio", "text"):
        if not isinstance(columns.get(column), str):
            found = columns.get(column)
            raise ValueError(f"`{column}` must be text, got {found!r:.80}; fill it in.")
    text = normalize(columns["text"], language=language)
    if not text:
        found = columns["text"]
        raise ValueError(f"`text` must hold words, got {found!r:.80}; leave the line out.")
    split = columns.get("split") or _choose_split(text, split_seed)
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}, got {split!r:.80}.")
    return Row(
        name=str(columns.get("name") or columns["audio"]),
        split=split,
        path=path.parent / columns["audio"],
        start=_parse_seconds(columns, "start"),
        end=_parse_seconds(columns, "end"),
        text=text,
        source=f"{path}, line {number}",
        channel=_parse_channel(columns.get("channel")),
    )


def _parse_seconds(columns: _Columns, column: str) -> float | None:
    value = columns.get(column)
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"`{column}` must be a number of seconds >= 0, got {value!r:.80}.")
    return seconds


def _parse_channel(value: Any) -> int | None:
    if value is None:
        return None
    if not re.fullmatch("[0-9]+", str(value)):
        raise ValueError(f"`channel` must be a whole number >= 0, got {value!r:.80}.")
    return int(value)


def _choose_split(text: str, seed: int) -> str:
    """Train, dev or test with probability 0.8, 0.1, 0.1, by a hash of the text."""
    digest = hashlib.sha256(f"{seed}:{text}".encode()).digest()
    tenth = int.from_bytes(digest[:8], "big") * 10 >> 64
    return {0: "test", 1: "dev"}.get(tenth, "train")
