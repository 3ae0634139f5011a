"""Figures of an exciton in a field: maps, level fan, spectra, wave functions.

matplotlib is loaded on first use and through `matplotlib.figure.Figure` alone: nothing here touches
the global state of `pyplot`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from .exciton_study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _GRAY = "#0a2a3c", "#8a979e"
_COLORS = {"1s": "#0a2a3c", "2p": "#b04a12", "2s": "#17647a"}
_FIELD = r"Field (V/$\mu$m)"


def draw_maps(study: Study) -> "Figure":
    """Absorption and photocurrent over photon energy and field; 1s below, the rest above."""
    figure, grid = _figure((9.5, 6.2), 2, 2, height_ratios=(4, 1), sharex=True)
    energy = study.photon_energy - float(study.material.band_gap)
    split = 0.62 * float(study.spectrum.ground_energy[0])
    for column, (title, values) in enumerate(
        (("Absorption", study.absorption), ("Photocurrent", study.photocurrent))
    ):
        for row, rows in enumerate((energy > split, energy <= split)):
            panel = grid[row, column]
            part = np.maximum(values[:, rows], 0.0)
            top = float(np.percentile(part, 99.6)) if row == 0 else float(part.max())
            image = panel.pcolormesh(
                study.fields, energy[rows], part.T, shading="gouraud", vmin=0, vmax=max(top, 0.5),
                cmap="magma", rasterized=True,
            )  # fmt: skip
            figure.colorbar(image, ax=panel, pad=0.02, aspect=24 if row == 0 else 6)
            for name in ("2p", "2s") if row == 0 else ("1s",):
                place = study.spectrum[name].energy
                panel.plot(study.fields, place, color="white", linewidth=0.8, linestyle=(0, (2, 3)))
                if row == 0:
                    panel.annotate(
                        name, (study.fields[-1], place[-1]), (-5, 7), textcoords="offset points",
                        color="white", fontsize=9, ha="right",
                    )  # fmt: skip
            panel.set_ylim(energy[rows][0], energy[rows][-1])
            if column == 0:
                panel.set_ylabel(r"$\hbar\omega - E_g$ (meV)")
        grid[0, column].set_title(f"{title}, over the step of free pairs", color=_INK, fontsize=10)
        grid[1, column].set_xlabel(_FIELD)
    return figure


def draw_levels(study: Study) -> "Figure":
    """The fan of levels with the anticrossing of 2s and 2p, their widths, strengths and mixing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 6.0), layout="constrained")
    axes = figure.subplot_mosaic("ab\nac\nad", width_ratios=(1.5, 1))
    fan, states, fields = axes["a"], study.spectrum, study.fields
    _draw_poles(fan, study)
    for name in ("2p", "2s"):
        state = states[name]
        energy, half = np.asarray(state.energy), np.maximum(np.asarray(state.width), 0) / 2
        fan.fill_between(
            fields, energy - half, energy + half, color=_COLORS[name], alpha=0.16, lw=0
        )
        fan.plot(fields, energy, color=_COLORS[name], linewidth=2, label=rf"{name}, $\pm\Gamma/2$")
    for energy in (study.two_levels.lower, study.two_levels.upper):
        label = "2s and 2p alone" if energy is study.two_levels.lower else None
        fan.plot(fields, energy, color=_GRAY, linewidth=1, linestyle="--", label=label)
    bottom = min(float(states["2p"].energy.min()), float(states["2s"].energy.min()))
    fan.set(xlabel=_FIELD, ylabel="Energy from the band gap (meV)")
    fan.set(xlim=(fields[0], fields[-1]), ylim=(1.12 * bottom, -0.25 * bottom))
    fan.legend(frameon=False, fontsize=9, loc="lower left")
    place = states.states.index("2s")
    rows = {
        "b": ("Width (meV)", lambda s: np.maximum(np.asarray(s.width), 1e-3)),
        "c": ("Strength over 1s", lambda s: s.oscillator_strength),
        "d": ("Weight of 2s", lambda s: s.composition[:, place]),
    }
    for key, (label, read) in rows.items():
        for name in ("2p", "2s"):
            axes[key].plot(fields, read(states[name]), color=_COLORS[name], linewidth=1.8)
        axes[key].set_ylabel(label)
        axes[key].set_xlim(fields[0], fields[-1])
    axes["b"].set_yscale("log")
    axes["b"].set_ylim(bottom=1e-3)
    axes["c"].set_ylim(bottom=0)
    axes["d"].set_ylim(0, 1.05)
    axes["d"].set_xlabel(_FIELD)
    for panel in axes.values():
        _plain(panel)
    return figure


def draw_spectra(study: Study) -> "Figure":
    """Absorption and photocurrent of the excited states at some fields, one above the other."""
    figure, (left, right) = _figure((9.5, 5.4), 1, 2, sharex=True)
    energy = study.photon_energy - float(study.material.band_gap)
    shown = energy > 0.62 * float(study.spectrum.ground_energy[0])
    places = np.unique(np.linspace(0, len(study.fields) - 1, min(7, len(study.fields))).round())
    for panel, title, values in (
        (left, "Absorption", study.absorption),
        (right, "Photocurrent", study.photocurrent),
    ):
        step = 0.45 * max(float(np.max(values[:, shown])), 1e-12)
        for rank, place in enumerate(places.astype(int)):
            shade = 0.25 + 0.7 * rank / max(len(places) - 1, 1)
            base = rank * step
            color = _mix(shade)
            panel.fill_between(
                energy[shown], base, base + values[place, shown], color=color, alpha=0.12, lw=0
            )
            panel.plot(energy[shown], base + values[place, shown], color=color, linewidth=1.4)
            panel.annotate(
                rf"{study.fields[place]:g} V/$\mu$m", (energy[shown][0], base), (2, 3),
                textcoords="offset points", fontsize=8.5, color=color,
            )  # fmt: skip
        panel.axvline(0, color=_GRAY, linewidth=0.8, linestyle=":")
        panel.set_title(f"{title}, over the step of free pairs", fontsize=10, color=_INK)
        panel.set(xlabel=r"$\hbar\omega - E_g$ (meV)", xlim=(energy[shown][0], energy[-1]))
        _plain(panel)
    return figure


def draw_waves(study: Study) -> "Figure":
    """Re psi of the followed states at up to three fields; ionized, they run out to the left."""
    states = list(dict.fromkeys(wave.state for wave in study.waves))
    fields = list(dict.fromkeys(wave.field for wave in study.waves))
    figure, grid = _figure((3.1 * len(fields) + 0.6, 3.0 * len(states)), len(states), len(fields))
    grid = np.reshape(grid, (len(states), len(fields)))
    for wave in study.waves:
        row, column = states.index(wave.state), fields.index(wave.field)
        panel = grid[row, column]
        top = np.abs(wave.values).max()
        panel.imshow(
            wave.values / top, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower",
            extent=(-wave.extent, wave.extent) * 2, interpolation="bicubic",
        )  # fmt: skip
        if row == 0:
            panel.set_title(rf"{wave.field:g} V/$\mu$m", fontsize=10, color=_INK)
        if column == 0:
            panel.set_ylabel(f"{wave.state}\ny (nm)")
        if row == len(states) - 1:
            panel.set_xlabel("x (nm), along the field")
        panel.tick_params(labelsize=8)
        panel.spines[:].set_color(_GRAY)
    return figure


def _draw_poles(panel: Any, study: Study) -> None:
    """All narrow poles as dots whose area is their strength."""
    energies = np.real(study.spectrum.poles)
    widths = -2 * np.imag(study.spectrum.poles)
    strengths = np.abs(study.spectrum.strengths) / float(study.spectrum.ground_density[0])
    narrow = (np.abs(widths) < 25) & (strengths < 0.5) & (energies < 0)
    fields = np.broadcast_to(study.fields[:, None], energies.shape)[narrow]
    panel.scatter(
        fields, energies[narrow], s=3 + 350 * strengths[narrow], color=_GRAY, alpha=0.35, lw=0,
        label="all poles, area as strength",
    )  # fmt: skip


def _figure(size: tuple[float, float], rows: int, columns: int, **options: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    heights = options.pop("height_ratios", None)
    return figure, figure.subplots(rows, columns, height_ratios=heights, **options)


def _plain(panel: Any) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(_GRAY)
    panel.tick_params(color=_GRAY, labelsize=9)


def _mix(shade: float) -> tuple[float, float, float]:
    """From the colors of 2s to that of 2p."""
    from matplotlib.colors import to_rgb

    low, high = np.array(to_rgb(_COLORS["2s"])), np.array(to_rgb(_COLORS["2p"]))
    red, green, blue = (1 - shade) * low + shade * high
    return float(red), float(green), float(blue)
