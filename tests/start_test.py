"""Help, configurations and subpackages start without JAX and what only some commands need."""

import subprocess
import sys

import pytest

HEAVY = ("jax", "numpy", "flax", "optax", "tensorflow_datasets", "matplotlib", "rich", "ray")


@pytest.mark.parametrize(
    "statement",
    [
        "import gossamer",
        *(f"import gossamer.{x}" for x in ("core", "speech", "vision", "language", "physics")),
        "from gossamer.cli.main import main; assert main(['--help']) == 0",
        "from gossamer.cli.main import main; assert main(['--version']) == 0",
        "from gossamer.cli.main import main; assert main(['no-such-command']) == 2",
        "from gossamer.speech import configs, language_model_run_config",
        "from gossamer.speech.hybrids import hybrid_config",
        "from gossamer.vision import run_config, study_config",
        "from gossamer.language import run_config",
        "from gossamer.language.translation import run_config",
    ],
)
def test_nothing_heavy_is_imported(statement):
    check = f"import sys; print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    code = f"{statement}; {check}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
