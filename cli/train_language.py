"""``gossamer train language``: train a classifier of texts."""

import sys

import tyro

from ..language.run_config import LanguageRun

DESCRIPTION = """Train a classifier of texts, which `gossamer explain` explains by its training
texts. The same command continues an interrupted run.

examples:
  gossamer train language --run runs/sentiment
  gossamer train language --corpus my/texts.tsv --run runs/mine
  gossamer train language --encoder minilm --steps 300 --batch-size 16 \\
      --peak-learning-rate 1e-4 --run runs/minilm     from the pretrained encoder"""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    config = tyro.cli(
        LanguageRun, prog="gossamer train language", description=DESCRIPTION, args=words
    )
    from ..language import classifier, training  # after parsing, so that help answers at once

    found = training.train(config)
    print(f"Test accuracy: {found.accuracy:.1%} (the largest class alone: {found.majority:.1%})")
    print(f"Packed model: {config.folder / classifier.PACKED}", file=sys.stderr)
    return 0
