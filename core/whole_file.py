"""Files that appear whole or not at all.

A file is written under another name beside its own and renamed when it is complete, so that a
process that is killed, or a disk that is full, leaves what was there before.  Of a file that cannot
be read, `reason` says why.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def draft(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends.

    When the block fails the draft is removed and the file at `path` stays as it was.  The name ends
    in ``.part``, so writers that look at the ending must be told their format.

    Args:
        path: where the file goes; its folder must exist.

    Example:
        >>> with draft("table.csv") as part:
        ...     part.write_text("1,2")
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text in UTF-8, all of it or nothing."""
    with draft(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], content: bytes | bytearray) -> None:
    """Writes bytes, all of them or none."""
    with draft(path) as part:
        part.write_bytes(content)


def reason(error: Exception) -> str:
    """Why a file cannot be read, without its name, which the message has already."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return (isinstance(error, OSError) and error.strerror) or str(error)
