"""Lines of a table, and what makes a file none."""

import pytest

from gossamer.language import corpora, table


def test_lines_have_their_cells_and_a_split(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeffb\ta\tsplit\n two \tone\tdev\nfour\tthree\t\n", encoding="utf-8")
    first, second = table.read(path, ("a", "b"))
    assert first == (2, ("one", "two"), "dev")
    assert second == (3, ("three", "four"), corpora.assign_split("three"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\none\t\n", "line 2: a line must have a a, a b and"),
        (b"a\tb\tsplit\none\ttwo\tvalid\n", "line 2: .* split of train, dev, test"),
        (b"\xff", "must be a table in UTF-8"),
    ],
)
def test_refusals(tmp_path, content, message):
    path = tmp_path / "a.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.tsv.*{message}"):
        table.read(path, ("a", "b"))
