"""Checkpoints that survive a crash: orbax stores, checksums, and a way back.

A checkpoint holds one pytree of arrays and one JSON object of plain metadata, such as the state of
the data iterator.  Both become visible at once, by the renaming of one folder, so that a process
killed while it writes leaves the previous checkpoint as the newest.  The leaves are stored under
their paths in the tree ("params.encoder.kernel"), with shape, dtype and CRC-32 of each kept beside
them: a flipped bit on the disk is found (orbax alone does not find it), and the error for another
model names the leaves that differ.  Nothing is pickled.

    checkpoints/<step>/state   the arrays, as an orbax (OCDBT) store
    checkpoints/<step>/record  the metadata, the manifest of the leaves and their checksums, as JSON
"""

import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import processes


def save(folder: str | Path, step: int, state: Any, metadata: Any = None, *, keep: int = 2) -> None:
    """Writes a checkpoint, all of it or nothing.

    The history in a folder is linear: checkpoints of this step or of later ones, left by a run
    that had to go back, are removed first.  With several processes all must call this: each gathers
    the whole state, the first one writes it, and the others wait.

    Args:
        folder: the folder of all checkpoints of a run.
        step: number of finished steps >= 0, the name of the checkpoint.
        state: pytree of arrays; typed random keys are allowed.
        metadata: what JSON can express.
        keep: number of newest checkpoints that stay, >= 1.

    Raises:
        ValueError: if `keep` is below 1, or two leaves have the same path.
        TypeError: if `metadata` is not JSON.
    """
    if keep < 1:
        raise ValueError(f"`keep` must be at least 1, got {keep}.")
    leaves = {name: _to_host(leaf) for name, leaf in _flatten(state).items()}
    manifest = {
        name: _describe(leaf) | {"crc32": _checksum(leaves[name]), "random_key": _key_kind(leaf)}
        for name, leaf in _flatten(state).items()
    }
    content = {"metadata": metadata, "leaves": manifest}
    record = {"content": content, "crc32": _checksum_json(content)}
    if processes.is_first():
        _write(folder, step, leaves, record, keep)
    processes.wait(f"checkpoint {step}")


def _write(
    folder: str | Path, step: int, leaves: dict[str, np.ndarray], record: Any, keep: int
) -> None:
    from orbax import checkpoint as orbax  # Imported here because it takes long.

    with _open(folder, keep=keep) as manager:
        for existing in manager.all_steps():
            if existing >= step:
                manager.delete(existing)
        # The store takes no array without elements; the manifest is enough to restore those.
        stored = {name: x for name, x in leaves.items() if x.size}
        arguments = orbax.args.Composite(
            state=orbax.args.StandardSave(stored), record=orbax.args.JsonSave(record)
        )
        manager.save(step, args=arguments, force=True)


def restore(folder: str | Path, template: Any) -> tuple[int, Any, Any] | None:
    """Reads the newest checkpoint that is whole.

    Args:
        folder: the folder given to `save`.
        template: pytree of the structure, shapes and dtypes of the saved state, of arrays or of
            `jax.ShapeDtypeStruct`; arrays that are committed to devices give their sharding.

    Returns:
        (step, state, metadata), or None where there is no checkpoint.  A damaged newest checkpoint
        is passed over with a warning.

    Raises:
        ValueError: if all checkpoints are damaged, or the stored tree is not the template's.

    Example:
        >>> save(folder, 3, {"weight": jnp.ones(2)}, {"note": "three steps"})
        >>> restore(folder, {"weight": jnp.zeros(2)})
        (3, {'weight': Array([1., 1.], dtype=float32)}, {'note': 'three steps'})
    """
    found = steps(folder)
    for step in reversed(found):
        try:
            leaves, content = _read(folder, step)
        except Exception as error:  # A store can break in as many ways as it has layers.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(
                f"checkpoint {Path(folder) / str(step)} is damaged ({reason:.200}); "
                "trying the one before.",
                stacklevel=2,
            )
            continue
        state = _unflatten(template, leaves, content["leaves"], Path(folder) / str(step))
        return step, state, content["metadata"]
    if found:
        raise ValueError(
            f"`folder` holds only damaged checkpoints, of steps {found} in {folder}; restore it "
            "from a backup, or remove it to start again."
        )
    return None


def steps(folder: str | Path) -> list[int]:
    """The steps of the finished checkpoints in a folder, in rising order."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _open(folder: str | Path, *, keep: int | None = None):
    from orbax import checkpoint as orbax

    writes = keep is not None
    if writes:
        Path(folder).mkdir(parents=True, exist_ok=True)
    options = orbax.CheckpointManagerOptions(
        max_to_keep=keep,
        create=False,
        cleanup_tmp_directories=writes,
        enable_async_checkpointing=False,
        # Orbax would have all processes write; each reads for itself.
        multiprocessing_options=orbax.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}
        ),
    )
    return orbax.CheckpointManager(Path(folder).resolve(), options=options)


def _read(folder: str | Path, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The leaves and the content of the record, both checked against their checksums."""
    from orbax import checkpoint as orbax

    with _open(folder) as manager:
        record = manager.restore(step, args=orbax.args.Composite(record=orbax.args.JsonRestore()))
        content = record.record["content"]
        if record.record["crc32"] != _checksum_json(content):
            raise ValueError("the checksum of its record is wrong")
        manifest = content["leaves"]
        leaves = {
            name: np.zeros(entry["shape"], jnp.dtype(entry["dtype"]))
            for name, entry in manifest.items()
            if 0 in entry["shape"]
        }
        if len(leaves) < len(manifest):
            arguments = orbax.args.Composite(state=orbax.args.StandardRestore())
            leaves |= manager.restore(step, args=arguments).state
    for name, entry in manifest.items():
        if _checksum(leaves[name]) != entry["crc32"]:
            raise ValueError(f"the checksum of {name} is wrong")
    return leaves, content


def _flatten(tree: Any) -> dict[str, Any]:
    """The leaves by their paths, such as "params.dense.kernel"."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"`state` must not have two leaves named {name}; rename one.")
        leaves[name] = leaf
    return leaves


def _unflatten(template, leaves, manifest, path):
    expected = {name: _describe(leaf) for name, leaf in _flatten(template).items()}
    stored = {
        name: {"shape": entry["shape"], "dtype": entry["dtype"]} for name, entry in manifest.items()
    }
    if expected != stored:
        raise ValueError(
            f"`template` must have the tree of the checkpoint {path}, but "
            f"{_difference(expected, stored)}; continue with the configuration it was saved under, "
            "or choose another run folder."
        )
    restored = [
        _to_device(leaves[name], leaf, manifest[name]["random_key"])
        for name, leaf in _flatten(template).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(template), restored)


def _difference(expected: dict[str, Any], stored: dict[str, Any], limit: int = 3) -> str:
    """Names the first few leaves in which two trees differ."""

    def show(entry):
        return f"{entry['dtype']}{entry['shape']}" if entry else "absent"

    names = [x for x in {**expected, **stored} if expected.get(x) != stored.get(x)]
    shown = [
        f"{name} is {show(stored.get(name))} there and {show(expected.get(name))} here"
        for name in names[:limit]
    ]
    more = f" (and {len(names) - limit} more)" if len(names) > limit else ""
    return ", ".join(shown) + more


def _describe(leaf: Any) -> dict[str, Any]:
    """Shape and dtype as JSON; typed random keys have the dtype "key<...>"."""
    return {"shape": list(jnp.shape(leaf)), "dtype": str(jnp.result_type(leaf))}


def _key_kind(leaf: Any) -> str | None:
    """The generator of a typed random key, None for other arrays."""
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf))
    return None


def _to_host(leaf: Any) -> np.ndarray:
    return processes.gather(leaf if _key_kind(leaf) is None else jax.random.key_data(leaf))


def _to_device(value: np.ndarray, like: Any, key_kind: str | None) -> jax.Array:
    array = jnp.asarray(value)
    if key_kind is not None:
        array = jax.random.wrap_key_data(array, impl=key_kind)
    # Arrays that no one placed must stay free, or they could not meet others on several devices.
    return processes.put(array, like.sharding) if getattr(like, "committed", False) else array


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def _checksum_json(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
