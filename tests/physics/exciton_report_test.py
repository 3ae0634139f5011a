"""The page is whole, holds its figures, and escapes what it is given."""

import base64
import dataclasses
import re

from gossamer.physics import exciton_report


def test_figures_and_page(tmp_path, float64, exciton_study):
    page = exciton_report.write_figures(exciton_study, tmp_path, "gossamer exciton")
    text = page.read_text()
    for name in exciton_report.FIGURES:
        image = (tmp_path / f"{name}.png").read_bytes()
        assert base64.b64encode(image).decode() in text
    assert "161.4 meV" in text
    assert not re.findall("https?:", text)
    assert not re.findall(r"\$\w", text)
    assert not list(tmp_path.glob("*.part"))


def test_names_are_escaped(float64, exciton_study):
    material = dataclasses.replace(exciton_study.material, name="<b>", source="<i>")
    images = dict.fromkeys(exciton_report.FIGURES, b"")
    text = exciton_report.render_page(exciton_study._replace(material=material), images, "<u>")
    assert "&lt;b&gt;" in text
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>"))
