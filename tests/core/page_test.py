"""A page is filled whole, with the style that all share."""

import base64

import pytest
from matplotlib.figure import Figure

from gossamer import __version__
from gossamer.core import page


def test_fields_style_and_version(tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text("<style>\n$style\n</style>$title, $version")
    text = page.fill(frame, title="&lt;b&gt;")
    assert "--paper" in text
    assert text.endswith(f"&lt;b&gt;, {__version__}")
    with pytest.raises(KeyError, match="title"):
        page.fill(frame)


def test_a_figure_within_the_page():
    png = page.to_png(Figure(figsize=(1, 1)))
    assert png.startswith(b"\x89PNG")
    head, content = page.to_url(png).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content) == png
    assert page.to_url(b"", "audio/wav") == "data:audio/wav;base64,"


def test_definitions():
    assert page.definitions({"a": "1"}) == "<div><dt>a</dt><dd>1</dd></div>"
