"""Docstrings of gossamer as reStructuredText.

They are plain text: paragraphs, formulas and tables as indented blocks, the sections of Google's
style, names in backticks.  Napoleon would join the lines of a formula and take "A pair: x and y" of
a ``Returns:`` section for a type, so the sections are read here.
"""

import re
import textwrap

FIELDS = {
    "Args": "param",
    "Attributes": "ivar",
    "Raises": "raises",
    "Warns": "warns",
    "Returns": "returns",
    "Yields": "yields",
}
SECTION = re.compile(rf"({'|'.join(FIELDS)}|Example|References):")
ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ?(.*)")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
INITIAL = re.compile(r"^([A-Za-z]|[ivxlcIVXLC]+)\. ", re.MULTILINE)  # no numbers of a list
LIST = re.compile(r"(?:-|\d+\.) ")


def to_rst(docstring: str) -> str:
    """Turns a cleaned docstring (`ast.get_docstring`) into reStructuredText."""
    parts, title, body = [], "", []
    for line in [*docstring.splitlines(), "End:"]:
        match = SECTION.fullmatch(line)
        if match or line == "End:":
            parts.append(_section(title, textwrap.dedent("\n".join(body)).strip("\n")))
            title, body = (match[1] if match else ""), []
        else:
            body.append(line)
    return "\n\n".join(part for part in parts if part) + "\n"


def attributes(docstring: str) -> set[str]:
    """The fields that a docstring of a class describes itself."""
    _, _, section = docstring.partition("Attributes:\n")
    body = re.match(r"(?:    .*\n?|\n)*", section)
    return set(re.findall(r"^    (\w+):", body[0] if body else "", flags=re.MULTILINE))


def escape(text: str) -> str:
    """Text in which only backticks mean anything; papers become links."""
    spans = re.split(r"(`[^`]+`|``.+?``)", text, flags=re.DOTALL)
    for i in range(0, len(spans), 2):
        text = INITIAL.sub(r"\1\\. ", re.sub(r"([\\*|_])", r"\\\1", spans[i]))
        spans[i] = ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", text)
    return "".join(spans)


def _section(title: str, body: str) -> str:
    if not title:
        return _text(body)
    if title == "Example":
        language = "pycon" if body.lstrip().startswith(">>>") else "python"
        return f".. rubric:: Example\n\n.. code-block:: {language}\n\n{_indent(body)}"
    if title == "References":
        entries = "\n".join("- " + escape(re.sub(r"\n +", "\n  ", one)) for one in _items(body))
        return f".. rubric:: References\n\n{entries}"
    if title in ("Returns", "Yields"):
        return _field(f":{FIELDS[title]}:", body)
    fields = []
    for entry in _items(body):
        match = ITEM.match(entry)
        name, rest = (match[1], match[2] + entry[match.end() :]) if match else ("", entry)
        fields.append(_field(f":{FIELDS[title]} {escape(name)}:", rest))
    return "\n".join(fields)


def _items(body: str) -> list[str]:
    """Splits at the lines that are not indented."""
    return [item.rstrip() for item in re.split(r"\n+(?=\S)", body)]


def _field(label: str, body: str) -> str:
    first, _, rest = body.partition("\n")
    text = _text(f"{first}\n{textwrap.dedent(rest)}" if rest else first)
    return f"{label} {_indent(text).lstrip()}"


def _text(body: str) -> str:
    """Paragraphs; blocks that are indented are kept as they are; lists stay lists."""
    blocks: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        kind = blocks[-1][0] if blocks else ""
        if not line.strip():
            new = kind if kind == "literal" else ""
        elif kind == "list" and line.startswith(" "):
            new = "list"
        elif line.startswith("    "):
            new = "literal"
        elif LIST.match(line) and kind != "text":
            new = "list"
        else:
            new = "text"
        if new != kind or not blocks:
            blocks.append((new, []))
        blocks[-1][1].append(line)
    parts = []
    for kind, lines in blocks:
        text = textwrap.dedent("\n".join(lines)).strip("\n")
        if kind == "literal":
            parts.append(f".. code-block:: text\n\n{_indent(text)}")
        elif kind:
            parts.append(escape(text))
    return "\n\n".join(parts)


def _indent(text: str) -> str:
    return textwrap.indent(text, "   ")
