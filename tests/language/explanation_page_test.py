"""The page and the terminal show what was found, and no markup from outside."""

import html.parser
import io
import re

import numpy as np
import pytest
from rich.console import Console

from gossamer.language.data import Text
from gossamer.language.explanation import Evidence, Explanation, Scored
from gossamer.language.explanation_page import render_page, show, write_page


@pytest.fixture
def found():
    text = "A <b>dull</b> film & more"
    span = Scored(5, 9, 1.5)

    def evidence(words, score):
        text = Text("one", f"so {words} <i>", 0)
        best = Scored(3, 3 + len(words), score)
        return Evidence(text, 2 * score, best, [best, Scored(0, 2, score / 2)])

    return Explanation(
        text,
        ("bad", "good"),
        np.array([0.9, 0.1]),
        0,
        span,
        [span, Scored(0, 1, -0.5)],
        [evidence("boring", 0.75)],
        [evidence("lovely", -0.25)],
        np.zeros(1234),
    )


def test_the_page_holds_everything_escaped(found):
    page = render_page(found, command="gossamer explain a 'b<c'", corpus="x<y")
    assert '<mark class="test">dull</mark>' in page
    assert '<mark class="for">boring</mark>' in page
    assert '<mark class="against">lovely</mark>' in page
    assert "&lt;b&gt;" in page
    assert "A <b>" not in page
    assert "<i>" not in page
    assert "x&lt;y" in page
    assert "90.0%" in page
    assert "1,234" in page
    assert not re.search(r"\$\w", page)
    assert "http" not in page.split("</style>")[1]
    assert "<script" not in page


def test_no_evidence_is_said(found):
    page = render_page(found._replace(supporting=[], opposing=[]), command="", corpus="")
    assert page.count("None.") == 2


def test_the_file_is_written_whole(found, tmp_path):
    write_page(found, tmp_path / "page.html", command="", corpus="")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_terminal_shows_both_sides(found):
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    show(found, console)
    printed = console.file.getvalue()  # type: ignore
    assert "boring" in printed
    assert "lovely" in printed
    assert "1.50 lower" in printed


class Nesting(html.parser.HTMLParser):
    """Fails where an element is closed that is not the innermost open one."""

    EMPTY = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_elements_are_nested(found):
    parser = Nesting()
    parser.feed(render_page(found, command="c", corpus="d"))
    assert not parser.open
