"""The scripts in the folder benchmarks: what each is for, which peers it takes, on what it ran."""

import ast
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

OWN = Path(__file__).parents[1] / "benchmarks"  # of a checkout; a wheel has none
SHARED = ("peers", "plain_errors", "rate_figure", "turns")  # modules beside the scripts


class Script(NamedTuple):
    """A benchmark."""

    name: str
    purpose: str  # first line of its docstring
    peers: tuple[str, ...]  # packages of the `pip install` in its docstring
    path: Path

    def versions(self) -> dict[str, str]:
        """The version of each peer, empty where it is not installed."""
        return {peer: _version(peer) for peer in self.peers}


def find(folder: Path | None = None) -> dict[str, Script]:
    """All scripts of a folder by name; none if there is no such folder.

    Args:
        folder: by default that of the checkout which this is or, for an installed gossamer, of the
            one in which it is called.
    """
    if folder is None:
        here = Path("benchmarks").absolute()
        folder = here if not OWN.is_dir() and (here / "turns.py").exists() else OWN
    paths = [path for path in sorted(folder.glob("*.py")) if path.stem not in SHARED]
    return {path.stem: _read(path) for path in paths}


def describe_host() -> dict[str, str]:
    """Processor, cores that this process may use, memory and load."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"processor": _processor(), "cores": str(cores)}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return found | {"memory": f"{pages / 2**30:.0f} GiB", "load": f"{os.getloadavg()[0]:.1f}"}


def _read(path: Path) -> Script:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    purpose = text.partition("\n")[0].rstrip(".")
    commands = re.findall(r"^\s*pip install ([^#\n]+)", text, re.MULTILINE)
    words = [word for command in commands for word in command.split()]
    names = [re.sub(r"^\.\[(.*)\]$", r"\1", word.strip("'")) for word in words]  # '.[ray]' -> ray
    peers = tuple(re.split(r"[=<>~!]", name)[0] for name in names)
    return Script(path.stem, purpose, peers, path)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """Name, family and model of the processor where Linux tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines if x)}
    if "model name" not in known:
        return platform.machine()
    return f"{known['model name']} (family {known['cpu family']}, model {known['model']})"
