"""Tables, drawn by hand and by their properties."""

import hypothesis
import pytest
from hypothesis import strategies as st

from gossamer.core.text_table import align

ROWS = [("name", "bits", "size"), ("kernel", "4", "1,024"), ("b", "32", "")]


def test_left_by_default():
    assert align(ROWS).splitlines() == [
        "name    bits  size",
        "kernel  4     1,024",
        "b       32",
    ]


def test_right_where_asked():
    assert align(ROWS, right=(1, 2)).splitlines() == [
        "name    bits   size",
        "kernel     4  1,024",
        "b         32",
    ]


def test_a_head_alone_and_nothing_at_all():
    assert align([("a", "b")]) == "a  b"
    assert align([]) == ""


@pytest.mark.parametrize("rows", [[("a", "b"), ("c",)], [("a",), ("b", "c")]])
def test_rows_of_different_lengths_are_refused(rows):
    with pytest.raises(ValueError, match="zip"):
        align(rows)


def tables():
    def of_width(width):
        cell = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1)
        return st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=6)

    return st.integers(1, 5).flatmap(of_width)


@hypothesis.given(tables(), st.sets(st.integers(0, 4)))
def test_columns_stand_below_each_other(rows, right):
    lines = align(rows, right=right).splitlines()
    assert [line.split() for line in lines] == rows
    assert lines == [line.rstrip() for line in lines]
    start = 0
    for index, column in enumerate(zip(*rows, strict=True)):
        end = start + max(map(len, column))
        for line, cell in zip(lines, column, strict=True):
            at = end - len(cell) if index in right else start
            assert line[at : at + len(cell)] == cell
            assert not line[start:at].strip()
            assert not line[at + len(cell) : end + 2].strip()
        start = end + 2
