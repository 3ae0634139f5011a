"""Names of the leaves of a tree: the keys on the way to them, joined by slashes."""

from collections.abc import Callable, Mapping
from typing import Any

import jax


def join(path: Any) -> str:
    """A key path of JAX as a name, such as ``"encoder_1/kernel"``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[str, Any]]:
    """The leaves of a tree with their names, in the order of JAX."""
    return [(join(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree, is_leaf=is_leaf)]


def nest(named: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of dictionaries by the names of its leaves; undoes `named_leaves`."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *path, last = name.split("/")
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
        branch[last] = leaf
    return tree
