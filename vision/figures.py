"""Plots of a run and of the study."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..core import whole_file


def draw_run(log: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Loss, accuracy and learning rates of a run by step.

    Args:
        log: lines of ``metrics.jsonl``.
        path: the PNG file.
    """
    panels = (
        ("loss", ("loss", "validation/loss"), "log"),
        ("accuracy", ("accuracy", "validation/accuracy"), "linear"),
        ("learning rate", ("learning_rate", "effective_learning_rate"), "linear"),
        ("consensus distance", ("consensus_distance",), "log"),
    )
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, (title, names, scale) in zip(axes.flat, panels, strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in log if row.get(name) is not None]
            points = [(step, value) for step, value in points if scale == "linear" or value > 0]
            if points:
                axis.plot(*zip(*points, strict=True), label=name.replace("_", " "))
        axis.set_title(title)
        if axis.lines:
            axis.set_yscale(scale)
            axis.legend(frameon=False)
    for axis in axes[1]:
        axis.set_xlabel("step")
    save(figure, path)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as a PNG file, all of it or nothing."""
    with whole_file.draft(path) as part:
        figure.savefig(part, format="png", dpi=120)
