"""``gossamer train translation``: train a Transformer on a parallel text, resumably."""

import dataclasses
import sys
from pathlib import Path

import tyro

from ..language.translation.run_config import TranslationConfig

DESCRIPTION = """Train a Transformer that translates, with learners that mix, then score it on
sentences that it has not seen. The same command continues an interrupted run. Without options: four
learners on a ring, on English and German sentences made by rules.

examples:
  gossamer train translation --run runs/translation
  gossamer train translation --learners.algorithm ssgd --compression.scheme scalecom \\
      --compression.rate 47 --run runs/scalecom
  gossamer train translation --data my/pairs.tsv --run runs/mine
  gossamer train translation --data my/text.en --data.targets my/text.de --run runs/mine
  gossamer train translation --data wmt14/en-de --model base --data.vocabulary 37000 \\
      --data.max-length 256 --data.batch-tokens 36000 --data.buckets 8 --optimizer.warmup 4000 \\
      --optimizer.learning-rate 7e-4 --optimizer.steps 100000 --learners 8 --run runs/wmt14"""


@dataclasses.dataclass(frozen=True)
class Arguments(TranslationConfig):
    """A training run and where it goes."""

    run: Path | None = None
    """Run folder; `runs/translation` by default."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    chosen = tyro.cli(
        Arguments, prog="gossamer train translation", description=DESCRIPTION, args=words
    )
    names = [field.name for field in dataclasses.fields(TranslationConfig)]
    config = TranslationConfig(**{name: getattr(chosen, name) for name in names})
    folder = chosen.run or Path("runs/translation")
    from ..language.translation import experiment  # after parsing, so that help answers at once

    experiment.train(config, folder)
    print(f"Packed model: {folder / experiment.PACKED}", file=sys.stderr)
    return 0
