"""Drawings of topologies: the graph on a circle, and its mixing matrix.

matplotlib is loaded on first use and through `matplotlib.figure.Figure` alone: nothing here touches
the global state of `pyplot`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from .mixture import Topology, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RAMP = ("#ffffff", "#c9dfe2", "#5fa6b3", "#17647a", "#0a2a3c")  # paper to ink
_EDGE, _INK, _PAPER = "#17647a", "#0a2a3c", "#ffffff"
_MOST_LABELS = 32


def draw(topology: Topology, max_steps: int = 4) -> "Figure":
    """Draws who averages with whom, for the first steps of the period.

    An edge is as wide as its weight; it bears an arrowhead, from sender to receiver, where the
    other direction has not the same weight.  In the matrix, row i holds the weights of what learner
    i receives.

    Args:
        topology: the topology to draw.
        max_steps: the most steps shown, at least 1.

    Returns:
        A figure, to be saved with ``figure.savefig(path)``.

    Raises:
        ValueError: if `max_steps` is below 1.
    """
    from matplotlib.figure import Figure

    shown = min(topology.period, check_positive(max_steps, "max_steps"))
    matrices = [topology.matrix(step) for step in range(shown)]
    largest = max(w.max() for w in matrices)

    # A single step has its matrix beside the graph, several steps have theirs below.
    size = (2.9 * shown + 0.7, 5.9) if shown > 1 else (6.5, 3.1)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, shown) if shown > 1 else figure.subplots(1, 2)[:, None]
    images = []
    for step, (w, (graph, matrix)) in enumerate(zip(matrices, grid.T, strict=True)):
        _draw_graph(graph, w, largest)
        images.append(_draw_matrix(matrix, w, largest))
        if topology.period > 1:
            graph.set_title(f"step {step}", fontsize=10, color=_INK)
    grid[1, 0].set_ylabel("receiver")
    bar = figure.colorbar(images[-1], ax=grid[1].tolist(), shrink=0.8, label="weight")
    bar.outline.set_visible(False)
    figure.suptitle(_caption(topology, shown), fontsize=10, color=_INK)
    return figure


def _draw_graph(panel: Any, matrix: np.ndarray, largest: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    n = len(matrix)
    angles = 0.5 * np.pi - 2.0 * np.pi * np.arange(n) / n  # clockwise from the top, as on a clock
    places = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    radius = min(0.16, 2.2 / n)  # of a disk, in units of the circle
    mirrored = np.isclose(matrix, matrix.T, rtol=0.0, atol=1e-12)
    for receiver, sender in np.argwhere(matrix > 0.0):
        if receiver == sender or (mirrored[receiver, sender] and receiver > sender):
            continue
        start, end = places[sender], places[receiver]
        inset = radius * (end - start) / np.linalg.norm(end - start)
        width = 0.2 + min(2.8, 40.0 / n) * float(matrix[receiver, sender]) / largest
        panel.add_patch(
            FancyArrowPatch(
                tuple(start + inset),
                tuple(end - inset),
                arrowstyle="-" if mirrored[receiver, sender] else "-|>",
                mutation_scale=5.0 + 2.0 * width,
                linewidth=width,
                color=_EDGE,
                shrinkA=0.0,
                shrinkB=0.0,
            )
        )
    _draw_learners(panel, places, radius)
    panel.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    panel.set_axis_off()


def _draw_learners(panel: Any, places: np.ndarray, radius: float) -> None:
    from matplotlib.patches import Circle

    for learner, place in enumerate(places):
        disk = Circle(
            tuple(place), radius, facecolor=_PAPER, edgecolor=_INK, linewidth=1.0, zorder=2
        )
        panel.add_patch(disk)
        if len(places) <= _MOST_LABELS:
            size = min(9.0, 60.0 * radius)
            panel.text(*place, str(learner), ha="center", va="center", fontsize=size, color=_INK)


def _draw_matrix(panel: Any, matrix: np.ndarray, largest: float) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("ink", _RAMP)
    image = panel.imshow(matrix, cmap=ramp, vmin=0.0, vmax=largest)
    ticks = range(0, len(matrix), -(-len(matrix) // 8))
    panel.set(xticks=ticks, yticks=ticks, xlabel="sender")
    panel.tick_params(length=0, labelsize=8)
    panel.spines[:].set_color(_RAMP[1])
    return image


def _caption(topology: Topology, shown: int) -> str:
    learners = "1 learner" if topology.num_learners == 1 else f"{topology.num_learners} learners"
    period = f", {shown} of {topology.period} steps" if topology.period > shown else ""
    return f"{learners}{period}, spectral gap {topology.spectral_gap():.3g}"
