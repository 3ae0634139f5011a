"""Every notebook runs from top to bottom, as it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.checkout, pytest.mark.slow]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

LONG_LOOPS = {"spins"}  # worth the time that optimized machine code takes to compile


def read_code(path):
    """The code cells as one script, without commands to the notebook itself."""
    cells = json.loads(path.read_text())["cells"]
    lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return "\n".join(
        line.replace(line.lstrip(), "pass") if line.lstrip().startswith("%") else line
        for line in lines.splitlines()
    )


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", read_code(path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0" if path.stem in LONG_LOOPS else "1",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
