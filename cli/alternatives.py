"""``gossamer alternatives MODEL ... --output FILE``: decode n-best lists of a corpus."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .search import SearchOptions

DESCRIPTION = """Decode the best hypotheses of a corpus, by one or more recognizers, into a file for
n-best label smoothing. The same command continues an interrupted one.

examples:
  gossamer alternatives runs/demo --output nbest.jsonl
  gossamer alternatives prompts runs/single --corpus my/manifest.tsv --number 5 --output nbest.jsonl
  gossamer train speech small --label-noise.nbest 0.1 --label-noise.alternatives nbest.jsonl"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(SearchOptions):
    """Who decodes what."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Recognizers: run folders, packed files or names of models that ship (`prompts`)."""
    output: Path
    """The file of JSON lines, see docs/data.md; what it holds is kept."""
    corpus: str = "prompts"
    """`prompts` or the path of a manifest."""
    split: Literal["train", "dev", "test"] = "train"
    """Which of its recordings."""
    number: int = 8
    """Hypotheses of each recording, at most."""
    beam: int = 16
    """Hypotheses that the beam search keeps."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(
        Arguments, prog="gossamer alternatives", description=DESCRIPTION, args=words
    )
    arguments.check()
    if not arguments.models:
        raise ValueError(
            "no recognizer given; name one or more, as in `gossamer alternatives RUN`."
        )
    if not 1 <= arguments.number <= arguments.beam:
        raise ValueError(
            f"`--number` must be between 1 and `--beam`, got {arguments.number} with a beam of "
            f"{arguments.beam}."
        )
    if not arguments.output.absolute().parent.is_dir():
        raise ValueError(f"`--output` {arguments.output}: there is no such folder; make it first.")
    from rich.console import Console
    from rich.progress import Progress

    from ..speech import experiment, nbest_lists, training_data

    found = {
        name: arguments.join_partners(experiment.find_recognizer(name)) for name in arguments.models
    }
    total = 0
    with Progress(console=Console(stderr=True)) as progress:
        for name, model in found.items():
            options = dataclasses.replace(model.config.data, corpus=arguments.corpus)
            config = dataclasses.replace(model.config, data=options)
            utterances = getattr(training_data.load_corpus(config), arguments.split)
            task = progress.add_task(name, total=len(utterances))
            total += nbest_lists.decode(
                arguments.output,
                name,
                model,
                utterances,
                beam=arguments.beam,
                number=arguments.number,
                language_models=arguments.load_models(model.vocabulary),
                advance=lambda count, task=task: progress.advance(task, count),
            )
    print(f"{arguments.output}: {total} lists added.", file=sys.stderr)
    return 0
