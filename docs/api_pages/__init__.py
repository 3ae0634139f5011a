"""A Sphinx extension: a page for every module, and what else the site needs beyond its pages.

Names in backticks lead to what they mean where they stand, links of the pages to a module's source
lead to its page, and formulas of the notebooks become MathML, which needs no network.
"""

import ast
import inspect
import textwrap
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .docstrings import attributes, escape, to_rst
from .modules import Module, decorators, fields, full_name, public_members, read_modules

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/api"  # git ignores it
LONGEST_VALUE = 70  # characters of a constant or default that are shown
HEAD = """\
Reference
=========

One page for each module, made from its docstrings. Import modules, not names:
``from gossamer.core import gossip``. Shapes of arrays are written ``[batch, time]``.

.. toctree::
   :maxdepth: 1

"""


def write_pages(app) -> None:
    """Writes the pages that changed, and removes those of modules that are gone."""
    app.gossamer_modules = modules = read_modules(ROOT)
    pages = {f"{module.page}.rst": page(module, modules) for module in modules.values()}
    tops = [module for module in modules.values() if module.name.count(".") == 1]
    pages["index.rst"] = HEAD + "".join(
        f"   {top.name.removeprefix('gossamer.')} <{top.page}>\n" for top in tops
    )
    for path in FOLDER.rglob("*.rst"):
        if str(path.relative_to(FOLDER)) not in pages:
            path.unlink()
    for name, text in pages.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def page(module: Module, modules: dict[str, Module]) -> str:
    """The page of a module: its docstring, what is inside, and what it passes on."""
    title = module.name.removeprefix("gossamer.")
    parts = [f"{title}\n{'=' * len(title)}", f".. py:module:: {module.name}"]
    parts.append(to_rst(ast.get_docstring(module.tree) or ""))
    if module.exports:
        parts.append("Offered here, defined elsewhere:")
        parts.append("\n".join(f"- `{module.names[name]}`" for name in sorted(module.exports)))
    parts += [member(name, node, module) for name, node in public_members(module.tree)]
    inside = [one for one in modules.values() if one.name.rpartition(".")[0] == module.name]
    if inside:
        entries = "\n".join(
            f"   * - :py:mod:`{one.name.removeprefix(module.name + '.')} <{one.name}>`\n"
            f"     - {escape((ast.get_docstring(one.tree) or '').splitlines()[0])}"
            for one in inside
        )
        table = f".. list-table::\n   :widths: 30 70\n   :class: modules\n\n{entries}"
        names = "\n".join(
            f"   {one.name.removeprefix(module.name + '.')} </docs/api/{one.page}>"
            for one in inside
        )
        parts.append(f"{table}\n\n.. toctree::\n   :hidden:\n\n{names}")
    return "\n\n".join(part.rstrip("\n") for part in parts if part.strip()) + "\n"


def member(name: str, node: ast.stmt, module: Module, *, method: bool = False) -> str:
    """The directive of a function, class, constant or field."""
    if isinstance(node, ast.ClassDef):
        return _class(node, module)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _data(name, node, module, "attribute" if method else "data")
    marks = decorators(node)
    if marks & {"property", "cached_property"}:
        options = f":type: {ast.unparse(node.returns)}\n" if node.returns else ""
        return _directive("property", name, options, ast.get_docstring(node))
    drop_first = method and "staticmethod" not in marks
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    options = "".join(f":{mark}:\n" for mark in ("classmethod", "staticmethod") if mark in marks)
    kind = "method" if method else "function"
    return _directive(
        kind,
        f"{name}({_arguments(node.args, drop_first)}){returns}",
        options,
        ast.get_docstring(node),
    )


class FullNames(SphinxPostTransform):
    """Gives names in docstrings and signatures the meaning that they have where they stand.

    Sphinx by itself takes any object whose name ends alike, of whatever module.
    """

    default_priority = 5  # before Sphinx looks for them

    def run(self, **_) -> None:
        """See `SphinxPostTransform.run`."""
        objects = self.env.get_domain("py").objects
        for node in self.document.findall(addnodes.pending_xref):
            here = self.app.gossamer_modules.get(node.get("py:module") or "")
            if node.get("refdomain") == "py" and here:
                node.attributes.pop("refspecific", None)
                full = full_name(node["reftarget"], here, node.get("py:class"))
                node["reftarget"] = full if full in objects else node["reftarget"]


def link_sources(app, doctree) -> None:
    """Turns downloads of a module's source into links to its page."""
    pages = {module.path: f"/docs/api/{module.page}" for module in app.gossamer_modules.values()}
    here = (Path(app.srcdir) / app.env.docname).parent
    for node in list(doctree.findall(addnodes.download_reference)):
        page = pages.get((here / node["reftarget"]).resolve())
        if page:
            target = {"refdomain": "std", "reftype": "doc", "reftarget": page, "refexplicit": True}
            target |= {"refdoc": app.env.docname, "refwarn": True}
            node.replace_self(addnodes.pending_xref("", *node.children, **target))


def fold_navigation(app, page, template, context, doctree) -> None:
    """Lists the modules of the package one is in, not all 300: most of the time went there."""
    whole = context.get("toctree")
    if whole:
        context["toctree"] = lambda **options: whole(**(options | {"collapse": True}))


def visit_math(translator, node) -> None:
    """Writes a formula within a line."""
    translator.body.append(convert(node.astext()))
    raise SkipNode


def visit_displayed_math(translator, node) -> None:
    """Writes a formula that has its own line."""
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("doctree-read", link_sources)
    app.connect("html-page-context", fold_navigation, priority=400)  # before the theme
    app.add_post_transform(FullNames)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displayed_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _class(node: ast.ClassDef, module: Module) -> str:
    bodies = dict(public_members(node))
    doc = ast.get_docstring(node) or ""
    described = attributes(doc)
    constructor = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
    if isinstance(constructor, ast.FunctionDef):
        arguments = f"({_arguments(constructor.args, True)})"
    elif found := fields(node, module):
        arguments = "({})".format(
            ", ".join(f"{name}={_short(one)}" if one else name for name, one in found.items())
        )
    else:
        arguments = ""
    bases = [ast.unparse(base) for base in node.bases]
    bases = [base for base in bases if base not in ("NamedTuple", "abc.ABC", "object")]
    body = [f"Bases: {', '.join(f':py:obj:`{base}`' for base in bases)}"] if bases else []
    body.append(to_rst(doc))
    strings = {
        id(one): ast.literal_eval(following.value)
        for one, following in zip(node.body, node.body[1:], strict=False)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    }
    for name, one in bodies.items():
        if name in described:
            continue
        if isinstance(one, ast.Assign | ast.AnnAssign):
            body.append(_data(name, one, module, "attribute", strings.get(id(one), "")))
        else:
            body.append(member(name, one, module, method=True))
    kind = "exception" if any(base.endswith(("Error", "Exception")) for base in bases) else "class"
    text = "\n\n".join(part.rstrip("\n") for part in body if part.strip())
    return f".. py:{kind}:: {node.name}{arguments}\n\n{textwrap.indent(text, '   ')}"


def _data(name: str, node: ast.stmt, module: Module, kind: str, doc: str = "") -> str:
    options = ""
    if isinstance(node, ast.AnnAssign):
        options += f":type: {ast.unparse(node.annotation)}\n"
    value = ast.unparse(node.value) if getattr(node, "value", None) else ""
    if value and len(value) <= LONGEST_VALUE:
        options += f":value: {value}\n"
    return _directive(kind, name, options, inspect.cleandoc(doc) or module.comment(node))


def _directive(kind: str, signature: str, options: str, doc: str | None) -> str:
    text = f"{options}\n{to_rst(doc or '')}"
    return f".. py:{kind}:: {signature}\n{textwrap.indent(text, '   ')}"


def _short(value: ast.expr) -> str:
    text = ast.unparse(value)
    return text if len(text) <= LONGEST_VALUE else "..."


def _arguments(args: ast.arguments, drop_first: bool) -> str:
    if drop_first:
        first = "posonlyargs" if args.posonlyargs else "args"
        rest = getattr(args, first)[1:]
        kept = {name: getattr(args, name) for name in args._fields}
        args = ast.arguments(**(kept | {first: rest}))
    return ast.unparse(args)
