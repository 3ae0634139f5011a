"""How the words of a run are pronounced: by a named lexicon, and by letter to sound beyond it."""

from collections.abc import Sequence
from pathlib import Path

from ...core import run_folder
from . import letter_to_sound, lexicon
from .hybrid_folder import LEXICON
from .lexicon import Lexicon


def load(name: str, words: Sequence[str]) -> Lexicon:
    """The pronunciations of words.

    Args:
        name: see `HybridRun.lexicon`.
        words: which words.

    Returns:
        Those of the words, by letter to sound where the lexicon lacks them.

    Raises:
        ValueError: if the lexicon cannot be read, or words have no pronunciation.
    """
    if name == "graphemic":
        return lexicon.graphemic(words)
    whole = lexicon.cmu() if name == "cmu" else lexicon.read(name)
    return letter_to_sound.cover(whole, words).of(words)


def of_run(folder: str | Path, name: str | None, words: Sequence[str]) -> Lexicon:
    """The pronunciations of words for the recognizer of a run.

    Args:
        folder: of the run.
        name: see `HybridRun.lexicon`; None stands for that of the run.
        words: which words.

    Raises:
        ValueError: if the lexicon cannot be read, or words have no pronunciation.
    """
    if name is not None:
        return load(name, words)
    known = lexicon.read(Path(folder) / LEXICON)
    missing = [word for word in words if word not in known]
    if not missing:
        return known.of(words)
    others = load(run_folder.read_config(folder)["lexicon"], missing)
    return Lexicon({**known.pronunciations, **others.pronunciations}).of(words)
