"""Figures of a layered magnet: Curie temperatures, Binder cumulants, order, loops, textures.

matplotlib is loaded on first use and through `matplotlib.figure.Figure` alone: nothing here touches
the global state of `pyplot`.  Each function takes the parts of a study.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from .spin_study import Part
from .units import BOLTZMANN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _GRAY = "#0a2a3c", "#8a979e"
_LAWS = ("constant", "surface")
_COLORS = {"constant": "#17647a", "surface": "#b04a12", "axis": "#17647a", "plane": "#b04a12"}
_LABELS = {
    "constant": "constant anisotropy",
    "surface": "anisotropy of surfaces, K(N)",
    "axis": "easy axis",
    "plane": "easy plane",
}


def draw_curie(parts: dict[str, Part]) -> "Figure":
    """The Curie temperature against the number of layers under both laws, and K(N)."""
    figure, (left, right) = _figure((9.5, 4.2), 1, 2, width_ratios=(2.2, 1))
    for law in _LAWS:
        found = _curie(parts, law)
        if not found:
            continue
        layers = [part["layers"] for part in found]
        left.errorbar(
            layers, [part["temperature"] for part in found],
            yerr=[part["error"] for part in found],
            color=_COLORS[law], marker="o", capsize=3, label=_LABELS[law],
        )  # fmt: skip
        right.plot(layers, [part["anisotropy"] for part in found], color=_COLORS[law], marker="o")
    counts = sorted({part["layers"] for law in _LAWS for part in _curie(parts, law)})
    for panel in (left, right):
        panel.set_xticks(counts)
    left.set(xlabel="Layers N", ylabel="Curie temperature (K)")
    _legend(left)
    right.set(xlabel="Layers N", ylabel="K(N) (meV)")
    right.set_ylim(bottom=0)
    _plain(left, right)
    return figure


def draw_binder(parts: dict[str, Part]) -> "Figure":
    """Binder cumulants of two sizes, for the thinnest and the thickest film."""
    found = _curie(parts, "constant")
    shown = found[:1] + (found[-1:] if len(found) > 1 else [])
    figure, grid = _figure((9.5, 4.0), 1, max(len(shown), 1))
    for panel, part in zip(np.atleast_1d(grid), shown, strict=False):
        temperatures = part["temperatures"]
        for place, size in enumerate(part["sizes"]):
            shade = place / max(len(part["sizes"]) - 1, 1)
            panel.errorbar(
                temperatures, part["binder"][place], yerr=part["binder_error"][place],
                color=_mix(shade), marker="o", markersize=4, capsize=2, label=f"{size} x {size}",
            )  # fmt: skip
        panel.axvspan(
            part["temperature"] - part["error"], part["temperature"] + part["error"],
            color=_GRAY, alpha=0.35, lw=0,
        )  # fmt: skip
        count = part["layers"]
        panel.set_title(
            f"{count} layer{'s' if count > 1 else ''}: "
            f"{part['temperature']:.1f} ± {part['error']:.1f} K", fontsize=10, color=_INK,
        )  # fmt: skip
        panel.set(xlabel="Temperature (K)", ylabel="Binder cumulant U")
        _legend(panel)
        _plain(panel)
    return figure


def draw_order(parts: dict[str, Part]) -> "Figure":
    """Magnetization, specific heat and helicity modulus of easy axis and easy plane."""
    figure, panels = _figure((9.5, 3.8), 1, 3)
    for kind in ("axis", "plane"):
        part = parts.get(f"order-{kind}")
        if part is None:
            continue
        for panel, name in zip(panels, ("magnetization", "specific_heat", "helicity"), strict=True):
            if name == "helicity" and kind == "axis":
                continue
            panel.errorbar(
                part["temperatures"], part[name], yerr=part[f"{name}_error"], capsize=2,
                color=_COLORS[kind], marker="o", markersize=4, label=_LABELS[kind],
            )  # fmt: skip
    part = parts.get("order-plane")
    if part is not None:
        temperatures = np.asarray(part["temperatures"])
        panels[2].plot(
            temperatures, 2 / np.pi * BOLTZMANN * temperatures, color=_GRAY, linestyle="--",
            label=r"$2 k T / \pi$",
        )  # fmt: skip
        top = max(*part["helicity"], 1e-9)
        panels[2].set_ylim(-0.05 * top, 1.1 * top)
    labels = ("Magnetization", "Specific heat (k)", "Helicity modulus (meV)")
    for panel, label in zip(panels, labels, strict=True):
        panel.set(xlabel="Temperature (K)", ylabel=label)
        _legend(panel)
    panels[0].set_ylim(0, 1.02)
    _plain(*panels)
    return figure


def draw_loops(parts: dict[str, Part]) -> "Figure":
    """Hysteresis loops by layers, temperature and sweep rate."""
    figure, panels = _figure((9.5, 3.8), 1, 3, sharey=True)
    loops = {name: part for name, part in parts.items() if name.startswith("loop-")}
    groups = {"layers": "loop-layers-", "temperature": "loop-temperature-", "rate": "loop-rate-"}
    base = next((name for name in loops if name.startswith("loop-layers-")), None)
    for panel, (what, prefix) in zip(panels, groups.items(), strict=True):
        shown = [part for name, part in loops.items() if name.startswith(prefix)]
        if what != "layers" and base is not None:
            shown.append(loops[base])
        shown.sort(key=lambda part: part[what])
        for place, part in enumerate(shown):
            plural = "s" if part["layers"] > 1 else ""
            text = {
                "layers": f"{part['layers']} layer{plural}, {part['temperature']:g} K",
                "temperature": f"{part['temperature']:g} K",
                "rate": f"{part['rate']:.3g} T per sweep",
            }[what]
            panel.plot(
                part["field"], part["magnetization"], linewidth=1.5, label=text,
                color=_mix(place / max(len(shown) - 1, 1)),
            )  # fmt: skip
        panel.set(xlabel="Field (T)")
        panel.axhline(0, color=_GRAY, linewidth=0.6)
        _legend(panel, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        _plain(panel)
    panels[0].set_ylabel("Magnetization")
    return figure


def draw_textures(parts: dict[str, Part]) -> "Figure":
    """Spins after a quench: Sz of an easy axis, the angle in an easy plane."""
    kinds = [kind for kind in ("axis", "plane") if f"texture-{kind}" in parts]
    number = max((len(parts[f"texture-{kind}"]["pictures"]) for kind in kinds), default=1)
    figure, grid = _figure((3.1 * number, 2.2 * max(len(kinds), 1)), max(len(kinds), 1), number)
    grid = np.reshape(grid, (-1, number))
    for row, kind in zip(grid, kinds, strict=False):
        part = parts[f"texture-{kind}"]
        for panel, picture in zip(row, part["pictures"], strict=True):
            spins = np.asarray(picture["spins"])
            _, height, width = spins.shape
            j, i = np.mgrid[:height, :width]
            x, y = part["constant"] * (i + 0.5 * j), part["constant"] * np.sqrt(0.75) * j
            if kind == "axis":
                colors, scale = spins[2], {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
            else:
                colors = np.arctan2(spins[1], spins[0])
                scale = {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}
            panel.pcolormesh(x, y, colors, shading="nearest", rasterized=True, **scale)
            panel.set_aspect("equal")
            panel.set_title(f"easy {kind}, {picture['temperature']:.0f} K", fontsize=9, color=_INK)
            panel.tick_params(labelsize=7)
            panel.set_xlabel("x (nm)", fontsize=8)
            panel.spines[:].set_visible(False)
    return figure


def _curie(parts: dict[str, Part], law: str) -> list[Part]:
    """The parts of a law by layers; the monolayer is the same under both."""
    found = [
        part for name, part in parts.items()
        if name.startswith("curie-") and (part["law"] == law or part["layers"] == 1)
    ]  # fmt: skip
    alone = law != "constant" and not any(part["law"] == law for part in found)
    return [] if alone else sorted(found, key=lambda part: part["layers"])


def _figure(size: tuple[float, float], rows: int, columns: int, **options: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _legend(panel: Any, fontsize: int = 9, **place: Any) -> None:
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=fontsize, **place)


def _plain(*panels: Any) -> None:
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_GRAY)
        panel.tick_params(color=_GRAY, labelsize=9)


def _mix(shade: float) -> tuple[float, float, float]:
    """From cold to hot."""
    from matplotlib.colors import to_rgb

    low, high = np.array(to_rgb(_COLORS["axis"])), np.array(to_rgb(_COLORS["plane"]))
    red, green, blue = (1 - shade) * low + shade * high
    return float(red), float(green), float(blue)
