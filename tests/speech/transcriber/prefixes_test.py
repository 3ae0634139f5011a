import gc
import weakref

import numpy as np

from gossamer.speech.transcriber.prefixes import Prefix, Rows, Table


class Sums:
    """A network whose state is the sum of the labels, and whose vector is twice that."""

    sizes, width = (1,), 1

    def __init__(self):
        self.runs = 0

    def __call__(self, tokens, states):
        self.runs += 1
        (sums,) = states
        sums = sums + tokens[:, None]
        return 2 * sums, [sums]


def test_equal_sequences_are_one():
    root = Prefix()
    first = root.extend(3).extend(1)
    assert root.extend(3).extend(1) is first
    assert root.extend(1).extend(3) is not first
    assert (first.labels(), first.length, root.labels()) == ([3, 1], 2, [])


def test_what_nobody_holds_is_forgotten():
    root = Prefix()
    reference = weakref.ref(root.extend(1))
    kept = weakref.ref(root.extend(2).extend(1)), root.extend(2)
    gc.collect()
    assert reference() is None
    assert kept[0]() is None
    assert root.extend(2) is kept[1]


def test_rows_are_taken_back_from_those_not_needed():
    rows, root = Rows(3), Prefix()
    first, second, third, fourth = (root.extend(label) for label in (1, 2, 3, 4))
    assert rows.assign([first, second, first], []) == [first, second]
    assert rows.assign([second, third], []) == [third]
    assert rows.assign([fourth], keep=[third]) == [fourth]
    assert [first.row, second.row] == [None, None]
    assert {third.row, fourth.row} < {0, 1, 2}
    assert third.row != fourth.row


def test_a_table_runs_when_it_is_asked():
    network = Sums()
    table = Table(network, 4)
    table.start(0)
    table.append(np.array([1, 2]), np.array([0, 0]), np.array([5, 7]))
    table.append(np.array([3]), np.array([0]), np.array([9]))
    assert table.is_behind.tolist() == [False, True, True, True]
    table.catch_up(np.array([1, 3]))
    assert network.runs == 2
    assert table.vectors[:, 0].tolist() == [0, 10, 0, 18]
    table.append(np.array([0]), np.array([1]), np.array([1]))
    table.catch_up(np.array([0]))
    assert table.vectors[0] == 12
