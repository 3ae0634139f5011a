"""Every command that a page or a help text names is understood as it stands; nothing is run."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import tyro

from gossamer.cli import bench, main
from gossamer.core import processes

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HELP = sorted((ROOT / "cli").glob("*.py"))
SCRIPTS = sorted(
    path for name in ("benchmarks", "examples", "tools") for path in ROOT.glob(f"{name}/*.py")
)
MEANT = {"OPTIONS": "", "...": "", "POLICY": "int4_paper", "ENGINE": "shard_map"}


def read_commands(path, program):
    """The words behind a program's name, of every line that calls it."""
    text = re.sub(r"\\+\n\s*", "", path.read_text(encoding="utf-8"))
    for line in re.findall(rf"^\s*(?:\w+=\S+ |srun )*{program} (.*)$", text, flags=re.MULTILINE):
        # What a command is for stands behind it.
        call = re.split(r"\s{3,}|\s+#|\s[|&>]+\s|;|\"\"\"", line)[0]
        words = [MEANT.get(word, word) for word in shlex.split(call)]
        yield [word for word in words if word]


COMMANDS = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}"[:100])
    for path in [*PAGES, *HELP, *SCRIPTS]
    for words in read_commands(path, "gossamer")
    if words and words[0].islower() and words[0] != "is"  # of a sentence
]
KILLED = [
    pytest.param(command.format("runs/killed").split(), id=f"{path.name}: {name}")
    for path in SCRIPTS
    if path.name == "kill_and_resume.py"
    for name, command in runpy.run_path(str(path))["COMMANDS"].items()
]
CALLS = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}"[:100])
    for path in [*PAGES, *SCRIPTS]
    for words in read_commands(path, "(?:python|/usr/bin/python3)")
    if words and words[0].endswith(".py")
]


def check(script, words):
    """Finds the options among some words in the source of a script."""
    source = script.read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("--") or f'"{word.split("=")[0]}"' in source, word


class Understood(Exception):
    """Raised in place of doing what a command asks for."""


@pytest.fixture
def parse_only(monkeypatch):
    """Commands end where their words have been read."""

    def stop_after(function):
        def parse(*args, **options):
            function(*args, **options)
            raise Understood

        return parse

    monkeypatch.setattr(processes, "join", lambda cluster: None)
    monkeypatch.setattr(tyro, "cli", stop_after(tyro.cli))
    configs = stop_after(tyro.extras.overridable_config_cli)
    monkeypatch.setattr(tyro.extras, "overridable_config_cli", configs)
    monkeypatch.setattr(bench, "_run", stop_after(lambda script, words: check(script.path, words)))


def test_there_are_commands():
    assert len(COMMANDS) > 100
    assert len(KILLED) > 10
    assert len(CALLS) > 40


@pytest.mark.parametrize("words", COMMANDS + KILLED)
def test_gossamer_understands(words, parse_only, capsys):
    with pytest.raises((Understood, SystemExit)) as end:
        raise SystemExit(main.main(words))
    printed = capsys.readouterr()
    assert end.type is Understood or end.value.code in (0, None), printed.out + printed.err


@pytest.mark.parametrize("words", CALLS)
def test_scripts_have_the_options(words):
    check(ROOT / words[0], words[1:])
