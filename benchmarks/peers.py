"""Peers of the scripts beside this file: packages that are there only to be measured against."""

import importlib
from typing import Any


def require(module: str, package: str | None = None) -> Any:
    """A module that a script cannot do without.

    Args:
        module: its name.
        package: what brings it; by default the first part of the name.

    Raises:
        SystemExit: if it is missing, with the remedy.
    """
    package = package or module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SystemExit(f"{package} is missing; run `pip install {package}`.") from error


def find(module: str) -> Any | None:
    """A module whose part of a script is left out, and that is said, where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        print(f"{module} is missing and left out; `pip install {module}` adds it.")
        return None
