"""The root of the repository is the package: what must ship does, and nothing else does."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
NOT_SHIPPED = {
    "benchmarks",
    "build",
    "dist",
    "docs",
    "examples",
    "notebooks",
    "runs",
    "tests",
    "tools",
}
DATA_GLOBS = [(name, glob) for name, globs in SETUPTOOLS["package-data"].items() for glob in globs]


def folder(package: str) -> Path:
    """Where a package lives: gossamer.speech is speech/."""
    return ROOT.joinpath(*package.split(".")[1:])


def shipped_folders() -> list[Path]:
    """Top-level folders that belong to the package."""
    return [
        path
        for path in ROOT.iterdir()
        if path.is_dir()
        and path.name not in NOT_SHIPPED
        and not path.name.startswith((".", "__"))
        and path.suffix != ".egg-info"
    ]


def shipped_files() -> set[str]:
    """Every file the wheel must hold, below gossamer/."""
    paths = [ROOT / "__init__.py", ROOT / "py.typed"]
    for top in shipped_folders():
        paths += [path for path in top.rglob("*") if path.is_file()]
    return {
        f"gossamer/{path.relative_to(ROOT).as_posix()}"
        for path in paths
        if "__pycache__" not in path.parts
    }


def test_one_python_file_at_the_root():
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


def test_root_file_imports_nothing():
    lines = (ROOT / "__init__.py").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("import ", "from "))]


def test_every_folder_of_code_is_a_listed_package():
    folders = {ROOT} | {path.parent for top in shipped_folders() for path in top.rglob("*.py")}
    assert {folder(package) for package in SETUPTOOLS["packages"]} == folders
    assert not [path for path in folders if not (path / "__init__.py").exists()]


@pytest.mark.parametrize(("package", "glob"), DATA_GLOBS)
def test_every_data_pattern_matches_a_file(package, glob):
    assert next(folder(package).glob(glob), None) is not None


def test_wheel_holds_every_file_and_no_other(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.md"), *shipped_folders()]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / path.name)
    for name in ["pyproject.toml", "py.typed", "LICENSE", "NOTICE"]:
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if name.startswith("gossamer/")} == shipped_files()
    others = {name.split("/", 1)[1] for name in names if not name.startswith("gossamer/")}
    assert {"licenses/LICENSE", "licenses/NOTICE", "entry_points.txt"} <= others
    assert not {name for name in names if not name.startswith(("gossamer/", "gossamer-"))}
