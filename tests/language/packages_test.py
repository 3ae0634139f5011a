"""Packages are fetched once, and only the pinned file is taken."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from gossamer.core import data_folder
from gossamer.language.packages import Package, fetch


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path))
    return Package("thing==1", hashlib.sha256(b"content").hexdigest(), "thing-1.whl", source=False)


def test_a_file_in_the_cache_is_taken(package):
    folder = data_folder.cache_dir() / "packages"
    folder.mkdir()
    (folder / package.file).write_bytes(b"content")
    assert fetch(package) == folder / package.file
    (folder / package.file).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"expected .*; remove the file"):
        fetch(package)


def test_pip_is_asked_once_for_the_pinned_file(package, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = Path(command[-1])
        pinned = (folder / "requirements.txt").read_text()
        assert pinned == f"thing==1 --hash=sha256:{package.sha256}\n"
        (folder / package.file).write_bytes(b"content")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert fetch(package).read_bytes() == b"content"
    assert fetch(package).read_bytes() == b"content"
    (command,) = commands
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(map(str, command))


def test_what_pip_says_is_told(package, monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "noise\nno network\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ValueError, match=r"pip could not get thing==1 \(no network\)"):
        fetch(package)
    assert not list((data_folder.cache_dir() / "packages").iterdir())
