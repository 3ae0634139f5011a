"""``gossamer explain RUN "text"``: which spans of which training texts made the model say so."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTION = """Explain a prediction by spans of training texts: supporting and opposing ones.

It prints them highlighted and writes one HTML page into the run folder.

examples:
  gossamer train language --run runs/sentiment
  gossamer explain runs/sentiment "A gripping and beautiful film."
  gossamer explain runs/sentiment "The plot is dull, the music is not." --span "is dull"
  gossamer explain runs/sentiment "A dull film." --label positive --top 10"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to explain."""

    run: tyro.conf.Positional[Path]
    """Run folder of a trained classifier, or its packed file."""
    text: tyro.conf.Positional[str]
    """The text whose class is explained."""
    span: str | None = None
    """The words of it to explain; by default those that decide most."""
    label: str | None = None
    """Class to explain; by default the predicted one."""
    top: int = 5
    """Training texts on each side."""
    candidates: int = 10
    """Training texts on each side whose spans are looked at."""
    longest: int = 4
    """Words of a span at most."""
    page: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """HTML page to write; by default explanation.html in the run folder."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer explain", description=DESCRIPTION, args=words)
    from rich.console import Console

    from ..core.progress import Amount
    from ..language import classifier, data, explanation, explanation_page

    model = classifier.load(arguments.run)
    label = None
    if arguments.label is not None:
        if arguments.label not in model.classes:
            raise ValueError(
                f"`--label` must be one of {', '.join(model.classes)}, got {arguments.label!r}."
            )
        label = model.classes.index(arguments.label)
    train = data.load_corpus(model.corpus).train
    with Amount(len(model.variants), "passes over the training texts") as amount:
        found = explanation.explain(
            model,
            train,
            arguments.text,
            span=arguments.span,
            label=label,
            top=arguments.top,
            candidates=max(arguments.candidates, arguments.top),
            longest=arguments.longest,
            report=lambda done, total: amount.report(done / len(train)),
        )
    explanation_page.show(found, Console())
    folder = arguments.run if arguments.run.is_dir() else arguments.run.parent
    page = arguments.page or folder / "explanation.html"
    command = shlex.join(["gossamer", "explain", *words])
    explanation_page.write_page(found, page, command=command, corpus=model.corpus)
    print(page)
    return 0
