"""``gossamer evaluate RUN``: score a finished run again and rewrite its report."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTION = """Score the packed model of a finished run on held-out speech, rewrite the report.

examples:
  gossamer evaluate runs/demo
  gossamer evaluate runs/demo --corpus my/manifest.tsv"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to score."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    corpus: str | None = None
    """Score on another corpus: `prompts` or the path of a manifest; print only, no report."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer evaluate", description=DESCRIPTION, args=words)
    from ..speech import evaluation, experiment, training_data

    model = experiment.read_run(arguments.run)
    if arguments.corpus is None:
        experiment.score(arguments.run, model, training_data.load_corpus(model.config))
        return 0
    data = dataclasses.replace(model.config.data, corpus=arguments.corpus)
    corpus = training_data.load_corpus(dataclasses.replace(model.config, data=data))
    result = evaluation.evaluate(model, corpus.test)
    errors = result.errors
    print(
        f"{corpus.name}: word error rate {100 * errors.rate:.1f}% "
        f"({100 * errors.low:.1f} to {100 * errors.high:.1f}), "
        f"characters {100 * errors.character_error_rate:.1f}%, "
        f"real-time factor {result.real_time_factor:.3g}"
    )
    return 0
