"""Rules that map words to one spelling before scoring: NIST's global mapping files, ``.glm``.

    UH-HUH  =>  %BCACK          / [ ] __ [ ] ;; affirmative token
    GONNA   =>  GOING TO        ;; anywhere
    HE'S    =>  [{HE IS / HE HAS}] / [ ] __ [ ]

A rule ``A => B / C __ D`` rewrites A as B where C stands before it and D after it. The text is read
once from left to right: at each position the first rule that fits is applied and reading goes on
after A; where none fits, one character is copied. Upper and lower case are the same.

Rules after ``;; INPUT_DEPENDENT_APPLICATION = "ctm"`` hold for texts of the kinds that match this
expression only: ``stm`` and ``ref`` for references, ``ctm`` and ``hyp`` for hypotheses.

References:
    NIST, Scoring Toolkit (SCTK) 2.4, GLM rules, rfilter1 and csrfilt.
"""

import collections
import functools
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

KINDS = {"reference": ("stm", "ref"), "hypothesis": ("ctm", "hyp")}

_CONDITION = re.compile(r';;\s+INPUT_DEPENDENT_APPLICATION\s*=\s*"([^"]*)"')
_RULE = re.compile(
    r"\s*(?P<old>\[[^\]]*\]|.+?)\s*=>\s*(?P<new>\[[^\]]*\]|.*?)\s*"
    r"(?:/\s*(?P<before>\[[^\]]*\])?\s*__\s*(?P<after>\[[^\]]*\])?\s*)?"
)


class Rule(NamedTuple):
    """A string and what to write for it, in upper case."""

    old: str
    new: str
    before: str = ""  # what must stand there
    after: str = ""


def read(path: str | os.PathLike[str], kind: str) -> list[Rule]:
    """Reads the rules that hold for one kind of text.

    Args:
        path: a ``.glm`` file.
        kind: ``reference`` or ``hypothesis``.

    Returns:
        The rules in order.

    Raises:
        ValueError: if the file cannot be read or a line is no rule.
    """
    try:
        lines = pathlib.Path(path).read_text("latin-1").splitlines()
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: cannot be read ({error.strerror}).") from None
    rules, holds = [], True
    for number, line in enumerate(lines, start=1):
        if condition := _CONDITION.match(line):
            holds = any(re.search(condition[1].lower(), name) for name in KINDS[kind])
        content = line.split(";;")[0]
        if not content.strip() or content.lstrip().startswith("*") or not holds:
            continue
        match = _RULE.fullmatch(content.upper())
        if match is None:
            raise ValueError(
                f"{os.fspath(path)}, line {number}: must be `A => B / C __ D`, got {line[:80]!r}."
            )
        rules.append(Rule(*(_unquote(part or "") for part in match.groups())))
    return rules


def compile_rules(rules: Sequence[Rule]) -> Callable[[str], str]:
    """A function that applies rules to a text.

    Args:
        rules: in the order in which they are tried.

    Returns:
        From a text, which it puts between spaces and into upper case, to the rewritten text.

    Example:
        >>> rewrite = compile_rules([Rule("UH-HUH", "%BCACK", " ", " "), Rule("GONNA", "GOING TO")])
        >>> rewrite("uh-huh i'm gonna go")
        "%BCACK I'M GOING TO GO"
    """
    by_start: dict[str, list[Rule]] = collections.defaultdict(list)
    for rule in rules:
        by_start[rule.old[:1]].append(rule)

    def rewrite(text: str) -> str:
        text = f" {text.upper()} "
        pieces, position = [], 0
        while position < len(text):
            for old, new, before, after in by_start.get(text[position], ()):
                end = position + len(old)
                if (
                    text.startswith(old, position)
                    and text.startswith(after, end)
                    and text.endswith(before, 0, position)
                ):
                    pieces.append(new)
                    position = end
                    break
            else:
                pieces.append(text[position])
                position += 1
        return "".join(pieces).strip()

    return functools.cache(rewrite)


def _unquote(part: str) -> str:
    """The string between square brackets or quotes, which may begin or end with spaces."""
    part = part.strip()
    return part[1:-1] if len(part) > 1 and part[0] + part[-1] in ("[]", "''") else part
