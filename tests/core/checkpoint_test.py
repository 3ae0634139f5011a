"""Checkpoints give back the same bits, and damage of any file in them is noticed."""

import json
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.core import checkpoint, learners


class Pair(NamedTuple):
    left: jax.Array
    right: jax.Array


def make_tree():
    values = jax.random.normal(jax.random.key(3), (40, 7))
    params = {"kernel": values, "a.b": jnp.array([1, -2], jnp.int8), "none": None}
    return {
        "params": params,
        "opt_state": optax.chain(optax.clip(1.0), optax.adam(0.1)).init({"kernel": values}),
        "half": values[0].astype(jnp.bfloat16),
        "flags": jnp.array([True, False]),
        "special": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-45]),
        "empty": jnp.zeros((0, 3)),
        "keys": jax.random.split(jax.random.key(5), 2),
        "other_key": jax.random.key(5, impl="rbg"),
        "pair": Pair(jnp.zeros([]), jnp.ones([])),
    }


def test_every_kind_of_leaf_comes_back_with_its_bits(tmp_path, assert_same_bits):
    tree, metadata = make_tree(), {"data": {"next_index": 3}, "values": [0.1, None, "é"]}
    checkpoint.save(tmp_path, 7, tree, metadata)
    blank = jax.tree.map(jnp.zeros_like, {**tree, "keys": 0, "other_key": 0})
    blank |= {"keys": jax.random.split(jax.random.key(0), 2)}
    blank |= {"other_key": jax.random.key(0, impl="rbg")}
    step, restored, got = checkpoint.restore(tmp_path, blank) or pytest.fail("no checkpoint")
    assert (step, got) == (7, metadata)
    assert_same_bits(restored, tree)


def test_abstract_template_and_python_numbers(tmp_path, assert_same_bits):
    tree = {"x": jnp.arange(3), "key": jax.random.key(1), "n": 2}
    checkpoint.save(tmp_path, 0, tree)
    template = jax.eval_shape(lambda: {**tree, "n": jnp.asarray(2)})
    step, restored, metadata = checkpoint.restore(tmp_path, template) or pytest.fail("none")
    assert (step, metadata) == (0, None)
    assert_same_bits(restored, {**tree, "n": jnp.asarray(2)})


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.restore(tmp_path / "absent", {}) is None
    assert checkpoint.restore(tmp_path, {}) is None


def test_newest_are_kept_and_later_ones_forgotten(tmp_path):
    for step in (1, 2, 30):
        checkpoint.save(tmp_path, step, {"x": jnp.full(2, step)}, keep=2)
    assert checkpoint.steps(tmp_path) == [2, 30]
    checkpoint.save(tmp_path, 10, {"x": jnp.full(2, 10)}, keep=2)
    assert checkpoint.steps(tmp_path) == [2, 10]
    checkpoint.save(tmp_path, 10, {"x": jnp.full(2, -1)}, keep=2)
    step, state, _ = checkpoint.restore(tmp_path, {"x": jnp.zeros(2, int)}) or pytest.fail("none")
    assert (step, state["x"].tolist()) == (10, [-1, -1])


def test_sharding_follows_the_template(tmp_path, assert_same_bits):
    placement = learners.learner_sharding(4)
    tree = {"x": jax.device_put(jnp.arange(8.0).reshape(4, 2), placement), "free": jnp.ones(2)}
    checkpoint.save(tmp_path, 1, tree)
    _, restored, _ = checkpoint.restore(tmp_path, tree) or pytest.fail("none")
    assert restored["x"].sharding == placement
    assert not restored["free"].committed
    plain = jax.tree.map(np.asarray, tree)
    _, moved, _ = checkpoint.restore(tmp_path, plain) or pytest.fail("none")
    assert len(moved["x"].sharding.device_set) == 1
    assert_same_bits(moved, tree)


def damage(path, way):
    data = path.read_bytes()
    if way == "removed":
        path.unlink()
    elif way == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    return data


@pytest.mark.parametrize("way", ["truncated", "flipped", "removed"])
def test_damage_is_noticed_or_harmless_in_every_file(way, tmp_path, assert_same_bits):
    good, newest = {"x": jnp.arange(500.0)}, {"x": jnp.arange(500.0) + 1}
    checkpoint.save(tmp_path, 1, good, {"note": 1})
    checkpoint.save(tmp_path, 2, newest, {"note": 2})
    results = {}
    for path in sorted(x for x in (tmp_path / "2").rglob("*") if x.is_file()):
        data = damage(path, way)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step, state, metadata = checkpoint.restore(tmp_path, good) or pytest.fail("none")
        path.write_bytes(data)
        assert metadata == {"note": step}
        assert_same_bits(state, {1: good, 2: newest}[step])
        assert bool(caught) == (step == 1)
        results[path.name] = step
    assert results["metadata"] == results["_METADATA"] == 1
    assert min(step for name, step in results.items() if len(name) == 32) == 1  # Array data.


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    checkpoint.save(tmp_path, 4, {"x": jnp.ones(3)})
    damage(tmp_path / "4" / "record" / "metadata", "truncated")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ValueError, match=r"only damaged checkpoints, of steps \[4\].*backup"),
    ):
        checkpoint.restore(tmp_path, {"x": jnp.ones(3)})


def test_unfinished_checkpoint_is_ignored_and_swept(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": jnp.ones(3)})
    torn = tmp_path / "2.orbax-checkpoint-tmp-1"
    torn.mkdir()
    (torn / "half").write_text("half")
    assert checkpoint.steps(tmp_path) == [1]
    step, _, _ = checkpoint.restore(tmp_path, {"x": jnp.ones(3)}) or pytest.fail("none")
    assert step == 1
    checkpoint.save(tmp_path, 2, {"x": jnp.ones(3)})
    assert sorted(x.name for x in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    ("template", "difference"),
    [
        ({"x": jnp.ones(4)}, r"x is float32\[3\] there and float32\[4\] here"),
        ({"x": jnp.ones(3, int)}, r"x is float32\[3\] there and int32\[3\] here"),
        ({"y": jnp.ones(3)}, r"y is absent there and float32\[3\] here, x is float32\[3\] there"),
        ({"x": {"y": jnp.ones(3)}}, r"x.y is absent there"),
        ({f"x{i}": jnp.ones(1) for i in range(9)}, r"\(and 7 more\)"),
    ],
)
def test_other_structure_is_named(template, difference, tmp_path):
    checkpoint.save(tmp_path, 1, {"x": jnp.ones(3)})
    with pytest.raises(ValueError, match=rf"`template`.*{difference}.*another run folder"):
        checkpoint.restore(tmp_path, template)


def test_bad_arguments_write_nothing(tmp_path):
    with pytest.raises(ValueError, match="`keep` must be at least 1, got 0"):
        checkpoint.save(tmp_path / "a", 1, {}, keep=0)
    with pytest.raises(TypeError, match="JSON"):
        checkpoint.save(tmp_path / "a", 1, {}, metadata={"x": jnp.ones(1)})
    with pytest.raises(ValueError, match=r"two leaves named a\.b; rename one"):
        checkpoint.save(tmp_path / "a", 1, {"a.b": jnp.ones(1), "a": {"b": jnp.ones(1)}})
    assert not (tmp_path / "a").exists()


def test_record_is_plain_json(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": jnp.ones(3)}, {"note": "here"})
    record = json.loads((tmp_path / "1" / "record" / "metadata").read_text())
    assert record["content"]["metadata"] == {"note": "here"}
    assert record["content"]["leaves"]["x"]["shape"] == [3]
