"""``gossamer train speech PRESET``: train a transducer, resumably, into one run folder."""

import dataclasses
import shlex
import sys
from pathlib import Path

import tyro

from ..speech.configs import CONFIGS
from ..speech.run_config import SpeechConfig

DESCRIPTION = """Train a speech recognizer with gossiping learners, then score and report it.
The same command continues an interrupted run.

examples:
  gossamer train speech demo
  gossamer train speech small --run runs/mine --optimizer.peak-learning-rate 1e-3
  gossamer train speech small --data.corpus my/manifest.tsv --learners.number 8"""


@dataclasses.dataclass(frozen=True)
class Arguments(SpeechConfig):
    """A speech training run and where it goes."""

    run: Path | None = None
    """Run folder; `runs/PRESET` by default."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    presets = {
        name: (preset.description, Arguments(**_fields(preset.config)))
        for name, preset in CONFIGS.items()
    }
    chosen = tyro.extras.overridable_config_cli(
        presets, prog="gossamer train speech", description=DESCRIPTION, args=words
    )
    config = SpeechConfig(**{name: getattr(chosen, name) for name in _fields(SpeechConfig())})
    folder = chosen.run or Path("runs") / words[0]
    from ..core import processes
    from ..speech import experiment  # after parsing, so that help and mistakes answer at once

    experiment.train(config, folder, command=shlex.join(["gossamer", "train", "speech", *words]))
    if processes.is_first():
        print(f"Packed model: {folder / experiment.PACKED}", file=sys.stderr)
    return 0


def _fields(config: SpeechConfig) -> dict:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
