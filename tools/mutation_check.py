"""Breaks one sign, factor or comparison of a module at a time: does a test of its own fail?

    python tools/mutation_check.py
    python tools/mutation_check.py --modules core/gossip.py core/low_rank.py --number 40 --seed 1

Draws places in the modules, by default all of `core`, and writes the module with + for -, * for /,
< for <= and so on, each in a copy of the repository.  There the tests of that module run (those
that mirror it, without slow ones) until one fails.  What survives is printed with its line: judge
whether a test is missing, or whether the two programs are the same.  Where the tests do not pass
before anything is broken they have no baseline, and nothing is said of their module.
"""

import argparse
import ast
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OTHERS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
OUTCOMES = {True: "SURVIVED", False: "seen", None: "slow"}


class Place(NamedTuple):
    """An operator of a module."""

    module: Path  # relative to the repository
    number: int  # of the operator in it

    @property
    def tests(self) -> list[Path]:
        """The tests that mirror the module: gossip_test.py and, by subject, gossip_*_test.py."""
        folder, stem = Path("tests") / self.module.parent, self.module.stem
        found = sorted((ROOT / folder).glob(f"{stem}_*_test.py"))
        names = [stem, *(path.name.removesuffix("_test.py") for path in found)]
        others = {path.stem for path in (ROOT / self.module.parent).glob("*.py")} - {stem}
        tests = [folder / f"{name}_test.py" for name in names if name not in others]
        return [test for test in tests if (ROOT / test).exists()]


def main() -> bool:
    """Runs the module."""
    parser = argparse.ArgumentParser(description="Does a broken sign fail a test?")
    parser.add_argument("--modules", nargs="+", type=Path, help="by default all of core")
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="of the tests of a module")
    options = parser.parse_args()
    modules = options.modules or sorted(
        path.relative_to(ROOT) for path in (ROOT / "core").rglob("*.py")
    )
    places = [place for module in modules for place in operators(module)]
    chosen = random.Random(options.seed).sample(places, min(options.number, len(places)))
    survived = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "gossamer"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "runs", "docs"))
        for tests, drawn in itertools.groupby(sorted(chosen), key=lambda place: place.tests):
            if not run_tests(copy, tests, options.seconds):
                print(f"no baseline  {' '.join(map(str, tests))}", flush=True)
                continue
            for place in drawn:
                what = break_at(copy, place)
                passed = run_tests(copy, tests, options.seconds)
                shutil.copy(ROOT / place.module, copy / place.module)
                survived, tried = survived + (passed is True), tried + 1
                print(f"{OUTCOMES[passed]:13}{place.module}:{what}", flush=True)
    print(f"{survived} of {tried} survived, of {len(places)} places in {len(modules)} modules")
    return bool(survived) or tried < len(chosen)


def operators(module: Path) -> list[Place]:
    """All places of a module that has tests of its own."""
    number = sum(1 for _ in nodes(ast.parse((ROOT / module).read_text())))
    places = [Place(module, i) for i in range(number)]
    return [place for place in places if place.tests]


def nodes(tree: ast.AST):
    """Operations of a tree that have another, in order; those of annotations and texts are left."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in OTHERS:
            if not any(isinstance(x, ast.JoinedStr) for x in (node.left, node.right)):
                yield node
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHERS:
            yield node


def break_at(copy: Path, place: Place) -> str:
    """Breaks the place in the copy, and says which line is what now."""
    tree = ast.parse((ROOT / place.module).read_text())
    node = list(nodes(tree))[place.number]
    before = ast.unparse(node)
    if isinstance(node, ast.BinOp):
        node.op = OTHERS[type(node.op)]()
    else:
        node.ops[0] = OTHERS[type(node.ops[0])]()
    (copy / place.module).write_text(ast.unparse(tree))
    return f"{node.lineno}: {before} -> {ast.unparse(node)}"


def run_tests(copy: Path, tests: list[Path], seconds: float) -> bool | None:
    """Whether the tests of a module pass; None if they take longer."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not checkout"]
    try:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *map(str, tests)],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy.parent)},
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
