"""The site: every page is reached, every link leads somewhere, every module is in the reference."""

import ast
import contextlib
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    .*$", re.MULTILINE)


def prose(path):
    """A page without its code."""
    return INDENTED.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path):
    """The anchors of a page's headings, as GitHub and Sphinx make them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def entries(page):
    """What the toctrees of a page list."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```{toctree}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from (
            (page.parent / re.sub(r".*<(.*)>", r"\1", line)).resolve()
            for line in block.splitlines()
            if line and not line.startswith(":")
        )


@pytest.fixture(scope="module")
def api():
    """The parts of the site's extension that need nothing but Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs/api_pages"))
        names = ("docstrings", "modules")
        parts = {name: importlib.import_module(name) for name in names}
        yield SimpleNamespace(**parts, found=parts["modules"].read_modules(ROOT))
        for name in names:
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_a_toctree():
    index = ROOT / "docs/index.md"
    listed = {entry for page in (index, ROOT / "docs/notebooks.md") for entry in entries(page)}
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    wanted = {page.with_suffix("") for page in [*PAGES, *notebooks] if page != index}
    assert listed == wanted | {ROOT / "docs/api/index"}


def test_tour_prints_what_it_says():
    text = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    said = "".join(text for kind, text in blocks if kind == "text")
    names: dict = {"__name__": "tour"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for kind, text in blocks:
            if kind == "python":
                exec(compile(text, "docs/tour.md", "exec"), names)
    assert printed.getvalue() == said


def test_every_public_module_has_a_page(api):
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    packages = {"core", "speech", "vision", "language", "physics", "cli"}
    paths = {ROOT / name for name in tracked if name.split("/")[0] in packages}
    wanted = {path for path in paths if path.stem == "__init__" or not path.stem.startswith("_")}
    assert {module.path for module in api.found.values()} >= wanted
    assert len({module.page for module in api.found.values()}) == len(api.found)


def test_members_and_comments_are_read_from_the_source(api):
    module = api.found["gossamer.core.gossip"]
    members = dict(api.modules.public_members(module.tree))
    assert {"mix", "dpsgd", "MixState", "Order", "consensus_distance"} <= set(members)
    assert "_remember" not in members
    (_, field), *_ = api.modules.public_members(members["MixState"])
    assert module.comment(field).startswith("[] int32: number of updates")
    assert module.names["mixing"] == "gossamer.core.mixing"
    assert list(api.modules.fields(members["MixState"], module)) == ["step"]


def test_fields_of_bases_come_first(api):
    module = api.found["gossamer.core.quantizers"]
    quantizer = dict(api.modules.public_members(module.tree))["Sawb"]
    assert list(api.modules.fields(quantizer, module)) == ["bits", "blocks", "straight_through"]


@pytest.mark.parametrize(
    ("module", "name", "owner", "meaning"),
    [
        ("core.gossip", "mixing.pull", None, "core.mixing.pull"),
        ("core.gossip", "mix", None, "core.gossip.mix"),
        ("core.gossip", "learners.average", None, "core.learners.average"),
        ("core.quantizer", "init", "Quantizer", "core.quantizer.Quantizer.init"),
        ("physics.spins", "SpinModel", None, "physics.interactions.model.SpinModel"),
    ],
)
def test_names_mean_what_they_do_where_they_stand(api, module, name, owner, meaning):
    here = api.found[f"gossamer.{module}"]
    assert api.modules.full_name(name, here, owner) == f"gossamer.{meaning}"
    assert api.modules.full_name("params", here, owner) == "params"


def test_exports_of_a_module_are_found(api):
    assert "SpinModel" in api.found["gossamer.physics.spins"].exports
    assert "CG" in api.found["gossamer.core.attribution"].exports
    assert api.found["gossamer.core.gossip"].exports == []


def test_docstrings_become_markup(api):
    docstring = ast.get_docstring(
        ast.parse(
            '''"""Adds |a| and x_i.

    With words

        s = a*b
        t = |a|

    in `between`.

    Args:
        a: a number, that
            goes on.
        *rest: others.

    Returns:
        A pair: one and two.

    Example:
        >>> add(1)

    References:
        X. Lian, 2017,
            arXiv:1705.09056.
    """'''
        )
    )
    assert docstring
    assert api.docstrings.to_rst(docstring) == "\n".join(
        [
            r"Adds \|a\| and x\_i.",
            "",
            "With words",
            "",
            ".. code-block:: text",
            "",
            "   s = a*b",
            "   t = |a|",
            "",
            "in `between`.",
            "",
            ":param a: a number, that",
            "   goes on.",
            r":param \*rest: others.",
            "",
            ":returns: A pair: one and two.",
            "",
            ".. rubric:: Example",
            "",
            ".. code-block:: pycon",
            "",
            "   >>> add(1)",
            "",
            ".. rubric:: References",
            "",
            r"- X\. Lian, 2017,",
            "  `arXiv:1705.09056 <https://arxiv.org/abs/1705.09056>`__.",
            "",
        ]
    )
