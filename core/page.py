"""Pages of one HTML file: a frame with a shared style, and pictures inside; offline and forever."""

import base64
import io
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .. import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fill(frame: Path, **fields: str) -> str:
    """A page from its frame, a file with ``$name`` where fields go.

    Args:
        frame: the file; ``$style`` in it becomes the style that all pages share, ``$version`` that
            of gossamer.
        fields: markup; whatever came from outside must have passed through `html.escape`.

    Raises:
        KeyError: if a field is missing.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8").rstrip()
    text = frame.read_text(encoding="utf-8")
    return Template(text).substitute(fields, style=style, version=__version__)


def to_png(figure: "Figure") -> bytes:
    """A figure as a PNG on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()


def to_url(content: bytes, media_type: str = "image/png") -> str:
    """A picture or a sound as its source within the page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def definitions(rows: dict[str, str]) -> str:
    """Names and values, both markup, as the rows of a ``<dl>``."""
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows.items())
