"""What lies where in the run folder of a hybrid recognizer, and the one that ships."""

from pathlib import Path

PACKED = "hybrid.safetensors"  # the acoustic model and its states
TYING = "tying.json"  # the trees alone
LEXICON = "lexicon.txt"  # the pronunciations that it was trained with
WORDS = "words.arpa"  # n-grams of the training transcripts

PRETRAINED = Path(__file__).parents[1] / "pretrained" / "hybrid"  # the one that ships


def find(name: str | Path) -> Path | None:
    """The folder of a hybrid recognizer: of a finished run, or `hybrid`, the one that ships.

    Returns:
        None for what is no hybrid.
    """
    folder = Path(name)
    if str(name) == PRETRAINED.name and not folder.exists():
        folder = PRETRAINED
    return folder if (folder / PACKED).exists() else None
