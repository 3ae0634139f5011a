"""What a study found: results of its runs, one table, plots.

A run counts as converged if its training loss over the last tenth of the log is finite and below
half of what a network that knows nothing has, log(number of classes).
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..core import metrics, text_table
from . import figures
from .slices import SLICE

RESULT = "result.json"


class RunResult(NamedTuple):
    """How a run ended; NaN throughout where it diverged."""

    train_loss: float  # mean over the last tenth of the log
    accuracy: float  # 0 to 1
    log: Sequence[Mapping[str, Any]]  # lines of metrics.jsonl
    slice: Mapping[str, Sequence[float]] | None = None  # "positions" and "losses", if measured


class Row(NamedTuple):
    """A run of a study and its result."""

    network: str
    batch_size: int
    learning_rate: float
    method: str
    seed: int
    result: RunResult


class Cell(NamedTuple):
    """The runs of one setting and method that differ in their seeds alone."""

    train_loss: float  # median over all seeds, those that diverged counting as infinite
    accuracy: float  # mean over seeds that did not diverge
    converged: int
    number: int  # of seeds


def read_result(folder: str | Path) -> RunResult:
    """The result of a finished run; one without a score, or whose score is no number, diverged."""
    folder = Path(folder)
    log = metrics.read_log(folder)
    path = folder / RESULT
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if found.get("loss") is None:
        return RunResult(math.nan, math.nan, log)
    losses = [row["loss"] for row in log if row.get("loss") is not None]
    last = losses[-max(len(losses) // 10, 1) :]
    loss = float(np.mean(last)) if last else math.nan
    path = folder / SLICE
    around = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return RunResult(loss, found["accuracy"], log, around)


def gather(rows: Sequence[Row], num_classes: int) -> dict[tuple[str, int, float], dict[str, Cell]]:
    """Cells by (network, batch size, learning rate), and by method within.

    Args:
        rows: of a study.
        num_classes: which the loss is to be compared with.
    """
    groups: dict[Any, list[RunResult]] = defaultdict(list)
    for row in rows:
        groups[row[:4]].append(row.result)
    table: dict[Any, dict[str, Cell]] = defaultdict(dict)
    for (*setting, method), results in groups.items():
        losses = [math.inf if math.isnan(x.train_loss) else x.train_loss for x in results]
        accuracies = [x.accuracy for x in results if not math.isnan(x.accuracy)]
        converged = sum(loss < math.log(num_classes) / 2 for loss in losses)
        accuracy = float(np.mean(accuracies)) if accuracies else math.nan
        table[tuple(setting)][method] = Cell(
            float(np.median(losses)), accuracy, converged, len(results)
        )
    return dict(table)


def table(rows: Sequence[Row], num_classes: int) -> str:
    """Training loss, accuracy and convergence of each setting by method, as aligned text."""
    cells = gather(rows, num_classes)
    methods = list(dict.fromkeys(row.method for row in rows))
    lines: list[tuple[str, ...]] = [("network", "batch", "rate", *methods)]
    for (network, batch, rate), found in cells.items():
        shown = [_show(found.get(method)) for method in methods]
        lines.append((network, str(batch), f"{rate:g}", *shown))
    return text_table.align(lines, right=range(1, 3 + len(methods)))


def _show(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    count = f"{cell.converged}/{cell.number}"
    if math.isnan(cell.accuracy):
        return f"diverged {count}"
    loss = "inf" if math.isinf(cell.train_loss) else f"{cell.train_loss:.3f}"
    return f"{loss} {100 * cell.accuracy:.1f}% {count}"


def compare(rows: Sequence[Row], num_classes: int, method: str, baseline: str) -> str:
    """In which settings a method does better, and where it does not, in plain words."""
    better, worse = [], []
    for (network, batch, _), found in gather(rows, num_classes).items():
        if method in found and baseline in found:
            ours, theirs = (found[name].accuracy for name in (method, baseline))
            wins = not math.isnan(ours) and (math.isnan(theirs) or ours > theirs)
            (better if wins else worse).append(f"{network} at {batch}")
    return (
        f"{method} is more accurate than {baseline} in {len(better)} of "
        f"{len(better) + len(worse)} settings"
        + (f"; it is not with {', '.join(worse)}" if worse else "")
        + "."
    )


def draw(rows: Sequence[Row], num_classes: int, path: str | os.PathLike[str]) -> None:
    """Accuracy by batch size for each network, a line for each method, as a PNG file."""
    cells = gather(rows, num_classes)
    networks = list(dict.fromkeys(row.network for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    columns = min(len(networks), 5)
    height = math.ceil(len(networks) / columns)
    figure = Figure(figsize=(3 * columns, 2.6 * height), layout="constrained")
    axes = np.ravel(figure.subplots(height, columns, squeeze=False, sharey=True))
    for axis, network in zip(axes, networks, strict=False):
        for method in methods:
            points = sorted(
                (batch, 100 * found[method].accuracy)
                for (name, batch, _), found in cells.items()
                if name == network and method in found
            )
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=method)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(network, fontsize=9)
        axis.set_xlabel("batch")
    for axis in axes[len(networks) :]:
        axis.set_visible(False)
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend(frameon=False, fontsize=7)
    figures.save(figure, path)


def draw_rates(rows: Sequence[Row], path: str | os.PathLike[str]) -> bool:
    """Effective over nominal learning rate by step, for runs that measured it; else no file.

    Returns:
        Whether there was something to draw.
    """
    measured = []
    for row in rows:
        points = [
            (line["step"], line["effective_learning_rate"] / line["learning_rate"])
            for line in row.result.log
            if line.get("effective_learning_rate") is not None and line.get("learning_rate")
        ]
        if points:
            measured.append((f"{row.network}, {row.method}, {row.batch_size}", points))
    if not measured:
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for label, points in measured:
        axis.plot(*zip(*points, strict=True), label=label)
    axis.set_xlabel("step")
    axis.set_ylabel("effective / nominal learning rate")
    axis.legend(frameon=False, fontsize=7)
    figures.save(figure, path)
    return True


def draw_slices(rows: Sequence[Row], path: str | os.PathLike[str]) -> bool:
    """The loss around each model for which it was measured; else no file.

    Returns:
        Whether there was something to draw.
    """
    measured = [(row, row.result.slice) for row in rows if row.result.slice is not None]
    if not measured:
        return False
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for row, found in measured:
        label = f"{row.network}, {row.method}, {row.batch_size}"
        axis.plot(found["positions"], found["losses"], label=label)
    axis.set_yscale("log")
    axis.set_xlabel("distance, in lengths of the weights")
    axis.set_ylabel("loss")
    axis.legend(frameon=False, fontsize=7)
    figures.save(figure, path)
    return True
