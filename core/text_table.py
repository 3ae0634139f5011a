"""Tables as plain text."""

from collections.abc import Collection, Sequence


def align(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Rows of cells as lines with aligned columns.

    Args:
        rows: cells, the same number in each row; the first row is the head.
        right: indices of the columns that stand to the right, such as numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            f"{cell:{'>' if index in right else '<'}{widths[index]}}"
            for index, cell in enumerate(row)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
