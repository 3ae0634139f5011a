"""A file is there whole, or as it was before."""

import pytest

from gossamer.core import whole_file


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    whole_file.write_text(path, "ä")
    assert path.read_bytes() == "ä".encode()
    whole_file.write_bytes(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), whole_file.draft(path) as part:  # noqa: PT012
        part.write_text("half")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_before_it_writes(tmp_path):
    with pytest.raises(ValueError, match="early"), whole_file.draft(tmp_path / "a"):
        raise ValueError("early")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        whole_file.write_text(tmp_path / "nowhere/a", "")


def test_reasons_do_not_name_the_file_again(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff")
    reasons = []
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary"):
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reasons.append(whole_file.reason(error))
    assert reasons[:2] == ["there is no such file", "Is a directory"]
    assert "codec can't decode" in reasons[2]
