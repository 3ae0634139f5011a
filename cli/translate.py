"""``gossamer translate RUN "text" ...``: translate sentences by a trained translator."""

import dataclasses
import sys
from pathlib import Path

import tyro

DESCRIPTION = """Translate sentences; without any, the lines of the standard input.

examples:
  gossamer train translation --run runs/translation
  gossamer translate runs/translation "On Monday, my old aunt picks up twenty-one letters."
  gossamer translate runs/translation --beam 1 < my/text.en"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to translate."""

    run: tyro.conf.Positional[Path]
    """Run folder of a trained translator, or its packed file."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Sentences."""
    beam: int = 4
    """Hypotheses of the search; 1 is greedy decoding."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer translate", description=DESCRIPTION, args=words)
    if arguments.beam < 1:
        raise ValueError(f"`--beam` must be at least 1, got {arguments.beam}.")
    from ..language.translation import translator

    model = translator.load(arguments.run)
    texts = arguments.texts or tuple(line.strip() for line in sys.stdin)
    kept = [text for text in texts if text]
    found = iter(translator.translate(model, kept, beam=arguments.beam))
    for text in texts:
        print(next(found).text if text else "")
    return 0
