"""The page is whole, holds its figures, and escapes what it is given."""

import base64
import dataclasses
import re

from gossamer.physics import spin_report
from gossamer.physics.spin_materials import find
from gossamer.physics.spin_study import Settings


def test_figures_and_page(tmp_path, spin_parts):
    page = spin_report.write_figures(
        find("VSe2"), Settings(), spin_parts, tmp_path, "gossamer spins"
    )
    text = page.read_text()
    for name in spin_report.FIGURES:
        image = (tmp_path / f"{name}.png").read_bytes()
        assert base64.b64encode(image).decode() in text
    assert "320 ± 2 K</strong> of 1 to <strong>350 ± 2 K" in text
    assert "a &lt;note&gt;" in text
    assert not re.findall("https?:", text)
    assert not re.findall(r"\$\w", text)
    assert not list(tmp_path.glob("*.part"))


def test_names_are_escaped(spin_parts):
    magnet = dataclasses.replace(find("VSe2"), name="<b>", source="<i>")
    images = dict.fromkeys(spin_report.FIGURES, b"")
    text = spin_report.render_page(magnet, Settings(), spin_parts, images, "<u>")
    assert "&lt;b&gt;" in text
    assert not any(tag in text for tag in ("<b>", "<i>", "<u>"))
