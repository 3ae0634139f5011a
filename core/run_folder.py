"""One folder per run: what was run, under which versions, from which seed.

    config.json        the configuration, a dataclass as JSON
    versions.json      Python and package versions, platform and devices
    seed               the seed of the run, in decimal digits
    metrics.jsonl      see `metrics`; beside it the event files of TensorBoard
    checkpoints/       see `checkpoint`; best/ keeps the best one by a validation metric

Opening a folder again continues its run, and only that run: another configuration is refused.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from . import processes, whole_file

PACKAGES = ("gossamer", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
OWN_FILES = {"versions.json", "seed"}


def open_run(
    folder: str | Path, config: Any, *, seed: int, free_fields: Collection[str] = ()
) -> Path:
    """Makes a run folder, or opens it again to continue the run in it.

    Args:
        folder: where the run lives.
        config: a dataclass (or dict) of numbers, strings, sequences, dicts and dataclasses.
        seed: the seed of the run.
        free_fields: dotted names of fields that may change when the run continues, such as
            "progress".

    Returns:
        The folder, as a path.

    Raises:
        ValueError: if the folder belongs to a run with another configuration or seed, or holds
            files but no run.

    Example:
        >>> folder = open_run("runs/one", config, seed=0)
    """
    folder = Path(folder)
    content = as_json(config)
    is_new = bool(processes.largest(not (folder / "config.json").exists()))
    check_run(folder, config, seed=seed, free_fields=free_fields)
    if not is_new:
        if processes.is_first():
            _warn_of_other_versions(folder)
        return folder
    processes.wait("all looked at the run folder")
    if processes.is_first():
        _begin(folder, content, seed)
    processes.wait("the run folder is there")
    if not (folder / "config.json").exists():
        raise ValueError(
            f"`folder` must be on a disk that all processes see, got {folder}, which the first one "
            "made and this one does not see."
        )
    return folder


def check_run(
    folder: str | Path, config: Any, *, seed: int, free_fields: Collection[str] = ()
) -> None:
    """Refuses what `open_run` would refuse, before anything long is done; writes nothing.

    Args:
        folder: as there.
        config: as there.
        seed: as there.
        free_fields: as there.

    Raises:
        ValueError: as there.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        _check_same_run(folder, as_json(config), seed, free_fields)
    # A process killed while it opens a folder leaves some of its own files, to be written anew.
    elif folder.is_dir() and not all(_is_own(entry) for entry in folder.iterdir()):
        raise ValueError(
            f"`folder` must be new, empty or hold a run, got {folder} with other files; choose "
            "another folder with --run."
        )


def _begin(folder: Path, content: Any, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(folder / "versions.json", json.dumps(versions(), indent=2) + "\n")
    whole_file.write_text(folder / "seed", f"{seed}\n")
    # The configuration comes last: a folder that has it is complete.
    whole_file.write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")


def read_config(folder: str | Path) -> dict[str, Any]:
    """The configuration stored in a run folder, as plain JSON values."""
    path = Path(folder) / "config.json"
    if not path.exists():
        raise ValueError(f"`folder` must hold a run, got {folder} without config.json.")
    return json.loads(path.read_text(encoding="utf-8"))


def as_json(config: Any) -> Any:
    """A configuration as plain JSON values: dataclasses become objects, tuples become lists."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    return json.loads(json.dumps(config, default=_encode))


def versions() -> dict[str, Any]:
    """Versions of Python and of the packages that decide the numbers, platform and devices."""
    import jax

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    devices = [device.device_kind for device in jax.devices()]
    return found | {
        "platform": platform.platform(),
        "backend": jax.default_backend(),
        "devices": devices,
    }


def _check_same_run(folder, content, seed, free_fields):
    stored = _fields(read_config(folder)) | {"run seed": _read_seed(folder)}
    given = _fields(content) | {"run seed": seed}
    different = [
        f"{name} is {_show(stored, name)} there and {_show(given, name)} here"
        for name in {**stored, **given}
        if _show(stored, name) != _show(given, name) and name not in free_fields
    ]
    if different:
        raise ValueError(
            f"`config` must be that of the run in {folder}: " + ", ".join(different) + ". Choose "
            "another folder with --run, or continue with the stored configuration."
        )


def _show(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "absent"


def _read_seed(folder: Path) -> int:
    return int((folder / "seed").read_text(encoding="utf-8"))


def _warn_of_other_versions(folder: Path) -> None:
    stored = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    now = versions()
    different = [
        f"{name} {stored.get(name)} -> {now[name]}" for name in now if stored.get(name) != now[name]
    ]
    if different:
        warnings.warn(
            f"the run in {folder} continues under other versions, so that its results may differ "
            f"in the last bits: {', '.join(different)}.",
            stacklevel=3,
        )


def _fields(content: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested JSON objects by their dotted names."""
    if not isinstance(content, dict):
        return {prefix.removesuffix("."): content}
    leaves = {}
    for name, value in content.items():
        leaves |= _fields(value, f"{prefix}{name}.")
    return leaves


def _encode(value: Any) -> Any:
    """What `json` cannot express by itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        "`config` must hold numbers, strings, sequences, dicts and dataclasses, got "
        f"{type(value).__name__}; store a name instead of the object."
    )


def _is_own(entry: Path) -> bool:
    """Whether a file is what an interrupted opening of a folder leaves."""
    return entry.name in OWN_FILES or (entry.name.startswith(".") and entry.suffix == ".part")
