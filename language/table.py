"""Tables of one's own texts: tab-separated columns with a header, in UTF-8."""

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

from . import corpora, records


class Line(NamedTuple):
    """A line of a table."""

    number: int  # in the file, from 1
    cells: tuple[str, ...]  # of the columns asked for, none empty
    split: str


def read(path: str | os.PathLike[str], columns: Sequence[str]) -> list[Line]:
    """Reads a table.

    Args:
        path: the file.
        columns: those that every line must fill; without a column ``split`` the first one's text
            decides which split a line belongs to.

    Raises:
        ValueError: if the file is no table in UTF-8 or a line lacks a column, naming the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: must be a table in UTF-8 ({error}).") from None
    lines = []
    for number, row in enumerate(rows, start=2):
        cells = tuple((row.get(column) or "").strip() for column in columns)
        split = (row.get("split") or corpora.assign_split(cells[0])).strip()
        if not all(cells) or split not in records.SPLITS:
            raise ValueError(
                f"{path}, line {number}: a line must have a {', a '.join(columns)} and, if any, a "
                f"split of {', '.join(records.SPLITS)}; its columns are {list(row)!s:.80}."
            )
        lines.append(Line(number, cells, split))
    return lines
