"""Names of leaves, spelled out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from gossamer.core.paths import join, named_leaves, nest
from gossamer.core.quantized import Quantized


class State(NamedTuple):
    step: int
    moments: dict


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"b": 1, "a": {"kernel": 2, "bias": 3}}, [("a/bias", 3), ("a/kernel", 2), ("b", 1)]),
        ({"layers": [{"w": 1}, {"w": 2}]}, [("layers/0/w", 1), ("layers/1/w", 2)]),
        ((1, [2, (3,)]), [("0", 1), ("1/0", 2), ("1/1/0", 3)]),
        (State(1, {"mu": 2}), [("step", 1), ("moments/mu", 2)]),
        ({3: {"x": 1}}, [("3/x", 1)]),
        ({"a": None, "b": {}, "c": 1}, [("c", 1)]),
        (7, [("", 7)]),
        ({}, []),
    ],
)
def test_names_of_leaves(tree, expected):
    assert named_leaves(tree) == expected
    assert [leaf for _, leaf in named_leaves(tree)] == jax.tree.leaves(tree)


@pytest.mark.parametrize("tree", [{"b": 1, "a": {"kernel": 2, "c": {"bias": 3}}}, {}])
def test_nest_undoes_names(tree):
    assert nest(dict(named_leaves(tree))) == tree


def test_join_is_the_name_of_a_path_of_jax():
    tree = {"encoder_1": {"kernel": 0.0}, "joiner": [0.0]}
    assert jax.tree.map_with_path(lambda path, _: join(path), tree) == {
        "encoder_1": {"kernel": "encoder_1/kernel"},
        "joiner": ["joiner/0"],
    }


def test_is_leaf_stops_the_descent():
    tensor = Quantized(jnp.ones((2, 3)), jnp.asarray(0.5), 4, 7)
    tree = {"kernel": tensor, "bias": 1.0}
    assert [name for name, _ in named_leaves(tree)] == ["bias", "kernel/codes", "kernel/scale"]
    found = named_leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Quantized))
    assert found == [("bias", 1.0), ("kernel", tensor)]


def test_names_the_leaves_of_shapes():
    tree = jax.eval_shape(lambda: {"a": jnp.zeros(3)})
    assert named_leaves(tree) == [("a", jax.ShapeDtypeStruct((3,), jnp.float32))]
