"""Figures of a quantized network: weights with their levels, clips over training, sensitivities.

matplotlib is loaded on first use and through `matplotlib.figure.Figure` alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..core.bit_allocation import Sensitivity
from ..core.paths import named_leaves
from ..core.quantization import Policy, weight_paths
from ..core.quantized import dequantize
from .figures import read_series

_WEIGHTS, _LEVELS, _CLIP = "#7f8c96", "#d9dee2", "#c2410c"
_GATES = ("input gate", "forget gate", "candidate", "output gate")
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 130,
}


def draw_weights(params: Any, policy: Policy, clips: Mapping[str, Any]):
    """Histograms of the quantized weights; lines at their levels, and the clip at the last one.

    LSTM matrices take a row with a panel for each gate (of the forward direction); others share the
    rows beneath.  Each panel tells the share of the squared weights that is lost.

    Args:
        params: a tree of float weights.
        policy: what quantizes them.
        clips: parameters of the weights' quantizers by path, often none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    leaves = dict(named_leaves(params))
    gated, others = [], []
    for path, quantizer in weight_paths(policy, params).items():
        weights = leaves[path]
        codes = jax.jit(quantizer.codes)(clips.get(path, {}), weights)
        rounded = np.asarray(dequantize(codes))
        weights = np.asarray(weights)
        if weights.ndim == 3:  # [directions, inputs, 4 size]
            parts = zip(np.split(weights[0], 4, -1), np.split(rounded[0], 4, -1), strict=True)
            gated.append(
                [(f"{path}, {gate}", *part) for gate, part in zip(_GATES, parts, strict=True)]
            )
        else:
            others.append((path, weights, rounded))
    rows = [*gated, *(others[start : start + 4] for start in range(0, len(others), 4))]
    with _styled():
        figure, grid = _create_grid(len(rows), 4, (2.6, 1.35))
        for row, panels in zip(rows, grid, strict=True):
            for panel in panels[len(row) :]:
                panel.set_axis_off()
            for panel, (title, weights, rounded) in zip(panels, row, strict=False):
                _draw_histogram(panel, title, weights, rounded)
        return figure


def draw_clips(log: Sequence[Mapping[str, Any]]):
    """The clips of the activation sites over training, a panel for each site.

    Args:
        log: lines of `metrics.jsonl`; clips are the entries "clip/<site>/<name>".

    Returns:
        A `matplotlib.figure.Figure`, or None where the log has no clips.
    """
    names = sorted({name for line in log for name in line if name.startswith("clip/")})
    if not names:
        return None
    sites = sorted({name.rsplit("/clip", 1)[0].removeprefix("clip/") for name in names})
    with _styled():
        figure, grid = _create_grid(len(sites), 1, (7.0, 1.2), sharex=True)
        for site, (panel,) in zip(sites, grid, strict=True):
            for name in names:
                if name.startswith(f"clip/{site}/"):
                    panel.plot(*read_series(log, name), label=name.removeprefix(f"clip/{site}/"))
            panel.set_title(site)
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            panel.margins(x=0.01)
        grid[-1][0].set_xlabel("step")
        return figure


def draw_sensitivities(found: Sequence[Sensitivity], loss: float):
    """Bars: how much the held-out loss rises when one tensor is quantized, and its own error.

    Args:
        found: as `core.bit_allocation.sensitivity` gives them.
        loss: in float, per label.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    ordered = sorted(found, key=lambda tensor: tensor.loss_change)
    names = [tensor.path for tensor in ordered]
    changes = [100 * tensor.loss_change / loss for tensor in ordered]
    errors = [100 * tensor.relative_error for tensor in ordered]
    with _styled():
        height = 0.6 + 0.2 * len(ordered)
        figure, ((left, right),) = _create_grid(1, 2, (4.4, height), sharey=True)
        left.barh(names, changes, color=_CLIP, height=0.7)
        left.axvline(0, color="black", linewidth=0.6)
        left.set_title(f"Rise of the loss, % of {loss:.3f}, with this tensor quantized alone")
        right.barh(names, errors, color=_WEIGHTS, height=0.7)
        right.set_title("Squared error of the tensor, %")
        return figure


def _draw_histogram(panel, title: str, weights: np.ndarray, rounded: np.ndarray) -> None:
    levels = np.unique(rounded)
    reach = 1.05 * float(max(np.abs(weights).max(), np.abs(levels).max(), 1e-12))
    for level in levels:
        panel.axvline(level, color=_LEVELS, linewidth=0.7, zorder=0)
    for end in (levels[0], levels[-1]):
        panel.axvline(end, color=_CLIP, linewidth=1.0)
    panel.hist(weights.ravel(), bins=120, range=(-reach, reach), color=_WEIGHTS)
    error = np.sum((rounded - weights) ** 2) / max(np.sum(weights**2), 1e-30)
    panel.set_title(title)
    panel.text(0.99, 0.97, f"{100 * error:.1f}%", transform=panel.transAxes, ha="right", va="top")
    panel.set_xlim(-reach, reach)
    panel.set_yticks([])


def _styled():
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _create_grid(rows: int, columns: int, size: tuple[float, float], **options):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * size[0], rows * size[1] + 0.3))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)
