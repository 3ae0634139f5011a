"""What the modules of gossamer hold, read from their source: nothing is imported.

Importing everything takes JAX, flax and the optional peers, and some ten seconds; parsing takes
two.  Besides, only the source has the comments behind fields and constants that tell their shapes,
and signatures as they were written.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("core", "speech", "vision", "language", "physics", "cli")
FIELD_CLASSES = ("NamedTuple", "dataclass", "nn.Module")


class Module(NamedTuple):
    """One Python file."""

    name: str  # such as gossamer.core.gossip
    path: Path
    tree: ast.Module
    lines: list[str]
    names: dict[str, str]  # what a name in it stands for, with all imports, as full names
    exports: list[str]  # names from other modules that this one offers as its own
    everything: dict[str, "Module"]  # all modules, by name

    @property
    def is_package(self) -> bool:
        """Whether other modules are inside."""
        return self.path.name == "__init__.py"

    @property
    def page(self) -> str:
        """The page of the module, relative to the folder of all these pages."""
        path = "/".join(self.name.split(".")[1:])
        return f"{path}/index" if self.is_package else path

    def comment(self, node: ast.stmt) -> str:
        """The comment at the end of a statement, with the lines that continue it, or above it."""
        _, hash_sign, text = self.lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
        if hash_sign:
            return text
        above = []
        for line in reversed(self.lines[: node.lineno - 1]):
            if not line.startswith("# "):
                break
            above.insert(0, line[2:])
        return "\n".join(above)


def read_modules(root: Path) -> dict[str, Module]:
    """Reads every public module below the root of the repository, packages first."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py"), key=lambda p: (p.parent, p.stem)):
            module = _read(path, root, found)
            if not any(part.startswith("_") for part in module.name.split(".")):
                found[module.name] = module
    return found


def public_members(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """Functions, classes and assigned names without a leading underscore, as they stand."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        overload = isinstance(node, ast.FunctionDef) and "overload" in decorators(node)
        if name == "__call__" or not (name.startswith("_") or overload):
            yield name, node


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """The names of the decorators of a definition, without modules and arguments."""
    return {
        re.sub(r"\(.*", "", ast.unparse(one), flags=re.S).split(".")[-1]
        for one in node.decorator_list
    }


def fields(node: ast.ClassDef, module: Module) -> dict[str, ast.expr | None]:
    """The arguments of a class whose annotated names they are, and their defaults.

    Those of its bases come first, wherever in gossamer they are.
    """
    bases = {ast.unparse(base) for base in node.bases}
    if not (bases | decorators(node)) & set(FIELD_CLASSES):
        return {}
    found = {}
    for base in bases:
        owner, _, last = module.names.get(base, f"{module.name}.{base}").rpartition(".")
        for one in module.everything[owner].tree.body if owner in module.everything else ():
            if isinstance(one, ast.ClassDef) and one.name == last:
                found |= fields(one, module.everything[owner])
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and "ClassVar" not in ast.unparse(one.annotation):
            found[ast.unparse(one.target)] = one.value
    return found


def full_name(name: str, here: Module, owner: str | None) -> str:
    """What a name in a module means: a field, something imported, of the module or around it.

    Args:
        name: such as ``mixing.pull``.
        here: the module.
        owner: the class in whose documentation the name is, if any.

    Returns:
        The full name of its definition, or the name itself if nothing in gossamer has it.
    """
    around = here.name.split(".")
    candidates = [f"{here.name}.{owner}.{name}"] if owner else []
    head, _, tail = name.partition(".")
    if head in here.names:
        candidates.append(".".join(filter(None, [here.names[head], tail])))
    candidates += [".".join([*around[:n], name]) for n in range(len(around), 0, -1)]
    for candidate in candidates:
        for _ in range(4):  # through modules that only pass a name on
            if _is_defined(candidate, here.everything):
                return candidate
            module, _, last = candidate.rpartition(".")
            passed = here.everything[module].names.get(last) if module in here.everything else None
            if passed is None:
                break
            candidate = passed
    return name


def _is_defined(name: str, modules: dict[str, Module]) -> bool:
    """Whether a full name is that of a module, or of something that a module defines."""
    if name in modules:
        return True
    owner, _, last = name.rpartition(".")
    if owner in modules:
        return last in dict(public_members(modules[owner].tree))
    module, _, name_of_class = owner.rpartition(".")
    node = dict(public_members(modules[module].tree)).get(name_of_class) if module in modules else 0
    return isinstance(node, ast.ClassDef) and last in dict(public_members(node))


def _read(path: Path, root: Path, everything: dict[str, Module]) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    parts = ["gossamer", *path.relative_to(root).with_suffix("").parts]
    if parts[-1] == "__init__":
        parts.pop()
    names, exports = {}, []
    listed = _listed(tree)
    around = parts if path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        if isinstance(node, ast.ImportFrom):
            base = around[: len(around) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                name = alias.asname or alias.name
                names[name] = f"{source}.{alias.name}"
                if name in listed or (alias.asname == alias.name and source != "__future__"):
                    exports.append(name)
    lines = text.splitlines()
    return Module(".".join(parts), path, tree, lines, names, exports, everything)


def _listed(tree: ast.Module) -> list[str]:
    """The names in ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []
