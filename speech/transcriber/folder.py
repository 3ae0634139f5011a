"""The folder of an exported recognizer: what is in it, and whether that is intact.

recognizer.json                     sizes, vocabulary, front end, and a checksum of every file
encoder.onnx predictor.onnx joiner.onnx
external.onnx source.onnx           language models, if any
front_end.npz                       matrices of the features
__main__.py gossamer/               the code that reads speech with them
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

FORMAT = "gossamer-export-1"
MANIFEST = "recognizer.json"


class ExportError(ValueError):
    """A folder that holds no intact recognizer; the message names the file and the remedy."""


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """The manifest of a folder whose files are what they were when it was written.

    Args:
        folder: by `gossamer export`.

    Returns:
        The fields of the manifest.

    Raises:
        ExportError: if there is none of this version, or a file is missing or was changed.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ExportError(
            f"{folder}: no exported recognizer there ({MANIFEST} is missing); write one by "
            "`gossamer export RUN`."
        ) from None
    except ValueError:
        raise ExportError(f"{path}: damaged; export the recognizer again.") from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise ExportError(
            f"{path}: format {found!r}, expected {FORMAT!r}; export the recognizer again with this "
            "version of gossamer."
        )
    if not isinstance(manifest.get("files"), dict):
        raise ExportError(f"{path}: damaged; export the recognizer again.")
    for name, expected in manifest["files"].items():
        if checksum(Path(folder) / name) != expected:
            raise ExportError(
                f"{Path(folder) / name}: missing, damaged or of another export; export the "
                "recognizer again."
            )
    return manifest


def checksum(path: str | os.PathLike) -> str | None:
    """SHA-256 of a file, None if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
