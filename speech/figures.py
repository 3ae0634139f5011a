"""Figures of the run report: curves as SVG that follows the page's colors, spectrograms as PNG.

A curve is drawn with placeholder colors, which become CSS variables in the SVG text, so that one
figure serves the light and the dark page.  Its lettering stays text, which the page sets in its own
typeface.  A spectrogram carries no lettering at all; the page lays words and time marks over it.

matplotlib is loaded on first use and through `matplotlib.figure.Figure` alone: nothing here touches
the global state of `pyplot`.
"""

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Placeholder color -> CSS variable of the page.  The values only need to be distinct and unusual.
_INK, _MUTED, _GRID, _FIRST, _SECOND = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _GRID: "var(--line)",
    _FIRST: "var(--first)",
    _SECOND: "var(--second)",
}
_LIGHT_RAMP = ("#ffffff", "#c9dfe2", "#5fa6b3", "#17647a", "#0a2a3c")  # paper to ink
_DARK_RAMP = ("#131d23", "#143a4a", "#1f7c90", "#7fcfcb", "#fdf3cf")  # night to candle light

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay letters
    "font.size": 12,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlecolor": _MUTED,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.color": _GRID,
    "ytick.labelcolor": _MUTED,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "figure.constrained_layout.use": True,
}


def read_series(log: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Collects one quantity of the log.

    Args:
        log: Lines of `metrics.jsonl`; a line without `"step"` or without `key` is passed over, and
            so is a value that is no finite number.
        key: Name of the quantity.

    Returns:
        Steps and values, both [points] float64, in the order of the log.
    """
    points = [
        (float(line["step"]), float(line[key]))
        for line in log
        if isinstance(line.get("step"), (int, float))
        and isinstance(line.get(key), (int, float))
        and math.isfinite(line[key])
    ]
    pairs = np.asarray(points, np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def smooth(values: np.ndarray, *, window: int) -> np.ndarray:
    """Averages each value [points] with up to `window - 1` values before it."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw_loss(log: Sequence[Mapping[str, Any]]) -> str:
    """Draws training and validation loss, and beneath them the validation word error rate.

    Args:
        log: Lines of `metrics.jsonl` with any of `loss`, `validation/loss` and `validation/wer`.

    Returns:
        An `<svg>` element, or "" where the log holds none of the three.
    """
    loss, validation, errors = (
        read_series(log, key) for key in ("loss", "validation/loss", "validation/wer")
    )
    has_loss, has_errors = len(loss[0]) + len(validation[0]) > 0, len(errors[0]) > 0
    if not (has_loss or has_errors):
        return ""
    with _styled("loss"):
        figure, panels = _create_panels([2.0] * has_loss + [1.0] * has_errors)
        if has_loss:
            panel = panels[0]
            panel.set_title("Loss")
            if len(loss[0]):
                panel.plot(*loss, color=_FIRST, alpha=0.3, linewidth=0.8)
                window = max(1, len(loss[0]) // 40)
                panel.plot(loss[0], smooth(loss[1], window=window), color=_FIRST, label="training")
            if len(validation[0]):
                panel.plot(*validation, "o-", color=_SECOND, markersize=3.5, label="validation")
            panel.legend(loc="upper right")
            _scale_loss(panel, np.concatenate([loss[1], validation[1]]))
        if has_errors:
            panel = panels[-1]
            panel.set_title("Validation word error rate, %")
            panel.plot(errors[0], 100.0 * errors[1], "o-", color=_SECOND, markersize=3.5)
            panel.set_ylim(bottom=0.0)
        return _to_svg(figure, panels, "Loss and validation word error rate over training steps")


def draw_consensus(log: Sequence[Mapping[str, Any]]) -> str:
    """Draws the consensus distance on a logarithmic scale, and beneath it the learning rate.

    Args:
        log: Lines of `metrics.jsonl` with any of `consensus_distance`, `learning_rate` and
            `effective_learning_rate`, which shares a panel with the learning rate. Distances of
            zero, as with a single learner, have no place on the scale and are left out.

    Returns:
        An `<svg>` element, or "" where there is nothing to draw.
    """
    distance, rate, effective = (
        read_series(log, key)
        for key in ("consensus_distance", "learning_rate", "effective_learning_rate")
    )
    positive = distance[1] > 0.0
    distance = (distance[0][positive], distance[1][positive])
    has_distance, has_effective = len(distance[0]) > 0, len(effective[0]) > 0
    has_rate = len(rate[0]) > 0 or has_effective
    if not (has_distance or has_rate):
        return ""
    with _styled("consensus"):
        figure, panels = _create_panels([2.0] * has_distance + [1.0] * has_rate)
        if has_distance:
            panels[0].set_title("Consensus distance")
            # Without a barrier it is only known at checkpoints: a line of one point shows nothing.
            marker = "o" if len(distance[0]) < 20 else ""
            panels[0].plot(*distance, color=_FIRST, linewidth=1.4, marker=marker, markersize=3.5)
            _use_log_scale(panels[0])
        if has_rate:
            panels[-1].set_title("Learning rate")
            panels[-1].plot(*rate, color=_MUTED, linewidth=1.4, label="set")
            panels[-1].fill_between(*rate, color=_MUTED, alpha=0.12, linewidth=0)
            if has_effective:
                panels[-1].plot(*effective, color=_SECOND, linewidth=1.4, label="effective")
                panels[-1].legend(loc="upper right")
            else:
                panels[-1].set_ylim(bottom=0.0)
        return _to_svg(figure, panels, "Consensus distance and learning rate over training steps")


_DIAGNOSTICS = (
    ("Noise of the mean's step", {"minibatch_noise": "minibatch", "landscape_noise": "landscape"}),
    ("Sharpness along the spread of the learners", {"sharpness": "sharpness"}),
    (
        "How alike the learners' gradients are",
        {
            "hamming_distance": "leader's choice off the best",
            "residual_cosine": "cosine of residuals",
        },
    ),
    ("Residual over gradient", {"residual_ratio": "ratio"}),
)


def draw_diagnostics(log: Sequence[Mapping[str, Any]]) -> str:
    """Draws what `core.landscape` and `core.similarity` measured beside the training.

    Args:
        log: Lines of `metrics.jsonl`; those of a run without diagnostics have nothing to draw.

    Returns:
        An `<svg>` element, or "" where there is nothing to draw.
    """
    shown = []
    for title, names in _DIAGNOSTICS:
        series = {label: read_series(log, name) for name, label in names.items()}
        series = {label: found for label, found in series.items() if len(found[0])}
        if series:
            shown.append((title, series))
    if not shown:
        return ""
    with _styled("diagnostics"):
        figure, panels = _create_panels([1.3] * len(shown))
        for panel, (title, series) in zip(panels, shown, strict=True):
            panel.set_title(title)
            for color, (label, found) in zip((_FIRST, _SECOND), series.items(), strict=False):
                panel.plot(*found, color=color, linewidth=1.4, label=label)
            if len(series) > 1:
                panel.legend(loc="upper right")
        return _to_svg(figure, panels, "Diagnostics of the learners over training steps")


def draw_spectrogram(log_mel: np.ndarray, *, dark: bool = False) -> bytes:
    """Draws a log-mel spectrogram, one pixel per frame and band, low frequencies at the bottom.

    Args:
        log_mel: [frames, bands], finite; any scale.
        dark: Draw for a dark page.

    Returns:
        A PNG image of `frames` x `bands` pixels.

    Raises:
        ValueError: `log_mel` is not a finite, non-empty array of rank 2.
    """
    log_mel = np.asarray(log_mel, np.float32)
    if log_mel.ndim != 2 or log_mel.size == 0 or not np.isfinite(log_mel).all():
        raise ValueError(
            f"`log_mel` must be a finite, non-empty array [frames, bands]; got {log_mel.shape}"
            + (" with non-finite values." if log_mel.size else ".")
        )
    import matplotlib.colors
    import matplotlib.image

    ramp = _DARK_RAMP if dark else _LIGHT_RAMP
    low, high = np.quantile(log_mel, [0.05, 0.995])
    buffer = io.BytesIO()
    matplotlib.image.imsave(
        buffer,
        log_mel.T,
        vmin=float(low),
        vmax=float(max(high, low + 1e-3)),  # silence is flat, and flat is no division by zero
        cmap=matplotlib.colors.LinearSegmentedColormap.from_list("page", ramp),
        origin="lower",
        format="png",
    )
    return buffer.getvalue()


def _styled(name: str):
    import matplotlib

    # The salt makes ids repeat from run to run and differ from figure to figure.
    return matplotlib.rc_context({**_STYLE, "svg.hashsalt": name})


def _create_panels(heights: Sequence[float]) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.1, 1.0 + 1.15 * sum(heights)))
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))
    return figure, list(grid[:, 0])


def _use_log_scale(panel) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.set_yscale("log")
    low, high = panel.get_ylim()
    decades = math.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0)
    panel.yaxis.set_major_locator(LogLocator(subs=steps))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _scale_loss(panel, values: np.ndarray) -> None:
    """Logarithmic where the loss is positive and spans a decade, linear from zero otherwise."""
    if values.min() > 0.0 and values.max() / values.min() > 10.0:
        _use_log_scale(panel)
    elif values.min() >= 0.0:
        panel.set_ylim(bottom=0.0)


def _to_svg(figure, panels: Sequence[Any], label: str) -> str:
    from matplotlib.ticker import MaxNLocator

    panels[-1].set_xlabel("step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for panel in panels:
        panel.margins(x=0.01)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # an inline element has neither XML declaration nor doctype
    svg = re.sub(r"<defs>\s*<style.*?</defs>", "", svg, count=1, flags=re.DOTALL)  # is page-wide
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # two figures on a page must not share ids
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
