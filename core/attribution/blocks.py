"""A set of examples in blocks of one shape: one compiled program works through all of them.

Examples are a pytree of arrays that share a leading axis [N, ...].  The last block is filled up by
repeating its last example, and what was computed for the repetitions is dropped.  With devices, a
block is spread over them (a sharding of its leading axis; the compiler inserts what must be
exchanged).  With a journal, finished blocks are kept in files, so that a run that was stopped goes
on where it was; the journal's fingerprint covers every input, and another run's is refused.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import whole_file


class Padding(NamedTuple):
    """How examples of several lengths, such as texts, were brought to one.

    Examples are then worked through by rising length, and what no example of a block needs is cut
    off.  What is computed of an example must not depend on its padding.
    """

    lengths: Callable[[Any], np.ndarray]
    """examples -> [N] int, how much of each is no padding"""
    cut: Callable[[Any, int], Any]
    """(block, length) -> the block, without what lies beyond that length"""
    widths: tuple[int, ...]
    """Lengths to cut to, rising: each is compiled for.  Blocks that need more are not cut."""


@dataclass(frozen=True)
class Blocks:
    """How a set of examples is worked through."""

    size: int = 64
    """Examples in a block; rounded up to a multiple of the number of devices."""
    devices: Sequence[Any] | None = None
    """JAX devices to spread a block over; the default one if None."""
    journal: str | os.PathLike[str] | None = None
    """Folder that keeps finished blocks, to go on after a stop; None keeps nothing."""
    report: Callable[[int, int], None] | None = None
    """Called after each block with the number of finished examples and of all."""
    padding: Padding | None = None
    """How the examples were padded; None leaves them as they are."""

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"`size` of a block must be at least 1, got {self.size}.")

    def map(
        self, function: Callable[..., Any], examples: Any, *shared: Any, label: str = ""
    ) -> np.ndarray:
        """Applies a jitted function to all examples, block by block.

        Args:
            function: ``function(block, *shared)`` -> array [block size, ...].
            examples: pytree with leading axis [N, ...].
            shared: further pytrees, the same for all blocks, such as parameters.
            label: what is computed; part of the journal's fingerprint.

        Returns:
            [N, ...] results, on the host.

        Raises:
            ValueError: if the examples disagree in their number or are none, or the journal
                belongs to another computation.
        """
        total = count(examples)
        size, place, keep = self._layout()
        shared = jax.tree.map(keep, shared)
        folder = self._open_journal(label, (examples, shared), size)
        order, cut = np.arange(total), None
        if self.padding is not None:
            order, cut = _by_length(self.padding, examples)
        parts = []
        for start in range(0, total, size):
            path = None if folder is None else folder / f"{start:09d}.npy"
            if path is not None and path.exists():
                parts.append(np.load(path, allow_pickle=False))
            else:
                rows = order[np.minimum(np.arange(start, start + size), total - 1)]
                block = jax.tree.map(lambda leaf, rows=rows: leaf[rows], examples)
                if cut is not None:
                    block = cut(block, rows[-1])  # the longest one
                part = np.asarray(function(jax.tree.map(place, block), *shared))[: total - start]
                if path is not None:
                    _write(path, part)
                parts.append(part)
            if self.report is not None:
                self.report(min(start + size, total), total)
        found = np.concatenate(parts)
        if cut is not None:
            found[order] = found.copy()
        return found

    def _layout(self):
        """Block size, and how a leaf of a block and a shared leaf go to the devices."""
        if self.devices is None:
            return self.size, jnp.asarray, jnp.asarray
        mesh = jax.sharding.Mesh(
            np.asarray(self.devices), ("example",), axis_types=(jax.sharding.AxisType.Auto,)
        )
        spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("example"))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        number = len(self.devices)
        return (
            -(-self.size // number) * number,
            lambda leaf: jax.device_put(leaf, spread),
            lambda leaf: jax.device_put(leaf, whole),
        )

    def _open_journal(self, label: str, inputs: Any, size: int) -> Path | None:
        if self.journal is None:
            return None
        folder = Path(self.journal)
        widths = "" if self.padding is None else f" {self.padding.widths}"
        mark = fingerprint(inputs, f"{label} {size}{widths}")
        marked = folder / "fingerprint"
        if marked.exists() and marked.read_text() != mark:
            raise ValueError(
                f"`journal` must be that of the same computation, got {folder} of another one; "
                "choose another folder or remove it."
            )
        folder.mkdir(parents=True, exist_ok=True)
        whole_file.write_text(marked, mark)
        return folder


def describe(function: Callable) -> str:
    """What a journal knows a function by, in every process: its name, or how an object shows."""
    name = getattr(function, "__qualname__", None)
    return repr(function) if name is None else f"{function.__module__}.{name}"


def count(examples: Any) -> int:
    """The number N of examples in a pytree of leaves [N, ...].

    Raises:
        ValueError: if there are none, or leaves disagree.
    """
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(examples)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            "`examples` must be arrays that share a leading axis of at least one example, got "
            f"leading axes {sorted(sizes)}."
        )
    ((number,),) = sizes
    return number


def take(examples: Any, start: int, size: int) -> Any:
    """Examples start ... start + size - 1, the last one repeated where there are fewer."""
    rows = np.minimum(np.arange(start, start + size), count(examples) - 1)
    return jax.tree.map(lambda leaf: leaf[rows], examples)


def stack(examples: Any, size: int) -> tuple[Any, jax.Array]:
    """All blocks at once, for a scan: leaves [blocks, size, ...] and weights [blocks, size].

    The weight of an example is 1 / N, that of a repetition 0.
    """
    total = count(examples)
    size = min(size, total)
    number = -(-total // size)
    rows = np.minimum(np.arange(number * size), total - 1)
    weights = (np.arange(number * size) < total) / total
    stacked = jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf)[rows]).reshape(number, size, *leaf.shape[1:]),
        examples,
    )
    return stacked, jnp.asarray(weights, jnp.result_type(float)).reshape(number, size)


def fingerprint(tree: Any, label: str = "") -> str:
    """Hexadecimal digits that change with the label and every number of a tree."""
    digest = hashlib.sha256(label.encode())
    digest.update(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _by_length(padding: Padding, examples: Any) -> tuple[np.ndarray, Callable[[Any, int], Any]]:
    """The examples by rising length, and ``cut(block, row of its longest example)``."""
    lengths = np.asarray(padding.lengths(examples))

    def cut(block, longest):
        width = next((each for each in padding.widths if each >= lengths[longest]), None)
        return block if width is None else padding.cut(block, width)

    return np.argsort(lengths, kind="stable"), cut


def _write(path: Path, part: np.ndarray) -> None:
    with whole_file.draft(path) as draft, draft.open("wb") as file:
        np.save(file, part, allow_pickle=False)
