"""The result of a run in plain values, and its printing in the terminal.

`RunSummary` and `PromptResult` hold all that a reader is told at the end of a run; `print_summary`
tells it in the terminal, `report.write_report` in a page.  Both take their words from here, so that
they cannot disagree.

In the terminal a prompt stands as in NIST's sclite: reference over hypothesis, column by column, a
gap as `***`, and S, D or I beneath each substituted, deleted or inserted word.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import word_error

_STYLES = {"": "", "S": "bold yellow", "D": "bold red", "I": "bold magenta"}
_GAP = "***"


class PromptResult(NamedTuple):
    """What the recognizer made of one prompt."""

    name: str  # as the corpus names the recording
    reference: str
    hypothesis: str
    waveform: np.ndarray  # [samples] float, in [-1, 1]
    sample_rate: int  # Hz
    log_mel: np.ndarray  # [frames, bands], one frame each 10 ms
    labels: Sequence[tuple[str, float]]  # emitted characters and their times in seconds, in order


class RunSummary(NamedTuple):
    """What a run was and how well it did; a value that is None is not reported."""

    title: str
    corpus: str
    num_prompts: int  # held-out prompts behind `errors`
    errors: word_error.WordErrorRate
    num_parameters: int
    num_bytes: int  # of the model file on disk
    search: str | None = None  # how it was decoded, if not greedily
    real_time_factor: float | None = None  # seconds of computing per second of speech
    training_seconds: float | None = None
    num_learners: int = 1
    topology: str | None = None
    num_steps: int | None = None
    seed: int | None = None
    command: str = ""
    config: Mapping[str, Any] = {}
    versions: Mapping[str, str] = {}
    attribution: str = ""  # whom the corpus asks to name


def classify(reference: str | None, hypothesis: str | None) -> str:
    """Names a column of an alignment: "" where it is right, else "S", "D" or "I"."""
    if reference is None:
        return "I"
    if hypothesis is None:
        return "D"
    return "" if reference == hypothesis else "S"


def count_errors(columns: Sequence[word_error.Column]) -> tuple[int, int]:
    """Counts the errors of an alignment and the words of its reference."""
    errors = sum(classify(*column) != "" for column in columns)
    return errors, sum(reference is not None for reference, _ in columns)


def describe_errors(columns: Sequence[word_error.Column]) -> str:
    """Says how many errors an alignment holds, in how many words."""
    errors, words = count_errors(columns)
    length = f"{words} word" if words == 1 else f"{words} words"
    if errors == 0:
        return f"no error in {length}"
    return f"1 error in {length}" if errors == 1 else f"{errors} errors in {length}"


def format_percent(rate: float) -> str:
    """Writes a rate in percent: 0.1234 as "12.3%"."""
    return f"{100.0 * rate:.1f}%"


def format_bytes(num_bytes: int) -> str:
    """Writes a size in decimal units: 1,234,567 bytes as "1.23 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            size = num_bytes / factor
            return f"{size:.{max(0, 2 - int(math.log10(size)))}f} {unit}"
    return f"{num_bytes} B"


def format_seconds(seconds: float) -> str:
    """Writes a duration in its two largest units: 125.4 as "2 min 5 s"."""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def state_verdict(summary: RunSummary) -> str:
    """Says the result in one sentence."""
    errors = summary.errors
    return (
        f"Word error rate {format_percent(errors.rate)}, with a 95% interval from "
        f"{format_percent(errors.low)} to {format_percent(errors.high)}, on "
        f"{summary.num_prompts:,} held-out prompts with {errors.words:,} words."
    )


def list_facts(summary: RunSummary) -> list[tuple[str, str]]:
    """Lists what is known of a run as rows of a table.

    Args:
        summary: The run.

    Returns:
        Pairs of a label and its value, in reading order; values that are None have no row.
    """
    errors = summary.errors
    interval = f"{format_percent(errors.low)} to {format_percent(errors.high)}"
    facts = [
        ("Word error rate", f"{format_percent(errors.rate)} ({interval})"),
        ("Character error rate", format_percent(errors.character_error_rate)),
        ("Substitutions", f"{errors.substitutions:,}"),
        ("Deletions", f"{errors.deletions:,}"),
        ("Insertions", f"{errors.insertions:,}"),
        ("Words in the references", f"{errors.words:,}"),
        ("Parameters", f"{summary.num_parameters:,}"),
        ("Size on disk", format_bytes(summary.num_bytes)),
    ]
    if summary.search is not None:
        facts.append(("Search", summary.search))
    if summary.real_time_factor is not None:
        facts.append(("Real-time factor", f"{summary.real_time_factor:.3g}"))
    if summary.training_seconds is not None:
        facts.append(("Training time", format_seconds(summary.training_seconds)))
    facts.append(("Learners", f"{summary.num_learners}"))
    if summary.topology is not None:
        facts.append(("Topology", summary.topology))
    if summary.num_steps is not None:
        facts.append(("Steps", f"{summary.num_steps:,}"))
    if summary.seed is not None:
        facts.append(("Seed", f"{summary.seed}"))
    return facts


def print_summary(
    summary: RunSummary, prompts: Sequence[PromptResult], *, console: Console | None = None
) -> None:
    """Prints the table of a run and its prompts, reference over hypothesis.

    Args:
        summary: The run.
        prompts: Any number of prompts with their hypotheses.
        console: Where to print; None prints to the standard output.
    """
    console = console or Console()
    table = Table(title=Text(summary.title), show_header=False, title_justify="left")
    table.add_column(style="dim")
    table.add_column(justify="right", overflow="fold")
    for label, value in list_facts(summary):
        table.add_row(label, Text(value))
    console.print(table)
    for prompt in prompts:
        columns = word_error.align(prompt.reference, prompt.hypothesis)
        console.print()
        console.print(Text(f"{prompt.name}: {describe_errors(columns)}", style="dim"))
        for line in layout_alignment(columns, width=console.width):
            console.print(line)


def layout_alignment(columns: Sequence[word_error.Column], *, width: int) -> list[Text]:
    """Sets an alignment in lines of at most `width` characters (one column at the least).

    Args:
        columns: Pairs of a reference and a hypothesis word, None for a gap.
        width: Characters in a line.

    Returns:
        Reference, hypothesis and marks, line under line; marks only where there is an error.
    """
    heads = ("ref ", "hyp ", "    ")
    lines = [Text().append(head, style="dim") for head in heads]
    for reference, hypothesis in columns:
        mark = classify(reference, hypothesis)
        cells = (reference or _GAP, hypothesis or _GAP, mark)
        cell_width = max(map(cell_len, cells))
        if lines[-1].cell_len > len(heads[0]) and lines[-1].cell_len + cell_width > width:
            lines += [Text().append(head, style="dim") for head in heads]
        for line, cell in zip(lines[-3:], cells, strict=True):
            padding = " " * (cell_width - cell_len(cell) + 1)
            line.append(cell, style=_STYLES[mark]).append(padding)
    for line in lines:
        line.rstrip()
    return [line for line in lines if line]
