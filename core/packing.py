"""The parameters of a model as named tensors of few bytes, and back.

Numbers are stored under their path in the tree, in half precision; beside codes, which promise
results to the last bit, in float32. A tensor of codes becomes two:
``path.codes``, the codes packed into bytes along the axis of the inputs (see ``core.integers``),
and ``path.scale``, float32; what else is needed to unpack it goes into a table of plain values,

    {path: {"bits": 4, "width": 4, "shape": [2, 240, 1024], "max_abs_code": 7}}.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from . import integers, whole_file
from .compression import storage_bits
from .paths import named_leaves, nest
from .quantization import is_quantized
from .quantized import Quantized

Tensors = dict[str, np.ndarray]
Table = dict[str, dict[str, Any]]
Built = TypeVar("Built")


def write(path: str | os.PathLike, params: Any, header: dict[str, str]) -> None:
    """Packs a tree into one file, atomically.

    Args:
        path: where the file goes; its folder must exist.
        params: numbers and codes.
        header: what else belongs into the file, "format" among it.
    """
    tensors, table = pack_tree(params)
    with whole_file.draft(path) as part:
        save_file(tensors, part, metadata=header | {"codes": json.dumps(table)})


def read(
    path: str | os.PathLike,
    formats: Sequence[str],
    kind: str,
    remedy: str,
    build: Callable[[dict[str, str], dict[str, Any]], Built],
) -> Built:
    """What a file by `write` holds.

    Args:
        path: the file.
        formats: those that are read, the newest last.
        kind: what the file should hold, for the error.
        remedy: what helps where there is no such file, or one of another format.
        build: makes it of the header and the tree.

    Raises:
        ValueError: if there is no such file, or it holds none of this kind, or is damaged.
    """
    header, tensors = read_tensors(path, formats, kind, remedy)
    with refuse_damage(path, kind):
        return build(header, unpack_tree(tensors, json.loads(header.get("codes", "{}"))))


def read_tensors(
    path: str | os.PathLike, formats: Sequence[str], kind: str, remedy: str
) -> tuple[dict[str, str], Tensors]:
    """The header and the named tensors of a file; see `read`."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ValueError(f"{os.fspath(path)}: there is no such file; {remedy}.") from error
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{os.fspath(path)}: not a packed {kind} ({whole_file.reason(error)})."
        ) from error
    if header.get("format") not in formats:
        raise ValueError(
            f"{os.fspath(path)}: format {header.get('format')!r}, expected {formats[-1]!r}; "
            f"{remedy}."
        )
    return header, tensors


@contextlib.contextmanager
def refuse_damage(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Whatever a header that does not fit its tensors raises becomes one error.

    Raises:
        ValueError: naming the file.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)}: a damaged {kind} ({error!r:.200}); copy it again."
        ) from error


def read_format(path: str | os.PathLike) -> str | None:
    """The format that a packed file names, None if it is no such file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format")
    except (OSError, SafetensorError):
        return None


def pack_tree(params: Any) -> tuple[Tensors, Table]:
    """Named tensors, and the table of those that are codes.

    Raises:
        ValueError: if codes do not fit into their bits.
    """
    tensors: Tensors = {}
    table: Table = {}
    leaves = named_leaves(params, is_leaf=is_quantized)
    dtype = np.float32 if any(is_quantized(leaf) for _, leaf in leaves) else np.float16
    for name, leaf in leaves:
        if not is_quantized(leaf):
            tensors[name] = np.asarray(leaf, dtype)
            continue
        width = storage_bits(leaf, name)
        tensors[f"{name}.codes"] = np.asarray(integers.pack(np.asarray(leaf.codes), width))
        tensors[f"{name}.scale"] = np.asarray(leaf.scale, np.float32)
        table[name] = {
            "bits": leaf.bits,
            "width": width,
            "shape": list(leaf.shape),
            "max_abs_code": leaf.max_abs_code,
        }
    return tensors, table


def unpack_tree(tensors: Tensors, table: Table) -> dict[str, Any]:
    """Nested dictionaries of float32 arrays and int8 codes; undoes `pack_tree`."""
    leaves: dict[str, Any] = {
        name: jnp.asarray(tensor, jnp.float32)
        for name, tensor in tensors.items()
        if name.removesuffix(".codes").removesuffix(".scale") not in table
    }
    for name, fields in table.items():
        packed = jnp.asarray(tensors[f"{name}.codes"])
        leaves[name] = Quantized(
            integers.unpack(packed, fields["width"], tuple(fields["shape"])),
            jnp.asarray(tensors[f"{name}.scale"]),
            fields["bits"],
            fields["max_abs_code"],
        )
    return nest(leaves)
