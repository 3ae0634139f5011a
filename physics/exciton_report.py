"""The page of an exciton in a field: one HTML file with figures and tables, offline and forever.

Its frame is `exciton_report.html` beside this file; the functions here fill it.  Whatever comes
from outside passes through `html.escape`.
"""

import html
import os
from pathlib import Path

import numpy as np

from ..core import page, whole_file
from . import exciton_figures
from .exciton_study import Study

FIGURES = {
    "maps": exciton_figures.draw_maps,
    "levels": exciton_figures.draw_levels,
    "spectra": exciton_figures.draw_spectra,
    "waves": exciton_figures.draw_waves,
}


def write_figures(study: Study, folder: str | os.PathLike[str], command: str) -> Path:
    """Writes all figures as PNG, and the page that holds them.

    Args:
        study: what to show.
        folder: where to write; it must exist.
        command: the command line that made the study, told on the page.

    Returns:
        The path of the page.
    """
    images = {}
    for name, draw in FIGURES.items():
        images[name] = page.to_png(draw(study))
        whole_file.write_bytes(Path(folder) / f"{name}.png", images[name])
    path = Path(folder) / "exciton.html"
    whole_file.write_text(path, render_page(study, images, command))
    return path


def render_page(study: Study, images: dict[str, bytes], command: str) -> str:
    """The page as text; `images` holds a PNG for each name in `FIGURES`."""
    fill = {
        "title": html.escape(study.material.name or "Exciton"),
        "verdict": _tell(study),
        "material": page.definitions(_material_rows(study)),
        "states": _table(study),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in study.notes)
        or "<li>All followed states are converged to 0.1 meV.</li>",
        "command": html.escape(command),
    }
    embedded = {name: page.to_url(image) for name, image in images.items()}
    return page.fill(Path(__file__).with_name("exciton_report.html"), **fill, **embedded)


def _tell(study: Study) -> str:
    """The findings in a sentence each."""
    states, last = study.spectrum, study.fields[-1]
    binding = -float(states.ground_energy[0])
    sentences = [f"1s is bound by <strong>{binding:.1f} meV</strong>."]
    if last > study.fields[0]:
        dark, bright = states["2p"], states["2s"]
        sentences.append(
            f"From {study.fields[0]:g} to {last:g} V/&mu;m the 2p line moves by "
            f"<strong>{float(dark.energy[-1] - dark.energy[0]):+.1f} meV</strong> and rises from "
            f"{100 * float(dark.oscillator_strength[0]):.1f}% to "
            f"<strong>{100 * float(dark.oscillator_strength[-1]):.1f}%</strong> of the strength of "
            f"1s, while 2s goes from {100 * float(bright.oscillator_strength[0]):.1f}% to "
            f"{100 * float(bright.oscillator_strength[-1]):.1f}%."
        )
    return " ".join(sentences)


def _material_rows(study: Study) -> dict[str, str]:
    material = study.material
    rows = {
        "Reduced mass": f"{float(material.reduced_mass):g} electron masses",
        "Screening length r0": f"{float(material.screening_length):g} nm",
        "Dielectric constant": f"{float(material.dielectric):g}",
        "Band gap": f"{float(material.band_gap):g} meV"
        if material.band_gap
        else "origin of energy",
        "Polarizability of 1s": f"{study.polarizability * 1e-15:.4g} eV (m/V)<sup>2</sup>",
        "Broadening": f"{study.broadening:g} meV half width",
        "Life time": f"{study.lifetime:g} ps without ionization",
        "Source": html.escape(f"{material.source or 'user'} ({material.tag})"),
    }
    if material.p_shift:
        rows["Shift of p states"] = f"{float(material.p_shift):g} meV"
    if study.disorder:
        rows["Disorder"] = f"{study.disorder:g} meV standard deviation"
    return rows


def _table(study: Study) -> str:
    """Energies, widths and strengths at up to nine fields."""
    places = np.unique(np.linspace(0, len(study.fields) - 1, 9).round().astype(int))
    lines = []
    for place in places:
        cells = [f"<th scope='row'>{study.fields[place]:g}</th>"]
        for name in study.spectrum.states:
            state = study.spectrum[name]
            width = max(float(state.width[place]), 0.0)
            shown = f"{width:.3f}" if width >= 1e-3 else "&lt; 0.001"
            cells += [
                f"<td>{float(state.energy[place]):.2f}</td><td>{shown}</td>"
                f"<td>{float(state.oscillator_strength[place]):.4f}</td>"
            ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(lines)
