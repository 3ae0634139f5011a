"""NIST SPHERE files: what their headers say, and what to do with those that are compressed.

SPHERE is the format of the Linguistic Data Consortium. Its header is text: ``NIST_1A``, the size of
the header, and one field a line with its type, such as ``sample_coding -s4 ulaw``. libsndfile reads
files of linear, mu-law and A-law samples; it does not read samples that are compressed by Shorten
(``embedded-shorten-v2.00``), as some discs have them.

References:
    NIST, SPeech HEader REsources (SPHERE) package 2.6.
"""

import os
import pathlib

MAGIC = b"NIST_1A\n"
_LARGEST_HEADER = 1 << 16  # bytes; that of a real file has 1024

Value = str | int | float


def read_header(path: str | os.PathLike[str]) -> dict[str, Value]:
    """The fields of a SPHERE header.

    Args:
        path: a file.

    Returns:
        Values by name; empty if the file is not SPHERE, or its header is broken.

    Raises:
        OSError: if the file cannot be read.

    Example:
        >>> read_header("sw02001.sph")["sample_rate"]  # doctest: +SKIP
        8000
    """
    with pathlib.Path(path).open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return {}
        size = file.readline(16).strip()
        if not size.isdigit() or int(size) > _LARGEST_HEADER:
            return {}
        lines = file.read(int(size)).decode("latin-1").split("\n")
    fields: dict[str, Value] = {}
    for line in lines:
        if line.strip() == "end_head":
            return fields
        name, kind, value = (*line.split(maxsplit=2), "", "", "")[:3]
        try:
            fields[name] = {"-i": int, "-r": float}.get(kind, str)(value.strip())
        except ValueError:
            return {}
    return {}


def find_remedy(path: str | os.PathLike[str]) -> str | None:
    """Why libsndfile cannot read a SPHERE file, and what to do.

    Args:
        path: a file that libsndfile refused.

    Returns:
        A sentence, or ``None`` if the file is not SPHERE.
    """
    header = read_header(path)
    if not header:
        return None
    coding = str(header.get("sample_coding", "pcm"))
    name = pathlib.Path(path).stem
    convert = f"`sph2pipe -f wav {name}.sph {name}.wav`"
    if "shorten" in coding:
        return (
            f"its samples are compressed ({coding}); decode it by {convert}, or by NIST's "
            f"`w_decode -o pcm {name}.sph {name}.wav`"
        )
    return f"its SPHERE samples are coded as {coding!r}; convert it by {convert}"
