"""Measures of training against the learning rate, a line for each way to train."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

Row = tuple[str, str, float, Mapping[str, float] | None]  # setting, method, rate, what was measured


def draw(rows: Sequence[Row], measures: Mapping[str, str]) -> Figure:
    """A row of panels for each setting; runs that diverged are left out.

    Args:
        rows: one for each run.
        measures: labels of what is drawn, by its name in the rows.
    """
    settings = list(dict.fromkeys(row[0] for row in rows))
    figure = Figure(figsize=(9, 3.2 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), len(measures), squeeze=False)
    for setting, line in zip(settings, panels, strict=True):
        for panel, (measure, label) in zip(line, measures.items(), strict=True):
            for method in dict.fromkeys(row[1] for row in rows):
                points = sorted(
                    (rate, found[measure])
                    for where, name, rate, found in rows
                    if (where, name) == (setting, method) and found is not None
                )
                if points:
                    panel.plot(*zip(*points, strict=True), "o-", markersize=4, label=method)
                else:
                    panel.plot([], label=method)  # keeps its color in the other panels
            panel.set(xscale="log", xlabel="peak learning rate", ylabel=label, title=setting)
            rates = sorted({row[2] for row in rows})
            panel.set_xticks(rates, [f"{rate:g}" for rate in rates])
            panel.minorticks_off()
            panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure
