"""Blocks: padding, devices, a journal that goes on and refuses, progress."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution.blocks import Blocks, Padding, count, describe, stack


@jax.jit
def double(block, factor):
    return factor * block["x"]


EXAMPLES = {"x": np.arange(10.0)}


@pytest.mark.parametrize("size", [1, 3, 10, 64])
def test_every_example_counts_once(size):
    found = Blocks(size).map(double, EXAMPLES, jnp.float32(2))
    np.testing.assert_array_equal(found, 2 * np.arange(10))


def test_devices_share_a_block():
    seen = []

    def function(block, factor):
        seen.append(len(block["x"].sharding.device_set))
        return double(block, factor)

    found = Blocks(3, devices=jax.devices()[:4]).map(function, EXAMPLES, jnp.float32(2))
    np.testing.assert_array_equal(found, 2 * np.arange(10))
    assert seen == [4, 4, 4]  # the size is rounded up to 4


def test_a_journal_goes_on_where_it_stopped(tmp_path):
    calls = []

    def function(block, factor):
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return double(block, factor)

    blocks = Blocks(4, journal=tmp_path / "journal")
    with pytest.raises(KeyboardInterrupt):
        blocks.map(function, EXAMPLES, jnp.float32(2))
    found = blocks.map(function, EXAMPLES, jnp.float32(2))
    np.testing.assert_array_equal(found, 2 * np.arange(10))
    assert len(calls) == 4  # two blocks, one that failed, the last one
    with pytest.raises(ValueError, match="`journal` must be that of the same computation"):
        blocks.map(function, EXAMPLES, jnp.float32(3))


def test_functions_are_known_by_what_every_process_sees():
    assert describe(double) == f"{__name__}.double"
    assert describe(Counted(3)) == "Counted(limit=3)"


class Counted(NamedTuple):
    limit: int

    def __call__(self, block):
        return block


def test_progress_is_reported():
    seen = []
    Blocks(4, report=lambda *numbers: seen.append(numbers)).map(double, EXAMPLES, jnp.float32(2))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_stacked_weights_average_over_the_examples():
    stacked, weights = stack(EXAMPLES, 4)
    assert stacked["x"].shape == weights.shape == (3, 4)
    np.testing.assert_allclose(jnp.sum(stacked["x"] * weights), 4.5, rtol=1e-6)


@pytest.mark.parametrize("examples", [{}, {"x": np.zeros(0)}, {"x": np.zeros(2), "y": np.zeros(3)}])
def test_bad_examples_are_refused(examples):
    with pytest.raises(ValueError, match="`examples` must be arrays"):
        count(examples)


def test_bad_size_is_refused():
    with pytest.raises(ValueError, match="`size` of a block"):
        Blocks(0)


def test_padding_is_cut_and_the_order_stays():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 9, 21)
    values = np.where(np.arange(8) < lengths[:, None], generator.normal(size=(21, 8)), 0)
    examples = {"x": values, "row": np.arange(21.0)}
    widths = []

    def function(block):
        widths.append(block["x"].shape[1])
        return block["x"].sum(1) + block["row"]

    padding = Padding(
        lambda examples: np.count_nonzero(examples["x"], axis=1),
        lambda block, width: {"x": block["x"][:, :width], "row": block["row"]},
        widths=(2, 5),
    )
    found = Blocks(4, padding=padding).map(function, examples)
    np.testing.assert_allclose(found, values.sum(1) + np.arange(21), rtol=1e-6)
    longest = np.append(np.sort(lengths)[3::4], lengths.max())
    assert widths == [2 if n <= 2 else 5 if n <= 5 else 8 for n in longest]
    assert set(widths) == {2, 5, 8}
