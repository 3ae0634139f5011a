"""The page of a layered magnet: one HTML file with figures and tables, offline and forever.

Its frame is `spin_report.html` beside this file; the functions here fill it.  Whatever comes from
outside passes through `html.escape`.
"""

import html
import os
from pathlib import Path

from ..core import page, whole_file
from . import spin_figures
from .spin_materials import Magnet
from .spin_study import Part, Settings

FIGURES = {
    "curie": spin_figures.draw_curie,
    "binder": spin_figures.draw_binder,
    "order": spin_figures.draw_order,
    "loops": spin_figures.draw_loops,
    "textures": spin_figures.draw_textures,
}


def write_figures(
    magnet: Magnet,
    settings: Settings,
    parts: dict[str, Part],
    folder: str | os.PathLike[str],
    command: str,
) -> Path:
    """Writes all figures as PNG, and the page that holds them.

    Args:
        magnet: what was simulated.
        settings: how much of it.
        parts: of the study.
        folder: where to write; it must exist.
        command: the command line that made the study, told on the page.

    Returns:
        The path of the page.
    """
    images = {}
    for name, draw in FIGURES.items():
        images[name] = page.to_png(draw(parts))
        whole_file.write_bytes(Path(folder) / f"{name}.png", images[name])
    path = Path(folder) / "spins.html"
    whole_file.write_text(path, render_page(magnet, settings, parts, images, command))
    return path


def render_page(
    magnet: Magnet,
    settings: Settings,
    parts: dict[str, Part],
    images: dict[str, bytes],
    command: str,
) -> str:
    """The page as text; `images` holds a PNG for each name in `FIGURES`."""
    notes = dict.fromkeys(note for part in parts.values() for note in part.get("notes", []))
    fill = {
        "title": html.escape(magnet.name or "Magnet"),
        "verdict": _tell(magnet, parts),
        "material": page.definitions(_rows(magnet, settings)),
        "curie_rows": _curie_table(parts),
        "loop_rows": _loop_table(parts),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in notes),
        "command": html.escape(command),
    }
    embedded = {f"image_{name}": page.to_url(image) for name, image in images.items()}
    return page.fill(Path(__file__).with_name("spin_report.html"), **fill, **embedded)


def _curie_parts(parts: dict[str, Part]) -> list[Part]:
    found = [part for name, part in parts.items() if name.startswith("curie-")]
    return sorted(found, key=lambda part: (part["law"], part["layers"]))


def _tell(magnet: Magnet, parts: dict[str, Part]) -> str:
    """The findings in a sentence each."""
    curie = _curie_parts(parts)
    sentences = []
    for law, text in (("constant", "a constant anisotropy"), ("surface", "an anisotropy K(N)")):
        found = [part for part in curie if part["law"] == law or part["layers"] == 1]
        if len({part["layers"] for part in found}) > 1:
            first, last = (
                min(found, key=lambda part: part["layers"]),
                max(found, key=lambda part: part["layers"]),
            )
            sentences.append(
                f"With {text} the Curie temperature goes from <strong>"
                f"{first['temperature']:.0f} ± {first['error']:.0f} K</strong> of "
                f"{first['layers']} to <strong>{last['temperature']:.0f} ± {last['error']:.0f} K"
                f"</strong> of {last['layers']} layers."
            )
    if not sentences and curie:
        only = curie[0]
        sentences.append(
            f"The Curie temperature is <strong>{only['temperature']:.1f} ± {only['error']:.1f} K"
            "</strong>."
        )
    if not sentences and magnet.anisotropy <= 0:
        sentences.append("An easy plane has no order of its own, only stiffness.")
    return " ".join(sentences) or "No Curie temperature was found."


def _rows(magnet: Magnet, settings: Settings) -> dict[str, str]:
    rows = {
        "Exchange J": f"{magnet.exchange:g} meV",
        "Anisotropy K": f"{magnet.anisotropy:g} meV"
        + (f", bulk {bulk:g} meV" if (bulk := magnet.bulk_anisotropy) is not None else ""),
        "Between layers": f"{magnet.interlayer:g} meV, {html.escape(magnet.stacking)} stacking",
        "Moment": f"{magnet.moment:g} &mu;<sub>B</sub>",
        "Lattice": f"{magnet.kind}, {magnet.constant:g} nm",
        "Sizes": " and ".join(f"{size} x {size}" for size in settings.sizes),
        "Measurements": f"{settings.measurements} of each of {settings.replicas} replicas",
        "Source": html.escape(f"{magnet.source or 'user'} ({magnet.tag})"),
    }
    return rows


def _curie_table(parts: dict[str, Part]) -> str:
    lines = []
    for part in _curie_parts(parts):
        known = part["estimates"]
        cells = [
            f"{part['anisotropy']:.3g}",
            f"{part['temperature']:.1f} ± {part['error']:.1f}",
            f"{part['binder_at_crossing']:.3f}",
            f"{known['mean field']:.0f}",
            f"{known['random phase']:.0f}",
        ]
        lines.append(
            f"<tr><th scope='row'>{part['layers']}, {part['law']}</th>"
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    return "\n".join(lines)


def _loop_table(parts: dict[str, Part]) -> str:
    lines = []
    for name, part in parts.items():
        if not name.startswith("loop-"):
            continue
        coercive = "none"
        if part["coercivity"] is not None:
            coercive = f"{part['coercivity']:.3f}"
            coercive += f" ± {part['error']:.3f}" if part["error"] is not None else ""
        lines.append(
            f"<tr><th scope='row'>{part['layers']}</th><td>{part['temperature']:g}</td>"
            f"<td>{part['rate']:.3g}</td><td>{coercive}</td>"
            f"<td>{part['remanence']:.3f}</td></tr>"
        )
    return "\n".join(lines)
